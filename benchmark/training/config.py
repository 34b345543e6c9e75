"""How a training run is carried out: the recipe (what is optimised) and the engine (how it is computed)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError

from benchmark.core.errors import ParamsError
from benchmark.core.validation import first_complaint
from methods.base import EQUAL_BUDGET, Recipe

ENGINE = (
    "tile", "memory_gib", "compile", "prefetch", "encoder_chunk", "checkpoint_seconds", "device",
    "deterministic", "threads",
)  # fmt: skip
"""Fields that change how fast or in how much memory, not what is computed: no part of a run's identity."""


class TrainConfig(Recipe, frozen=True, extra="forbid"):
    """The recipe of a run and the switches of its engine.

    duplicates: of equal sentences in a batch. `merge` makes one text of them that is positive for each of
    its images; `keep` leaves them apart, as the official implementations do.
    tile: (images, texts) of one recomputed tile of pairs; None computes all pairs at once, unless
    `memory_gib`, a bound on what the pairs of one tile keep for the backward pass, asks for tiles.
    encoder_chunk: images (or texts) an encoder sees at once when it is fine-tuned; None, the whole batch.
    """

    source: str = "this project's equal budget"
    epochs: int | None = Field(default=10, gt=0)
    duplicates: Literal["keep", "merge"] = "merge"
    max_texts: int | None = Field(default=None, gt=0, description="at most so many sentences of an image")
    encoder_learning_rate: float | None = Field(default=None, gt=0, description="fine-tuning only")
    tile: tuple[int, int] | None = None
    memory_gib: float | None = Field(default=None, gt=0)
    encoder_chunk: int | None = Field(default=None, gt=0)
    compile: bool = False
    prefetch: bool = False
    checkpoint_seconds: float = Field(default=60.0, ge=0)
    device: str = "cpu"
    deterministic: bool = True
    threads: int | None = Field(default=None, gt=0, description="of the CPU; None, as many as torch takes")

    def identity(self) -> dict[str, Any]:
        """The fields that decide the trained numbers."""
        return self.model_dump(mode="json", exclude={*ENGINE, "source"})


def train_config(options: Mapping[str, Any] | None = None, recipe: Recipe = EQUAL_BUDGET) -> TrainConfig:
    """A recipe with some fields replaced. Raises ParamsError naming the option and the nearest known one."""
    try:
        return TrainConfig.model_validate({**recipe.model_dump(), **(options or {})})
    except ValidationError as error:
        first = first_complaint(error, lambda _: TrainConfig.model_fields)
        if first.unknown:
            raise ParamsError(f"training: unknown option '{first.key}'.{first.guess}") from None
        raise ParamsError(f"training.{first.key}: {first.reason}, got {first.got!r:.80}.") from None
