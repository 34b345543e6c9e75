"""Merlin's inflated ResNet-152 of abdominal CT, from its own checkpoint, which a variable names by path."""

from __future__ import annotations

import os
from pathlib import Path

from torch import Tensor

from benchmark.core.preprocessing import Preprocessing
from benchmark.encoders.base import ImageEncoder
from benchmark.encoders.cards import ENCODERS, ImageCard, Seen
from benchmark.encoders.weights import WeightsError, read_tensors

VARIABLE = "MERLIN_WEIGHTS"
IMAGE = "encode_image.i3_resnet."
"""Before the names of the image network; the five-year model's file has them bare."""
HEADS = ("classifier.", "contrastive_head.")
"""On the pooled map: diagnosis codes and the space shared with texts. The text tower is not read."""


class Merlin:
    """Merlin's image network, by path: (160, 224, 224) voxels of 3 x 1.5 x 1.5 mm, 10 x 7 x 7 tokens."""

    seen = (
        Seen(
            dataset="merlin", split="train", what=("images", "reports", "labels"), source="arXiv:2406.06512"
        ),
        Seen(dataset="imagenet-1k", what=("images", "labels"), source="torchvision, before inflation"),
    )

    def __call__(self) -> ImageEncoder:
        from benchmark.data.volume_steps import VolumeSteps
        from benchmark.encoders.inflated import InflatedResNet

        where = os.environ.get(VARIABLE)
        if not where:
            raise WeightsError(
                f"encoder merlin: ${VARIABLE} is not set; give it the path of Merlin's checkpoint "
                "(i3_resnet_clinical_longformer_best_clip_….pt of the hub's stanfordmimi/Merlin)."
            )
        path = Path(where).expanduser()
        if not path.is_file():
            raise WeightsError(f"encoder merlin: {path}: no such file; correct ${VARIABLE}.")
        card = ImageCard(
            name="merlin",
            source="timm",
            architecture="resnet152",
            weights=f"path:{path}",
            licence="MIT (StanfordMIMI/Merlin)",
            seen=self.seen,
            preprocessing=Preprocessing(size=224, mean=(0.0,), std=(1.0,)),
        )
        steps = VolumeSteps(spacing=(3.0, 1.5, 1.5), shape=(160, 224, 224))
        return InflatedResNet(card, image_tensors(path), steps)


def image_tensors(path: Path) -> dict[str, Tensor]:
    """Those of the image network under its own names. Raises WeightsError where the file has none."""
    state = read_tensors(path)
    whole = any(name.startswith(IMAGE) for name in state)
    found = {n.removeprefix(IMAGE): v for n, v in state.items() if not whole or n.startswith(IMAGE)}
    if "conv1.weight" not in found:
        raise WeightsError(
            f"encoder merlin: {path}: no checkpoint of Merlin, it lacks '{IMAGE}conv1.weight'; give the file "
            "of images and reports, not that of report generation."
        )
    return {name: value for name, value in found.items() if not name.startswith(HEADS)}


MERLIN = ENCODERS.register("merlin")(Merlin())
