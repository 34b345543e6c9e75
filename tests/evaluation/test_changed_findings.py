"""The measures of changed findings on scores whose answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmark.core.settings import StatisticsConfig
from benchmark.evaluation.counterfactual import (
    Pairs,
    causal_rows,
    denial_rows,
    mean_rows,
    specificity,
    specificity_rows,
)
from benchmark.evaluation.statistics.trials import Trials, patient_influence, smooth_interval
from benchmark.reporting.understanding import confusions, polarity_errors
from benchmark.stages.understanding import pairs_of
from benchmark.twins.counterfactual import counterfactual_plan

NAMES = ("a", "b", "c")
PATIENTS = 10
RELATED = {name: frozenset({name}) for name in NAMES}


def scene_scores(matrix: np.ndarray) -> tuple[np.ndarray, list[Pairs]]:
    """Bases, then every finding added to every patient: scores move by a row of `matrix` (F, T)."""
    base = np.random.default_rng(0).normal(size=(PATIENTS, len(NAMES)))
    scores = np.concatenate([base, *(base + row for row in matrix)])
    who = np.arange(PATIENTS)
    return scores, [Pairs(n, who, who + PATIENTS * (k + 1), who) for k, n in enumerate(NAMES)]


def value(rows, metric, name="macro"):
    return next(r.value for r in rows if r.metric == metric and r.cls == name)


def test_a_perfect_model_has_ones_everywhere():
    scores, pairs = scene_scores(np.eye(3) * 50)
    rows = causal_rows(scores, NAMES, pairs, StatisticsConfig())
    found = specificity(scores, NAMES, pairs, RELATED)
    rows += specificity_rows(found, pairs, RELATED, 0.95)
    for metric in ("causal_auroc", "score_rises", "specificity", "own_prompt_first"):
        assert value(rows, metric) == 1
    assert confusions(found.changes, found.findings, found.prompts, RELATED) == []


def test_a_model_that_does_not_look_is_at_chance():
    scores, pairs = scene_scores(np.zeros((3, 3)))
    rows = causal_rows(scores, NAMES, pairs, StatisticsConfig())
    rows += specificity_rows(specificity(scores, NAMES, pairs, RELATED), pairs, RELATED, 0.95)
    assert value(rows, "causal_auroc") == value(rows, "score_rises") == value(rows, "specificity") == 0.5
    assert value(rows, "score_change") == 0


def test_a_confusion_is_named_and_a_related_prompt_is_none():
    matrix = np.eye(3)
    matrix[0, 2] = 4
    scores, pairs = scene_scores(matrix)
    found = specificity(scores, NAMES, pairs, RELATED)
    (worst,) = confusions(found.changes, found.findings, found.prompts, RELATED)
    assert worst[:2] == ("a", "c")
    assert worst[2] > worst[3] > 0
    assert found.wins["a"].mean() == 0.5
    near = {**RELATED, "a": frozenset({"a", "c"})}
    assert confusions(found.changes, found.findings, found.prompts, near) == []
    assert specificity(scores, NAMES, pairs, near).wins["a"].mean() == 1


def test_the_change_is_in_deviations_of_the_prompt():
    scores, pairs = scene_scores(np.eye(3))
    rows = causal_rows(scores, NAMES, pairs, StatisticsConfig())
    assert value(rows, "score_change", "b") == pytest.approx(1 / scores[:PATIENTS, 1].std())


def test_a_mean_of_changes_has_the_interval_of_its_patients():
    rng = np.random.default_rng(1)
    groups = [
        Trials("a", rng.normal(3, 1, 26), np.arange(26) // 2),
        Trials("b", rng.normal(0, 2, 11), np.arange(11)),
    ]
    own = [patient_influence(g.values, g.codes, 15) for g in groups]
    rows = mean_rows("score_change", groups, 15, 0.9)
    parts = (*zip((g.values.mean() for g in groups), own, (13, 11), strict=True),)
    both = (np.mean([value for value, _, _ in parts]), np.mean(own, axis=0), 13)
    assert [row.cls for row in rows] == ["a", "b", "macro"]
    for row, (mean, influence, patients) in zip(rows, (*parts, both), strict=True):
        limits = smooth_interval(mean, influence, 0.9)
        assert (row.value, row.low, row.high) == pytest.approx((limits.value, limits.low, limits.high))
        assert (row.n_pos, row.n_patients) == (patients, patients)


def test_a_model_that_reads_over_no_ranks_absence_upside_down():
    scores, pairs = scene_scores(np.eye(3) * 50)
    base = scores[np.tile(np.arange(PATIENTS), 4)]
    read = denial_rows(scores, base - (scores - base), NAMES, pairs, StatisticsConfig())
    over = denial_rows(scores, scores, NAMES, pairs, StatisticsConfig())
    assert [value(read, m) for m in ("denial_auroc", "denial_falls", "contrast_auroc")] == [1, 1, 1]
    assert [value(over, m) for m in ("denial_auroc", "denial_falls", "contrast_auroc")] == [0, 0, 0.5]


def test_a_finding_that_no_image_shows_is_not_measured():
    plan = counterfactual_plan(("nodule",), 8, 0)
    shown = np.ones(len(plan.scenes), dtype=bool)
    assert [pair.finding for pair in pairs_of(plan, ("nodule",), shown)] == ["nodule"]
    shown[plan.rows("added", "nodule")[0]] = False
    assert pairs_of(plan, ("nodule",), shown) == []


def test_polarity_errors_are_named_where_the_whole_interval_is_below_one_half():
    rows = [("macro", 0.4, 0.45), ("a", 0.2, 0.4), ("b", 0.4, 0.6), ("c", 0.1, 0.3)]
    said = polarity_errors(pd.DataFrame(rows, columns=["class", "value", "high"]), 0.95)
    assert "2 of 3 findings; 2.5% are expected" in said
    assert said.endswith("Worst: c (0.10), a (0.20).")
    assert "Worst" not in polarity_errors(pd.DataFrame(rows[2:3], columns=["class", "value", "high"]), 0.95)


def test_a_patient_whose_change_is_the_mean_counts_too():
    """Patients were counted by their influence on the mean, which such a one does not have."""
    groups = [
        Trials("a", np.array([1.0, 1, 1, 2, 0]), np.arange(5)),
        Trials("b", np.ones(2), np.array([4, 5])),
    ]
    rows = mean_rows("score_change", groups, 8, 0.95)
    assert [(row.cls, row.n_patients) for row in rows] == [("a", 5), ("b", 2), ("macro", 6)]
