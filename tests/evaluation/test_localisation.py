"""How well maps mark boxes, by hand-worked cases, and the maps that never read the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.core.preprocessing import Preprocessing
from benchmark.evaluation.grounding import UNSEEN
from benchmark.evaluation.localisation import (
    Boxed,
    best_dice,
    centre_hits,
    contrast_to_noise,
    localise,
    mean_maps,
    measured,
    open_vocabulary,
    overlap,
    weights,
)
from benchmark.evaluation.tasks.grounding import Grounding, Tries, map_rows

STRETCH = Preprocessing(size=8, fit="stretch")
LEFT, RIGHT = np.array([[0.0, 0.0, 3.0, 7.0]]), np.array([[4.0, 0.0, 7.0, 7.0]])


def test_contrast_to_noise_by_hand() -> None:
    values = np.array([4.0, 2.0, 1.0, 1.0, UNSEEN])
    inside = np.array([True, True, False, False, False])
    assert contrast_to_noise(values, inside) == pytest.approx((3 - 1) / 1)
    assert contrast_to_noise(-values[:4], inside[:4]) == pytest.approx(-2), "darker inside counts against it"
    assert contrast_to_noise(3 * values[:4] - 7, inside[:4]) == pytest.approx(2), "no scale changes it"
    assert contrast_to_noise(np.ones(4), inside[:4]) == 0
    assert np.isnan(contrast_to_noise(values, ~(values != UNSEEN))), "no pixel of the box was seen"


def boxed(maps: torch.Tensor, boxes: list[np.ndarray]) -> Boxed:
    return Boxed(maps, boxes, [(8, 8)] * len(boxes), STRETCH, False)


def test_the_threshold_comes_from_the_other_half() -> None:
    """One half's boxes hold the brightest half of the pixels, the other's the brightest fourth."""
    grid = torch.arange(64.0).reshape(1, 8, 8).repeat(4, 1, 1)
    half = np.array([True, True, False, False])
    lower, lowest = np.array([[0.0, 4.0, 7.0, 7.0]]), np.array([[0.0, 6.0, 7.0, 7.0]])
    found = localise(boxed(grid, [lower, lower, lowest, lowest]), ["a"] * 4, half)
    assert found.iou == pytest.approx(0.5, abs=0.05), "each is cut where the other half's boxes end"
    same = localise(boxed(grid, [lower] * 4), ["a"] * 4, half)
    assert same.iou == pytest.approx(1, abs=0.1)
    assert np.isnan(localise(boxed(grid, [lower] * 4), ["a"] * 4, np.ones(4, bool)).iou).all()


def test_every_class_has_the_same_weight() -> None:
    found = weights(["a", "b", "b", "b"])
    assert found[0] == pytest.approx(found[1:].sum())


def test_a_method_that_always_looks_at_one_place_is_its_own_mean_map() -> None:
    look = torch.zeros(8, 8)
    look[2, 2] = 1
    maps = look.repeat(8, 1, 1)
    names, half = ["heart", "lung"] * 4, np.array([True, True, False, False] * 2)
    boxes = [LEFT, RIGHT] * 4
    mean, known = mean_maps(maps, names, half)
    assert known.all()
    assert torch.equal(mean, maps)
    about = Tries(names, np.arange(8), ["heart", "lung"], 8, 0.95)
    rows = {(r.metric, r.cls): r.value for r in map_rows(boxed(maps, boxes), half, about)}
    assert rows["pointing_game_mean_map", "macro"] == 0.5
    assert rows["cnr_mean_map", "macro"] == pytest.approx(rows["cnr", "macro"])
    assert rows["iou_held_out_mean_map", "macro"] == pytest.approx(rows["iou_held_out", "macro"])
    assert rows["cnr", "heart"] > 0 > rows["cnr", "lung"]
    assert not Grounding().is_share("cnr_mean_map")
    assert Grounding().is_share("iou_held_out")


def test_a_mean_map_holds_no_image_of_its_own_half() -> None:
    maps = torch.stack([torch.full((2, 2), float(v)) for v in (1, 2, 10, 20)])
    mean, known = mean_maps(maps, ["a", "a", "a", "b"], np.array([True, True, False, False]))
    assert mean[:, 0, 0].tolist() == [10, 10, 1.5, 0]
    assert known.tolist() == [True, True, True, False]


def test_the_middle_of_the_image() -> None:
    assert centre_hits([LEFT, RIGHT, np.zeros((0, 4))], [(8, 8)] * 3).tolist() == [0, 1, 0]


def test_classes_compete_for_each_pixel_at_a_fixed_threshold() -> None:
    logit = float(np.log(0.7 / 0.3))
    maps = torch.tensor([[[2.0, 1.0]], [[1.5, logit - 0.1]], [[2.0, 0.0]]])
    marked = open_vocabulary(maps, Preprocessing(size=2, fit="stretch"), (1, 2), False)
    assert marked.tolist() == [[0, 0]], "the first of equal classes; sigmoid(1) is above 0.7"
    low = open_vocabulary(maps[1:2] - 1, Preprocessing(size=2, fit="stretch"), (1, 2), False)
    assert low.tolist() == [[-1, -1]], "below the threshold is background"
    weak = open_vocabulary(torch.full((1, 1, 2), 0.6), Preprocessing(size=2, fit="stretch"), (1, 2), True)
    assert weak.tolist() == [[-1, -1]], "weights of attention are taken as they are"
    assert overlap(np.array([True, True, False]), np.array([False, True, True])) == pytest.approx(1 / 3)
    assert overlap(np.zeros(2, bool), np.zeros(2, bool)) == 0


def test_one_map_against_one_mask() -> None:
    truth = np.zeros((4, 4), dtype=bool)
    truth[:2, :2] = True
    pixels = np.where(truth, 2.0, -2.0)
    found = measured(pixels, truth, attention=False)
    assert (found.hit, found.chance, found.iou, found.dice) == (True, 0.25, 1, 1)
    assert found.cnr == 0, "no noise and no contrast to noise"
    assert (found.iou_fixed, found.dice_fixed) == (1, 1), "sigmoid(2) is above 0.7"
    half = np.where(np.arange(4) < 2, 2.0, 0.8) * np.ones((4, 1))
    found = measured(half, truth, attention=False)
    assert (found.iou, found.dice) == pytest.approx((1 / 2, 2 / 3))
    assert (found.iou_fixed, found.dice_fixed) == pytest.approx((1 / 2, 2 / 3)), "sigmoid(0.8) is below 0.7"
    found = measured(half, truth, attention=True)
    assert (found.iou_fixed, found.dice_fixed) == pytest.approx((1 / 4, 2 / 5)), "0.8 is above it"
    assert measured(np.zeros((4, 4)), truth, attention=True).dice == pytest.approx(2 / 5), "all or nothing"
    weak = measured(pixels / 100, truth, attention=False)
    assert (weak.iou, weak.iou_fixed) == (1, 0)
    assert measured(-pixels, truth, attention=False).hit is False
    unseen = np.where(truth, UNSEEN, 1.0)
    assert measured(unseen, truth, attention=True).cnr is None


def test_the_best_threshold_of_a_small_lesion_is_found() -> None:
    """Five hundred thresholds by share of the image pass none of a lesion smaller than one such share."""
    rng = np.random.default_rng(0)
    truth = np.zeros((256, 256), dtype=bool)
    truth[100:104, 200:205] = True
    pixels = 0.9 * truth + 0.01 * rng.random(truth.shape)
    found = measured(pixels, truth, attention=True)
    assert (found.iou, found.iou_fixed) == (1, 1)
    values, mask = np.round(rng.normal(size=300) + 0.5, 1), rng.random(300) < 0.05
    every = [2 * mask[values >= v].sum() / ((values >= v).sum() + mask.sum()) for v in np.unique(values)]
    assert best_dice(values, mask) == pytest.approx(max(every)), "against a loop, with ties"


def test_the_gallery_follows_its_rule() -> None:
    from benchmark.stages.gallery import chosen

    hit = np.array([True, True, True, False, False, False])
    cnr = np.array([3.0, 1.0, 2.0, 0.5, -1.0, np.nan])
    assert chosen(hit, cnr) == {"hit": 2, "near miss": 3, "failure": 4}
    assert chosen(hit[:3], cnr[:3]) == {"hit": 2}
    assert chosen(hit[3:], cnr[3:]) == {"near miss": 0, "failure": 1}


def test_a_text_names_the_narrowest_class() -> None:
    from benchmark.data.cards import load_card
    from benchmark.stages.look import class_of

    concepts = load_card("cxr_lt").concepts
    assert class_of("There is rib fracture", concepts) == "Rib Fracture"
    assert class_of("There is no pleural effusion", concepts) == "Pleural Effusion"
    assert class_of("The weather is fine", concepts) is None
