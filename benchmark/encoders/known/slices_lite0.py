"""EfficientNet-Lite0, which the radiographs use too, on the axial slices of CT volumes."""

from __future__ import annotations

from benchmark.encoders.base import ImageEncoder
from benchmark.encoders.cards import ENCODERS, ImageCard


@ENCODERS.register("slices-lite0")
def build() -> ImageEncoder:
    from benchmark.encoders.known.efficientnet_lite0 import EFFICIENTNET_LITE0
    from benchmark.encoders.slices import SliceEncoder
    from benchmark.encoders.timm_images import TimmImage

    assert isinstance(EFFICIENTNET_LITE0, ImageCard)
    return SliceEncoder(TimmImage(EFFICIENTNET_LITE0), "slices-lite0")
