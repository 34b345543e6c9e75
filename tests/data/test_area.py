"""`resize_area` is OpenCV's INTER_AREA, pixel for pixel, whether or not it takes the quick way."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from benchmark.data import area
from benchmark.data.area import resize_area


def images(height: int, width: int) -> list[np.ndarray]:
    rng = np.random.default_rng([height, width])
    noise = rng.integers(0, 256, (height, width), dtype=np.uint8)
    steps = np.where(noise > 127, 255, 0).astype(np.uint8)
    white = np.full((height, width), 255, np.uint8)
    halves = np.repeat(rng.integers(0, 2, (height, 1), dtype=np.uint8), width, axis=1)
    return [noise, steps, white, halves]


@pytest.mark.parametrize(
    ("old", "new", "quick"),
    [
        ((1024, 1024), (224, 224), True),
        ((2048, 2048), (224, 224), True),
        ((1024, 512), (224, 112), True),
        ((512, 512), (500, 500), True),
        ((256, 256), (255, 255), True),
        ((64, 96), (28, 42), True),
        ((2048, 4096), (448, 448), True),
        ((1024, 1024), (256, 256), False),
        ((1000, 800), (224, 179), False),
        ((1024, 900), (224, 196), False),
        ((64, 16384), (14, 3584), False),
        ((100, 100), (224, 224), False),
    ],
)
def test_equals_opencv(old, new, quick, monkeypatch):
    wanted = [cv2.resize(image, new[::-1], interpolation=cv2.INTER_AREA) for image in images(*old)]
    if quick:
        monkeypatch.setattr(area.cv2, "resize", None)
    for image, expected in zip(images(*old), wanted, strict=True):
        found = resize_area(image, *new)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)


def test_largest_sums_do_not_overflow():
    image = np.full((512, 8192), 255, np.uint8)
    assert (resize_area(image, 254, 4064) == 255).all()
