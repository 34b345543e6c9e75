"""How pixels become encoder input. It belongs to the weights' card and is part of every cache key."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Preprocessing(BaseModel, frozen=True, extra="forbid"):
    """Steps in order: depth → resize → fit → crop → scale to [0, 1] → (x - mean) / std → repeat to channels.

    depth: how the stored range becomes 8 bit. `high-byte` keeps the top 8 of 16 bits (CARZero),
    `min-max` stretches each image (RadZero on evaluation sets), `full` divides by the stored range.
    fit: `pad` scales the longer side to `size` and pads with 0; `crop` scales the shorter side and
    crops the centre; `stretch` ignores the aspect ratio.
    """

    size: int = Field(gt=0)
    crop: int | None = None
    depth: Literal["full", "high-byte", "min-max"] = "min-max"
    fit: Literal["pad", "crop", "stretch"] = "pad"
    interpolation: Literal["area", "bilinear", "bicubic"] = "area"
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    channels: int = 3

    @property
    def side(self) -> int:
        """Side of the square that the encoder sees, in pixels."""
        return self.crop or self.size
