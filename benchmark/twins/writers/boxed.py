"""Which drawn regions belong to a class, and where they lie in the official coordinates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmark.twins.case import Region, TwinImage
from benchmark.twins.writers.common import Convention

NIH_SIDE = 1024
"""Side of the official NIH images, in which their boxes and run lengths are given."""


def class_regions(
    image: TwinImage, labels: list[str], convention: Convention
) -> Iterator[tuple[str, Region]]:
    """(class, region) of every region that shows one of the labels, in the order of the image."""
    for region in image.regions:
        for label in labels:
            if region.concept in convention.covered[label]:
                yield label, region


def shown(image: TwinImage, labels: dict[str, int], convention: Convention) -> list[str]:
    """Classes that are positive and have a region in this image: what an annotator could box."""
    positive = [name for name, value in labels.items() if value == 1]
    seen = {label for label, _ in class_regions(image, positive, convention)}
    return [name for name in positive if name in seen]


def scaled(region: Region, image: TwinImage, side: int = NIH_SIDE) -> tuple[float, float, float, float]:
    """x, y, w, h of a region in a square of `side` pixels."""
    height, width = image.pixels.shape
    x, y, w, h = region.box
    return x * side / width, y * side / height, w * side / width, h * side / height


def enlarge(mask: np.ndarray, side: int = NIH_SIDE) -> np.ndarray:
    """(H, W) mask → (side, side), by the nearest pixel."""
    height, width = mask.shape
    rows, columns = np.arange(side) * height // side, np.arange(side) * width // side
    return np.asarray(mask[rows][:, columns])
