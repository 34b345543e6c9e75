"""`robustness` of params.yaml: settings under which every method is trained again, to see whether the ranking
survives them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt, model_validator

from benchmark.grid.encoder_params import ImageChange, TextChange
from benchmark.grid.strict import Strict

FACTORS = {
    "image": "image encoder",
    "text": "text encoder",
    "width": "width",
    "train_images": "training images",
}
"""What a setting may change, and how tables call it."""


class SettingParams(Strict):
    """What one setting changes for all methods alike; a cell METHOD-SETTING is trained for each of them."""

    label: str = Field(description="how tables name the setting")
    image: ImageChange = None
    text: TextChange = None
    width: PositiveInt | None = Field(
        default=None,
        description="of every method; heads of attention keep 64 channels, where width has as many",
    )
    train_images: PositiveInt | None = Field(default=None, description="at most so many training images")

    @model_validator(mode="after")
    def _changes_something(self) -> SettingParams:
        if not self.factors:
            raise ValueError(f"changes nothing; set one of {', '.join(FACTORS)}")
        return self

    @property
    def factors(self) -> tuple[str, ...]:
        """What differs from the default: one of FACTORS, or several in a corner."""
        return tuple(title for name, title in FACTORS.items() if getattr(self, name) is not None)


class RobustnessParams(Strict):
    """The study: its settings, the sets that the methods are ranked on, and the seeds of each setting."""

    evaluate: tuple[str, ...] = Field(default=(), description="datasets that methods are ranked on")
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0,), min_length=1)
    settings: dict[str, SettingParams] = Field(default={})
