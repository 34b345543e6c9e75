"""Pointing game, segmentation, retrieval and modality gap against plain computations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit

from benchmark.core.errors import DataError, MetricUndefined
from benchmark.core.preprocessing import Preprocessing
from benchmark.evaluation.grounding import map_to_pixels, point_in_boxes, pointing_game
from benchmark.evaluation.pixelwise import SHARES, MaskedMaps, held_out, segment
from benchmark.evaluation.retrieval import image_ranks, modality_gap, recall_by_chance, text_ranks
from benchmark.evaluation.segmentation import empty_specificity, pixel_auroc, search_threshold
from benchmark.evaluation.statistics.intervals import linear_interval, spread_df
from benchmark.evaluation.statistics.trials import Trials, patient_influence, smooth_interval, trial_panel
from benchmark.evaluation.tasks.retrieval import recall_rows
from benchmark.evaluation.tasks.segmentation import segmentation_rows

STRETCH = Preprocessing(size=32, fit="stretch")


def test_pointing_game_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    maps = torch.from_numpy(rng.normal(size=(20, 3, 4))).float()
    boxes = [np.sort(rng.uniform(0, 24, size=(2, 2, 2)), axis=1).reshape(2, 4) for _ in range(20)]
    found = pointing_game(maps, boxes, [(24, 30)] * 20, STRETCH)
    for i in range(20):
        pixels = map_to_pixels(maps[i], STRETCH, 24, 30).numpy()
        y, x = np.unravel_index(pixels.argmax(), pixels.shape)
        assert found.hit[i] == point_in_boxes((int(x), int(y)), boxes[i]).any()
        grid = [[point_in_boxes((c, r), boxes[i]).any() for c in range(30)] for r in range(24)]
        assert found.chance[i] == pytest.approx(np.mean(grid))
    assert 0 < found.hit.mean() < 1


def test_ties_are_shared_out() -> None:
    flat = torch.zeros(1, 2, 2)
    found = pointing_game(flat, [np.array([[0.0, 0.0, 3.0, 7.0]])], [(8, 8)], STRETCH)
    assert (found.hit[0], found.shared[0], found.tied[0], found.chance[0]) == (1.0, 0.5, True, 0.5)


def masked_case(attention: bool) -> tuple[MaskedMaps, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    truth = rng.random((6, 16, 16)) < 0.15
    truth[4:] = False
    maps = torch.from_numpy(rng.normal(size=(6, 4, 4))).float()
    maps = maps.abs() / 4 if attention else maps
    masked = MaskedMaps(
        maps, lambda i: truth[i] if truth[i].any() else None, [(16, 16)] * 6, STRETCH, attention
    )
    pixels = np.stack([map_to_pixels(m, STRETCH, 16, 16).numpy() for m in maps])
    return masked, truth, pixels


@pytest.mark.parametrize("attention", [False, True])
def test_segmentation_against_the_plain_functions(attention) -> None:
    masked, truth, pixels = masked_case(attention)
    codes = np.arange(6)
    found = segment(masked, codes=codes, half=np.array([True, False] * 3))
    shown = pixels if attention else expit(pixels)
    grid = np.linspace(0, 1, 1001) if attention else np.linspace(0, 1, 101)
    plain = search_threshold(shown, truth, grid)
    assert found.threshold == plain.best_threshold
    assert found.dice.mean() == pytest.approx(plain.best_dice)
    assert found.empty.mean() == empty_specificity(shown, truth, plain.best_threshold)
    assert found.pixel_auroc == pytest.approx(pixel_auroc(pixels, truth), abs=1e-4)
    assert found.positive.tolist() == [0, 1, 2, 3]
    cuts = np.quantile(pixels, 1 - SHARES)
    free = search_threshold(pixels, truth, cuts)
    assert found.any_scale.mean() == pytest.approx(free.best_dice, abs=2e-3)


def test_the_search_over_shares_knows_no_scale() -> None:
    masked, _, _ = masked_case(False)
    other = MaskedMaps(masked.maps * 7 - 2, masked.mask, masked.sizes, STRETCH, False)
    half, codes = np.array([True, False] * 3), np.arange(6)
    one, two = (segment(m, codes=codes, half=half) for m in (masked, other))
    assert one.any_scale == pytest.approx(two.any_scale, abs=2e-3)
    assert one.pixel_auroc == pytest.approx(two.pixel_auroc, abs=1e-4)


def test_pixel_auroc_interval_is_that_of_jackknifed_patients() -> None:
    """The influence's variance lies near the jackknife's, which recomputes the value without each patient."""
    rng = np.random.default_rng(3)
    truth = rng.random((40, 8, 8)) < 0.2
    truth[30:] = False
    pixels = rng.normal(size=(40, 8, 8)) + truth * rng.normal(0.8, 0.6, size=(40, 1, 1))
    codes = np.repeat(np.arange(20), 2)
    steps = Preprocessing(size=8, fit="stretch")
    masked = MaskedMaps(
        torch.from_numpy(pixels).float(),
        lambda i: truth[i] if truth[i].any() else None,
        [(8, 8)] * 40,
        steps,
        False,
    )
    found = segment(masked, codes=codes, half=codes < 10)
    left_out = [pixel_auroc(pixels[codes != p], truth[codes != p]) for p in range(20)]
    jackknife = 19 / 20 * np.square(left_out - np.mean(left_out)).sum()
    assert float(found.auroc_influence @ found.auroc_influence) == pytest.approx(jackknife, rel=0.15)


def test_no_mask_is_undefined_and_held_out_needs_both_halves() -> None:
    maps = MaskedMaps(torch.rand(2, 2, 2), lambda i: None, [(4, 4)] * 2, STRETCH, False)
    with pytest.raises(MetricUndefined):
        segment(maps, codes=np.arange(2), half=np.array([True, False]))
    values = np.array([[0.1, 0.9], [0.8, 0.2], [0.7, 0.3]])
    assert held_out(values, np.array([True, False, False])).tolist() == [0.1, 0.2, 0.3]
    assert np.isnan(held_out(values, np.array([True] * 3))).all()


def test_a_class_without_a_held_out_threshold_is_left_out_of_the_mean() -> None:
    """Its masks are all of one half of the patients; the mean of the others was undefined with it."""
    masked, truth, _ = masked_case(False)
    few = MaskedMaps(masked.maps, lambda i: truth[i] if i in (0, 2) else None, masked.sizes, STRETCH, False)
    half = np.array([True, False] * 3)
    found = {k: segment(m, codes=np.arange(6), half=half) for k, m in (("a", masked), ("b", few))}
    rows = {(r.metric, r.cls): r for r in segmentation_rows(found, np.arange(6).astype(str), 0.95)}
    mean = rows["dice_held_out", "macro"]
    assert mean.value == pytest.approx(found["a"].held_out.mean())
    assert "mean of 1 of 2 classes" in mean.note
    assert "mean of" not in rows["dice", "macro"].note


def test_ranks_against_sorting() -> None:
    rng = np.random.default_rng(4)
    scores, own = rng.normal(size=(9, 6)), np.array([0, 1, 2, 3, 4, 5, 0, 1, 2])
    order = np.argsort(-scores, axis=1)
    assert image_ranks(scores, own).tolist() == [list(order[i]).index(own[i]) + 1 for i in range(9)]
    for text, rank in enumerate(text_ranks(scores, own)):
        best = scores[own == text, text].max()
        assert rank == 1 + sum(scores[i, text] > best for i in range(9) if own[i] != text)
    assert image_ranks(np.zeros((2, 5)), np.array([0, 3])).tolist() == [5, 5], "equal scores earn nothing"
    with pytest.raises(DataError, match="belong to an image"):
        text_ranks(scores, np.zeros(9, dtype=int))


def test_the_chance_of_a_recall_is_that_of_shuffled_scores() -> None:
    """A report of three images is found three times as often by chance; it was said to be found like others,
    and more often than always where there are fewer candidates than k."""
    rng = np.random.default_rng(7)
    own = np.array([0, 1, 1, 1, 2, 3, 3, 4])
    ranks = np.stack([text_ranks(rng.random((8, 5)), own) for _ in range(4000)])
    for k in (1, 3, 5, 10):
        assert recall_by_chance(own, k) == pytest.approx((ranks <= k).mean(), abs=0.01)
    assert recall_by_chance(np.arange(200), 5) == pytest.approx(5 / 200)
    rows = recall_rows(rng.random((8, 5)), own, np.arange(8).astype(str), 0.95)
    assert rows[2].metric == "recall_at_10_image_to_text"
    assert "among 5 candidates, of which chance finds 1.000" in rows[2].note


def test_images_of_one_report_are_no_pairs_of_others() -> None:
    rng = np.random.default_rng(8)
    own = np.array([0, 1, 1, 2, 1, 2])
    image, text = rng.normal(size=(6, 3)), rng.normal(size=(3, 3))[own]
    v, t = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (image, text))
    others = [v[i] @ t[j] for i in range(6) for j in range(6) if own[i] != own[j]]
    found = modality_gap(image, text, own, np.arange(6), 6)["unpaired_cosine"]
    assert found.value == pytest.approx(np.mean(others))


def test_modality_gap_against_its_definition() -> None:
    rng = np.random.default_rng(5)
    image, text = rng.normal(size=(30, 4)) + 1, rng.normal(size=(30, 4)) - 0.5
    codes = np.repeat(np.arange(10), 3)
    found = modality_gap(image, text, np.arange(30), codes, 10)
    v, t = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (image, text))
    assert found["modality_gap"].value == pytest.approx(np.linalg.norm(v.mean(0) - t.mean(0)))
    cosines = v @ t.T
    assert found["paired_cosine"].value == pytest.approx(np.diag(cosines).mean())
    assert found["unpaired_cosine"].value == pytest.approx(cosines[~np.eye(30, dtype=bool)].mean())
    kept = [codes != p for p in range(10)]
    left_out = np.array([np.linalg.norm(v[k].mean(0) - t[k].mean(0)) for k in kept])
    jackknife = 9 / 10 * np.square(left_out - left_out.mean()).sum()
    own = found["modality_gap"].influence
    assert float(own @ own) == pytest.approx(jackknife, rel=0.1)
    assert modality_gap(image, image, np.arange(30), codes, 10)["modality_gap"].value == 0
    with pytest.raises(DataError, match="length 0"):
        modality_gap(np.zeros((3, 2)), np.ones((3, 2)), np.arange(3), np.arange(3), 3)


def test_mean_of_trials_has_the_clustered_variance() -> None:
    rng = np.random.default_rng(6)
    values, codes = (rng.random(60) < 0.4).astype(float), rng.integers(0, 12, 60)
    influence = patient_influence(values, codes, 12)
    sums = np.array([(values[codes == p] - values.mean()).sum() for p in range(12)])
    share = np.bincount(codes) / 60
    assert influence == pytest.approx(sums / 60 / np.sqrt(1 - 2 * share + (share**2).sum()))
    panel = trial_panel("pointing_game", [Trials("a", values, codes), Trials("b", 1 - values, codes)], 12)
    assert [c.name for c in panel.columns] == ["a", "b", "macro"]
    assert panel.values.tolist() == pytest.approx([values.mean(), 1 - values.mean(), 0.5])
    assert panel.variance(2) == pytest.approx(0, abs=1e-12), "opposite classes cancel within patients"
    low, high = panel.interval(0, 0.95).low, panel.interval(0, 0.95).high
    assert low < values.mean() < high
    assert [(c.n_pos, c.n_patients) for c in panel.columns] == [(60, 12), (60, 12), (120, 12)]
    other = Trials("b", values[:40], codes[::-1][:40])
    both = trial_panel("x", [Trials("a", values, codes), other], 12)
    mean = (influence + patient_influence(other.values, other.codes, 12)) / 2
    assert both.variance(2) == pytest.approx(mean @ mean)
    alone = trial_panel("x", [Trials("a", values, codes)], 12)
    assert [c.name for c in alone.columns] == ["macro"]
    assert alone.influence[:, 0] == pytest.approx(influence)
    found = smooth_interval(0.4, influence, 0.9)
    limits = linear_interval(0.4, influence @ influence, spread_df(influence), 0.9)
    assert (found.low, found.high) == pytest.approx(limits)
    empty = Trials("c", np.empty(0), np.empty(0, dtype=int))
    assert "1 of 2 classes" in trial_panel("x", [Trials("a", values, codes), empty], 12).columns[-1].note
    nothing = trial_panel("x", [empty], 12)
    assert np.isnan(nothing.values).all()
    assert [(c.n_pos, c.n_patients) for c in nothing.columns] == [(0, 0)]
    assert np.isnan(smooth_interval(0.5, np.zeros(3), 0.95).low)
