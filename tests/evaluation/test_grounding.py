"""Maps in pixels, pointing game and segmentation, by hand-worked cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.core.errors import BenchError, MetricUndefined
from benchmark.core.preprocessing import Preprocessing
from benchmark.evaluation.grounding import (
    UNSEEN,
    highest_point,
    map_to_pixels,
    point_in_boxes,
    pointing_hit,
    square_grid,
)
from benchmark.evaluation.segmentation import (
    boxes_to_mask,
    dice,
    empty_specificity,
    pixel_auroc,
    search_threshold,
)

CARZERO = Preprocessing(size=256, crop=224, fit="pad")


def test_stretch_covers_the_whole_image() -> None:
    pixels = map_to_pixels(torch.tensor([[0.0, 1.0]]), Preprocessing(size=4, fit="stretch"), 2, 8)
    assert pixels.tolist() == [[0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]] * 2


def test_pad_keeps_the_original_window() -> None:
    scores = torch.arange(16.0).reshape(4, 4)
    pixels = map_to_pixels(scores, Preprocessing(size=4, fit="pad"), 2, 4)
    assert pixels.tolist() == scores[1:3].tolist()  # the padded rows above and below are cut off


def test_crop_marks_what_was_not_seen() -> None:
    pixels = map_to_pixels(torch.ones(2, 2), Preprocessing(size=2, fit="crop"), 2, 6)
    assert pixels.tolist() == [[UNSEEN, UNSEEN, 1, 1, UNSEEN, UNSEEN]] * 2


def test_centre_crop_of_the_padded_square() -> None:
    pixels = map_to_pixels(torch.ones(14, 14), CARZERO, 256, 256)
    assert (pixels[16:240, 16:240] == 1).all()
    assert int((pixels == UNSEEN).sum()) == 256 * 256 - 224 * 224


def test_leading_axes_are_kept() -> None:
    assert map_to_pixels(torch.zeros(3, 5, 2, 2), CARZERO, 20, 30).shape == (3, 5, 20, 30)


def test_bilinear_equals_a_plain_interpolation() -> None:
    scores = torch.tensor([[0.0, 4.0]])
    pixels = map_to_pixels(scores, Preprocessing(size=4, fit="stretch"), 1, 4)
    assert pixels[0].tolist() == [0.0, 1.0, 3.0, 4.0]  # half-pixel centres: 0.25 and 0.75 between the two


def test_square_grid() -> None:
    assert square_grid(torch.arange(9)).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    with pytest.raises(BenchError, match="no square grid"):
        square_grid(torch.arange(8))


def test_first_of_tied_maxima_and_inclusive_boxes() -> None:
    pixels = np.zeros((3, 4))
    pixels[1, 2] = pixels[2, 0] = 5
    assert highest_point(pixels) == (2, 1)
    boxes = [[2, 1, 2, 1], [0, 0, 1.9, 2], [2.1, 0, 3, 3], [0, 1, 3, 3]]
    assert point_in_boxes((2, 1), boxes).tolist() == [True, False, False, True]
    assert pointing_hit(pixels, boxes[1:])
    assert not pointing_hit(pixels, boxes[1:3])
    assert not pointing_hit(pixels, np.zeros((0, 4)))


def test_boxes_are_truncated_and_half_open() -> None:
    assert boxes_to_mask([[1.9, 0.2, 1.9, 2.7]], 3, 3).tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_dice_and_search() -> None:
    masks = np.zeros((3, 1, 4), dtype=np.uint8)
    masks[0, 0, :2] = masks[1, 0, 3] = 1
    probabilities = np.array([[[0.9, 0.9, 0.6, 0.1]], [[0.1, 0.1, 0.1, 0.8]], [[0.2, 0.55, 0.1, 0.1]]])
    assert dice(probabilities > 0.5, masks).tolist() == pytest.approx([0.8, 1.0, 0.0])
    found = search_threshold(probabilities, masks)
    assert found.best_dice == 1.0
    assert found.best_threshold == pytest.approx(0.6)  # 0.6 > 0.6 is false: the first threshold without it
    assert found.dice_at[50] == pytest.approx(0.9)
    assert empty_specificity(probabilities, masks, 0.5) == 0.0
    assert empty_specificity(probabilities, masks, 0.55) == 1.0
    assert np.isnan(empty_specificity(probabilities[:2], masks[:2], 0.5))
    assert pixel_auroc(probabilities, masks) == pytest.approx(1 - 0 / 27)
    with pytest.raises(MetricUndefined):
        search_threshold(probabilities[2:], masks[2:])
    with pytest.raises(MetricUndefined):
        pixel_auroc(probabilities[2:], masks[2:])
