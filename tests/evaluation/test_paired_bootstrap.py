"""The paired cluster bootstrap against the analytic paired comparison."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.evaluation.comparison import Run, compare, summarise_runs
from benchmark.evaluation.statistics.paired_bootstrap import paired_bootstrap


def case(shift: float, seed: int = 0):
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(150), 3)
    labels = (rng.random((450, 4)) < 0.25).astype(np.int8)
    shared = rng.normal(size=(450, 4)) + rng.normal(size=(150, 4))[patients]
    a = labels * (1.0 + shift) + shared + 0.3 * rng.normal(size=shared.shape)
    b = labels * 1.0 + shared + 0.3 * rng.normal(size=shared.shape)
    return a, b, labels, patients


def test_agrees_with_the_analytic_comparison() -> None:
    a, b, labels, patients = case(0.3)
    found = paired_bootstrap(a, b, labels, patients, 150, draws=1500)
    runs = [Run("a", 0, a), Run("b", 0, b)]
    names = [f"c{i}" for i in range(4)]
    rows = compare(summarise_runs(runs, labels, patients.astype(str), names, metrics=("auroc",)))
    macro = rows[(rows["class"] == "macro") & (rows["stratum"] == "all")].iloc[0]
    assert found.delta.mean() == pytest.approx(macro.delta, abs=1e-9)
    low, high = found.interval()
    assert (high - low) == pytest.approx(macro.high - macro.low, rel=0.12)
    assert low > 0
    assert found.p_value() < 0.01
    single = rows[rows["class"] == "c1"].iloc[0]
    assert found.interval(1)[0] == pytest.approx(single.low, abs=0.2 * (single.high - single.low))


def test_equal_scores_differ_nowhere() -> None:
    a, _, labels, patients = case(0.0)
    found = paired_bootstrap(a, a, labels, patients, 150, draws=200)
    assert not found.delta.any()
    assert found.interval() == (0.0, 0.0)
    assert found.p_value() == 1.0


def test_a_class_without_positives_is_undefined_and_left_out_of_the_mean() -> None:
    a, b, labels, patients = case(0.3)
    labels[:, 2] = 0
    found = paired_bootstrap(a, b, labels, patients, 150, draws=200)
    assert np.isnan(found.delta[2])
    assert np.isnan(found.p_value(2))
    assert np.isfinite(found.interval()).all()
