"""The measures of changed findings on scores whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.core.settings import StatisticsConfig
from benchmark.evaluation.counterfactual import Pairs, causal_rows, specificity, specificity_rows
from benchmark.reporting.understanding import confusions

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
    return next(r["value"] for r in rows if r["metric"] == metric and r["class"] == name)


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
