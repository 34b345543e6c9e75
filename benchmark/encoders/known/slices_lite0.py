"""EfficientNet-Lite0, which the radiographs use too, on the axial slices of CT volumes."""

from __future__ import annotations

from benchmark.encoders.base import ImageEncoder
from benchmark.encoders.cards import ENCODERS, ImageCard


@ENCODERS.register("slices-lite0")
def build() -> ImageEncoder:
    from benchmark.encoders.card_files import encoder_entry
    from benchmark.encoders.slices import SliceEncoder
    from benchmark.encoders.timm_images import TimmImage

    planes = encoder_entry("efficientnet-lite0")
    assert isinstance(planes, ImageCard)
    return SliceEncoder(TimmImage(planes), "slices-lite0")
