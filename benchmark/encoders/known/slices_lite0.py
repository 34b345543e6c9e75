"""EfficientNet-Lite0, which the radiographs use too, on the axial slices of CT volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark.encoders.cards import ENCODERS, ImageCard, Seen

if TYPE_CHECKING:
    from benchmark.encoders.base import ImageEncoder


class SlicesLite0:
    """EfficientNet-Lite0 on axial slices, in three windows."""

    @property
    def seen(self) -> tuple[Seen, ...] | str:
        """What its planes have seen."""
        return self._planes().seen

    def __call__(self) -> ImageEncoder:
        from benchmark.encoders.slices import SliceEncoder
        from benchmark.encoders.timm_images import TimmImage

        return SliceEncoder(TimmImage(self._planes()), "slices-lite0")

    @staticmethod
    def _planes() -> ImageCard:
        from benchmark.encoders.card_files import encoder_entry

        card = encoder_entry("efficientnet-lite0")
        assert isinstance(card, ImageCard)
        return card


SLICES_LITE0 = ENCODERS.register("slices-lite0")(SlicesLite0())
