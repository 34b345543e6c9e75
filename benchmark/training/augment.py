"""Augmentation of training images as the methods' papers have it, drawn from the seed of the step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional

from benchmark.core.errors import ParamsError
from benchmark.core.hashing import derive_seed

CROPPED = (256 - 224) / 2 / 224
"""How far a random crop of 224 out of 256 pixels lies from the centre crop of the test, as a share of its
side. What such a crop brings in from outside the image at hand is black here."""


@dataclass(frozen=True)
class Augmentation:
    """shift: of a random crop, and translate: of the affine map, at most these shares of the side. flip:
    chance of a horizontal flip. degrees: of a rotation, to either side. scale, light: range of the factor on
    size, and of those on brightness and contrast. source: where that is written."""

    source: str
    shift: float = 0.0
    flip: float = 0.0
    degrees: float = 0.0
    translate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    light: tuple[float, float] = (1.0, 1.0)

    def __call__(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """(S, S) uint8 → the same."""
        side = image.shape[-1]
        own = image[None]
        if rng.random() < self.flip:
            own = functional.horizontal_flip(own)
        moved = rng.uniform(-1, 1, 2) * self.translate + rng.uniform(-1, 1, 2) * self.shift
        angle, scale = rng.uniform(-1, 1) * self.degrees, rng.uniform(*self.scale)
        brightness, contrast = rng.uniform(*self.light, 2)
        by = [float(v) for v in moved * side]
        own = functional.affine(
            own, float(angle), by, float(scale), [0.0, 0.0], functional.InterpolationMode.BILINEAR, [0.0]
        )
        if self.light != (1.0, 1.0):
            own = functional.adjust_brightness(own, float(brightness))
            own = functional.adjust_contrast(own, float(contrast))
        lit: Tensor = own[0]
        return lit


OFFICIAL = {
    "carzero": Augmentation(
        "CARZero configs/mimic_pretrain_llm_dqn_wo_self_atten_mlp_gl.yaml: crop, flip, affine, light",
        shift=CROPPED, flip=0.3, degrees=30, translate=0.1, scale=(0.9, 1.1), light=(0.8, 1.2),
    ),
    "gloria": Augmentation("GLoRIA configs/chexpert_pretrain_config.yaml: crop", shift=CROPPED),
    "medclip": Augmentation(
        "MedCLIP: flip, light, affine, then a crop",
        shift=CROPPED, flip=0.5, degrees=10, translate=0.0625, scale=(0.8, 1.1), light=(0.8, 1.2),
    ),
    "brgsa": Augmentation("BrgSA sec. 2.4: crop of 224 out of 256", shift=CROPPED),
}  # fmt: skip
"""Method → its paper's. A flip is not told to sentences that say left or right, in CARZero's code as here."""


def augmentation_of(method: str) -> Augmentation:
    """Raises ParamsError for a method whose paper has none, or that is not known here."""
    if method not in OFFICIAL:
        raise ParamsError(
            f"encoders.train.augment: {method} has none of its own, as {', '.join(OFFICIAL)} have. "
            "Leave it out."
        )
    return OFFICIAL[method]


def augmented(pixels: NDArray[np.uint8], rows: NDArray[np.int64], how: Augmentation) -> NDArray[np.uint8]:
    """(B, S, S) uint8 of these rows, changed. Drawn from torch's seed, which the loop sets at every step, and
    the row: an image in a step comes out the same each time, as gradient caching encodes it twice."""
    step = torch.initial_seed() % 2**63
    found = [
        how(torch.from_numpy(image), np.random.default_rng(derive_seed(step, "augment", int(row))))
        for image, row in zip(pixels, rows, strict=True)
    ]
    return torch.stack(found).numpy()
