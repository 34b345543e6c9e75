"""Decisions at held-out thresholds: flips with the wording, and error rates of groups."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.evaluation.operating_point import LEAST_NEGATIVES, operating_points
from benchmark.evaluation.statistics.error_rates import crossed, error_panel, rate, rate_gaps
from benchmark.evaluation.tasks.paraphrase import TEMPLATES, another_patient, flip_rows

RNG = np.random.default_rng(0)


def value(rows, metric, name="macro"):
    return next(r.value for r in rows if (r.metric, r.cls) == (metric, name))


def test_the_threshold_leaves_the_asked_share_of_negatives_below():
    scores, labels = RNG.normal(size=(200, 2)), (RNG.random((200, 2)) < 0.2).astype(int)
    labels[LEAST_NEGATIVES - 1 :, 1] = 1
    points = operating_points(scores, labels, 0.9)
    negatives = np.sort(scores[labels[:, 0] == 0, 0])
    below = (negatives <= points[0]).mean()
    assert 0.9 <= below < 0.9 + 1 / len(negatives)
    assert np.isnan(points[1])
    labels[:LEAST_NEGATIVES, 1] = 0
    least = operating_points(scores, labels, 0.9)[1]
    assert least == np.sort(scores[:LEAST_NEGATIVES, 1])[17], "18 of 20 are not above it"


def test_every_image_is_swapped_for_one_of_another_patient():
    codes = np.array([0, 0, 0, 0, 1, 2, 2])
    names = [f"i{k}" for k in range(7)]
    swapped = another_patient(names, codes)
    assert (codes[swapped] != codes).all()
    order = np.array([3, 1, 6, 0, 5, 2, 4])
    again = another_patient([names[k] for k in order], codes[order])
    assert [names[order[k]] for k in again] == [names[swapped[k]] for k in order]
    assert (another_patient(["a", "b"], np.zeros(2, int)) == -1).all()


def test_flips_are_told_apart_by_their_cause():
    assert len(TEMPLATES) >= 11
    house = np.array([[1.0], [1], [0], [0]])
    shifted = np.array([[1.0], [0], [0], [0]])
    scores = np.stack([house, house, shifted], axis=1)  # two paraphrases, one of which loses a call
    points = np.array([[0.5], [0.5], [-0.5]])
    rows = flip_rows(scores, points, np.array([2, 3, 0, 1]), ["x"], np.arange(4), 4, 0.95)
    assert value(rows, "flips_by_wording") == pytest.approx(1 / 8)
    assert value(rows, "flips_by_wording_refitted") == pytest.approx(2 / 8)
    assert value(rows, "flips_by_any_wording") == pytest.approx(1 / 4)
    assert value(rows, "flips_by_image") == 1
    assert value(rows, "calls_lost_by_wording") == pytest.approx(1 / 4)
    assert value(rows, "calls_lost_by_image") == 1


def test_a_rate_counts_classes_alike_and_its_interval_is_no_tighter_than_of_one_class():
    wrong = np.array([[1, 0], [0, 0], [0, 0], [0, 1]], dtype=bool)
    counted = np.array([[1, 1], [1, 0], [1, 0], [1, 1]], dtype=bool)
    found, influence = rate(wrong, counted, np.arange(4), 4)
    assert found == pytest.approx((1 / 4 + 1 / 2) / 2)
    own = [5 / 8 / 8 - 3 / 8 / 4, -3 / 8 / 8, -3 / 8 / 8, 5 / 8 / 4 - 3 / 8 / 8]  # (wrong - 3/8) / decisions
    share = np.array([3, 1, 1, 3]) / 8  # of a patient in the rate: 1/8 of a decision on a, 1/4 of one on b
    assert influence == pytest.approx(np.array(own) / np.sqrt(1 - 2 * share + (share**2).sum()))
    single = np.zeros((40, 1), dtype=bool)
    single[:10] = True
    found, influence = rate(single, np.ones((40, 1), dtype=bool), np.arange(40), 40)
    assert np.square(influence).sum() == pytest.approx(found * (1 - found) / 39)
    assert np.isnan(rate(wrong, np.zeros_like(counted), np.arange(4), 4)[0])


def groups_of(sex):
    """Two groups alike, one that nobody is in, and one with a single level."""
    return {"sex": sex, "view": sex, "none": np.full(len(sex), ""), "site": np.full(len(sex), "x")}


def test_a_group_that_is_missed_more_often_is_the_worst_of_the_gap():
    n = 400
    sex = np.array(["F", "M"] * (n // 2), dtype=object)
    counted = np.ones((n, 2), dtype=bool)
    counted[4:, 1] = False  # a class with too few decisions in each level
    wrong = np.zeros((n, 2), dtype=bool)
    wrong[: n // 2 : 2, 0] = True  # half of the women are missed
    panel, groups = error_panel("fnr", wrong, counted, np.arange(n), n, ["a", "b"], groups_of(sex), 200)
    assert set(groups) == {"sex", "view"}
    rows = [(c.name, c.stratum, c.n_pos, c.n_patients) for c in panel.columns[:5]]
    assert rows[:3] == [("a", "all", 400, 400), ("b", "all", 4, 4), ("macro", "all", 404, 400)]
    assert rows[3:] == [("macro", "sex=F", 200, 200), ("macro", "sex=M", 200, 200)]
    assert panel.values[:3] == pytest.approx([1 / 4, 0, 1 / 8])
    certain = 0.5 / 201 * (1 - 0.5 / 201) / 200
    assert panel.extra[[0, 2, 3, 4]] == pytest.approx([0, 0, 0, certain]), "only a rate of 0 shows no spread"
    levels = {panel.columns[k].stratum: panel.values[k] for k in groups["sex"]}
    assert levels == pytest.approx({"sex=F": 0.5, "sex=M": 0.0})
    (column, gap), _ = rate_gaps(panel, ["sex", "view"], 0.95)
    assert (column.stratum, gap.value) == ("sex", pytest.approx(0.5))
    assert 0.35 < gap.low < 0.5 < gap.high
    assert "best M, worst F" in gap.note
    assert "1 of 2 classes" in gap.note


def test_groups_are_crossed_two_by_two_with_two_bands_of_age():
    groups = {
        "sex": np.array(["F", "M", "M"], dtype=object),
        "view": np.array(["PA", "AP", ""], dtype=object),
        "age": np.array(["<40", "75+", "40-59"], dtype=object),
        "site": np.array(["x", "y", "x"], dtype=object),
    }
    found = crossed(groups)
    assert list(found["sex & age"]) == ["F & <60", "M & 60+", "M & <60"]
    assert list(found["sex & view"]) == ["F & PA", "M & AP", ""]
    assert set(found) == {*groups, "sex & age", "sex & view", "age & view"}
    assert list(found["age"]) == ["<60", "60+", "<60"]


def test_a_level_without_an_error_is_not_taken_for_certain():
    wrong = np.zeros((20, 1), dtype=bool)
    wrong[10:15] = True
    view = np.array(["AP"] * 10 + ["PA"] * 10, dtype=object)
    panel, _ = error_panel("fnr", wrong, np.ones_like(wrong), np.arange(20), 20, ["any"], {"view": view}, 5)
    ((_, gap),) = rate_gaps(panel, ["view"], 0.95)
    only = np.square(panel.influence[:, -1]).sum()
    assert gap.value == 0.5
    assert gap.high - gap.value > 2 * np.sqrt(only)
    panel, _ = error_panel(
        "fnr", view[:, None] == "PA", np.ones_like(wrong), np.arange(20), 20, ["any"], {"view": view}, 5
    )
    ((_, gap),) = rate_gaps(panel, ["view"], 0.95)
    assert gap.low < gap.value == gap.high == 1
