"""A patient who holds much of a mean pulls it along; the variance must not take that for agreement."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmark.core.settings import StatisticsConfig
from benchmark.evaluation.comparison import Run, compare, summarise_runs
from benchmark.evaluation.evaluate import evaluate
from benchmark.evaluation.pixelwise import _influence
from benchmark.evaluation.statistics.error_rates import rate
from benchmark.evaluation.statistics.influence import influence_table
from benchmark.evaluation.statistics.leverage import residual_scale
from benchmark.evaluation.statistics.thresholds import Thresholds, ratio_influence
from benchmark.evaluation.statistics.trials import Trials, mean_influence, patient_influence, trial_panel

HELD = np.array([40] + [1] * 24)
"""Images of each of 25 patients, one of whom has 40 of the 64."""
CODES = np.repeat(np.arange(25), HELD)


def test_equal_shares_have_obuchowskis_factor_and_one_patient_none():
    assert residual_scale(np.array([3, 0, 3, 3])) ** 2 == pytest.approx([1.5, 0.75, 1.5, 1.5])
    assert residual_scale(np.array([0, 7])).tolist() == [1, 1]
    assert residual_scale(np.zeros(2)).tolist() == [1, 1]


def placements(rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """One value a patient, alike in all images of the patient."""
    values = rng.standard_normal(25)[CODES]
    return float(values.mean()), patient_influence(values, CODES, 25)


def decisions(rng: np.random.Generator) -> tuple[float, np.ndarray]:
    wrong = (rng.random(25) < 0.4)[CODES, None]
    return rate(wrong, np.ones_like(wrong), CODES, 25)


def sensitivity(rng: np.random.Generator) -> tuple[float, np.ndarray]:
    return ratio_influence(HELD * (rng.random(25) < 0.4), HELD)


def pixels(rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """Of masks that all lie in front of the same background."""
    own = rng.standard_normal(25)
    value = float(own @ HELD / 64)
    excess = np.stack([(own - value) * HELD, np.zeros(25)], axis=1)
    return value, _influence(excess, np.stack([HELD, np.ones(25)], axis=1), np.arange(25))


def auroc(rng: np.random.Generator, positive: bool) -> tuple[float, np.ndarray]:
    """The images of CODES on one side, 3,000 of a patient each on the other, which add next to nothing."""
    scores = np.concatenate([rng.standard_normal(25)[CODES], rng.standard_normal(3000)])
    labels = np.concatenate([np.full(64, int(positive)), np.full(3000, int(not positive))])
    codes = np.concatenate([CODES, np.arange(25, 3025)])
    table = influence_table(scores[:, None], labels[:, None], codes, metrics=("auroc",))
    return float(table.values[0, 0]), table.influence[0, :, 0]


@pytest.mark.parametrize(
    "draw",
    [placements, decisions, sensitivity, pixels, lambda r: auroc(r, True), lambda r: auroc(r, False)],
    ids=["trials", "rate", "ratio", "pixels", "positives", "negatives"],
)
def test_the_variance_is_unbiased_where_one_patient_holds_most(
    draw: Callable[[np.random.Generator], tuple[float, np.ndarray]],
):
    """It was a quarter of the truth."""
    rng = np.random.default_rng(0)
    values, variances = zip(
        *((value, own @ own) for value, own in (draw(rng) for _ in range(400))), strict=True
    )
    assert np.mean(variances) == pytest.approx(np.var(values), rel=0.2)


@pytest.mark.parametrize("side", ["positives", "negatives"])
def test_equal_methods_differ_no_more_often_than_said_where_one_patient_has_most_images(side):
    """5% of equal methods were to differ at 5%; 15% to 22% did."""
    rng = np.random.default_rng(1)
    held = HELD if side == "positives" else np.array([100] + [1] * 100)
    others = 300 if side == "positives" else 60
    codes = np.concatenate([np.repeat(np.arange(len(held)), held), len(held) + np.arange(others)])
    labels = np.full(len(codes), side != "positives", dtype=int)
    labels[: held.sum()] = side == "positives"
    found = []
    for _ in range(200):
        runs = []
        for name in ("a", "b"):
            patient = np.sqrt(0.6) * rng.standard_normal(codes.max() + 1)[codes]
            own = patient + np.sqrt(0.4) * rng.standard_normal(len(codes))
            runs.append(Run(name, 0, (own + labels)[:, None]))
        frame = compare(summarise_runs(runs, labels[:, None], codes.astype(str), ["x"], metrics=("auroc",)))
        found.append(frame[frame["class"] == "x"].iloc[0].p < 0.05)
    assert np.mean(found) < 0.09


def test_a_mean_over_findings_of_one_patient_each_has_a_spread():
    """Each of twelve findings was tried on one patient, whose trial has no distance from its own mean: the
    mean over findings had no variance at all."""
    rng = np.random.default_rng(2)
    values, variances = [], []
    for _ in range(400):
        groups = [Trials(str(i), (rng.random(1) < 0.5).astype(float), np.array([i])) for i in range(12)]
        own = mean_influence(groups, 12)
        values.append(np.mean([g.values for g in groups]))
        variances.append(own @ own)
    assert np.mean(variances) == pytest.approx(np.var(values), rel=0.15)
    panel = trial_panel("hit", groups, 12)
    assert panel.influence[:, -1] == pytest.approx(own)
    assert "few positive patients (12)" in panel.interval(12, 0.95).note


def test_tries_of_few_patients_are_marked_by_the_weight_of_the_patients():
    values = np.random.default_rng(3).random(64)
    many = Trials("many", np.tile(values, 2), np.arange(128))
    one = Trials("one", values, CODES)
    panel = trial_panel("hit", [one, many], 128)
    assert [c.few for c in panel.columns] == [True, False, True]
    assert "few positive patients (25, worth 3)" in panel.interval(0, 0.95).note
    assert not trial_panel("hit", [many], 128).columns[0].few
    assert trial_panel("hit", [one], 128).columns[0].few


def test_a_mean_of_sensitivities_over_classes_of_one_positive_each_has_an_interval():
    """Each class is found wholly or not at all, so that no class has a distance from its own value."""
    labels = np.concatenate([np.eye(12, dtype=int), np.zeros((60, 12), dtype=int)])
    scores = np.random.default_rng(4).random((72, 12))
    scores[np.arange(12), np.arange(12)] = np.arange(12) % 2
    names = [str(i) for i in range(12)]
    metric = "sensitivity_at_specificity_0.9"
    frame = evaluate(
        scores, labels, None, names, thresholds=Thresholds({metric: dict.fromkeys(names, 0.95)}),
        config=StatisticsConfig(thresholded=True, draws=100),
    )  # fmt: skip
    row = frame[(frame["class"] == "macro") & (frame.metric == metric)].iloc[0]
    assert row.value == 0.5
    assert row.high - 0.5 == pytest.approx(2.1 * 0.5 / np.sqrt(11), rel=0.1)
