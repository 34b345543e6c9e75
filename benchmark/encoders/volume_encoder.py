"""Encoders of CT volumes: the image encoder's interface with three axes in place of two."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

from torch import Tensor

from benchmark.core.errors import BenchError
from benchmark.core.features import ImageFeatures
from benchmark.data.volume_steps import VolumeSteps
from benchmark.encoders.base import ImageEncoder


class VolumeEncoder(ImageEncoder):
    """A subclass sets `steps`, its preprocessing, `width` and `grid`, and has `prepare` and `forward`."""

    modality: ClassVar[Literal["cxr", "ct"]] = "ct"
    steps: VolumeSteps

    @abstractmethod
    def prepare(self, hounsfield: Tensor) -> Tensor:
        """(B, Z, Y, X) int16 Hounsfield units under `steps` → what `forward` takes."""

    def encode(self, pixels: Tensor) -> ImageFeatures:
        """(B, Z, Y, X) int16 → features, in the caller's gradient mode. Raises BenchError for planes."""
        if pixels.dim() != 4:
            raise BenchError(
                f"the encoder reads CT volumes (B, Z, Y, X), and these are planes {tuple(pixels.shape)}: "
                "it has no scores on radiographs."
            )
        return self.forward(self.prepare(pixels))
