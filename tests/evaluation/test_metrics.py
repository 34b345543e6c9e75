"""A ranking metric is one object: influences, intervals, bootstrap, comparisons and ranks follow from it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.evaluation.comparison import Run, compare, over_seeds, ranking, summarise_runs
from benchmark.evaluation.statistics.bootstrap import bootstrap, point
from benchmark.evaluation.statistics.influence import influence_table
from benchmark.evaluation.statistics.metrics import METRICS, RANK_METRICS, Metric, metric_of


@pytest.mark.parametrize("name", RANK_METRICS)
def test_value_and_resampled_value_agree(name):
    rng = np.random.default_rng(0)
    labels = (rng.random((200, 3)) < [0.3, 0.1, 0.02]).astype(np.int8)
    labels[0] = 1
    scores = np.round(labels + rng.standard_normal(labels.shape), 1)
    table = influence_table(scores, labels, np.arange(200), metrics=(name,))
    assert point(scores, labels, (name,))[0] == pytest.approx(table.values[0], abs=1e-9)


def test_an_object_is_all_that_a_new_metric_takes(monkeypatch):
    """Youden-like: the share of positives above the median negative, as an example."""

    def influence(curve):
        hit = (2 * curve.fp_ge <= curve.n0).astype(float)
        value = float(curve.k @ hit) / curve.n1
        return value, (hit[curve.place] - value) / curve.n1, np.zeros(curve.n0)

    def resampled(w):
        above = (2 * (w.w0 - w.below) <= w.w0).double()
        return (w.at * above).sum(0) / w.w1

    monkeypatch.setitem(METRICS, "above_median", Metric("above the median", resampled, influence))
    rng = np.random.default_rng(1)
    labels = (rng.random((400, 2)) < 0.2).astype(np.int8)
    runs = [Run(m, s, labels * 0.8 + rng.standard_normal(labels.shape)) for m in "ab" for s in range(3)]
    summary = summarise_runs(runs, labels, None, ["x", "y"], metrics=("above_median",))
    frame = compare(summary)
    rows = frame[frame["class"].isin(["x", "y", "macro"]) & (frame.stratum == "all")]
    assert len(rows) == 3
    assert rows.p.between(0, 1).all()
    first = over_seeds(summary)
    assert (first.metric == "above_median").all()
    means = first[(first["class"] == "macro") & (first.stratum == "all")]
    assert (means.low < means.value).all()
    assert (means.value < means.high).all()
    assert set(ranking(frame).method) == {"a", "b"}
    sample = bootstrap(
        runs[0].scores, labels, np.arange(400), 400, draws=200, seed=0, metrics=("above_median",)
    )
    variance = np.square(
        influence_table(runs[0].scores, labels, np.arange(400), metrics=("above_median",)).influence[0]
    ).sum(axis=0)
    assert np.nanstd(sample.values[0], axis=0) == pytest.approx(np.sqrt(variance), rel=0.4)


def test_a_specificity_is_part_of_a_name():
    assert metric_of("sensitivity_at_specificity_0.8").title == "sensitivity at specificity 0.8"
    assert metric_of("sensitivity_at_specificity_0.8").influence is None
