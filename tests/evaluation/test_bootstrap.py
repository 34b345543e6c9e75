from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, matthews_corrcoef, precision_recall_curve, roc_auc_score

from benchmark.core.numerics import on_threads
from benchmark.evaluation.evaluate import StatisticsConfig, evaluate
from benchmark.evaluation.statistics.bootstrap import (
    bca_interval,
    bootstrap,
    draw_counts,
    percentile_interval,
    point,
)
from benchmark.evaluation.statistics.influence import influence_table
from benchmark.evaluation.statistics.metrics import RANK_METRICS


def sample(seed, n=300, c=3, per_patient=3, digits=None):
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, c)) < [0.3, 0.1, 0.05]).astype(np.int8)
    scores = rng.standard_normal((n, c)) + labels
    labels[rng.random((n, c)) < 0.05] = -1
    if digits is not None:
        scores = np.round(scores, digits)
    return scores, labels, np.repeat(np.arange(n // per_patient), per_patient)


def trapezoid(y, s, w):
    precision, recall, _ = precision_recall_curve(y, s, sample_weight=w)
    return float(np.sum((recall[:-1] - recall[1:]) * (precision[:-1] + precision[1:]) / 2))


@pytest.mark.parametrize("digits", [None, 1, 0])
def test_every_draw_equals_scikit_learn_with_its_counts(digits):
    scores, labels, codes = sample(0, digits=digits)
    clusters = int(codes.max()) + 1
    draws = bootstrap(scores, labels, codes, clusters, draws=130, seed=7)
    counts = np.concatenate(list(draw_counts(clusters, 130, 7)), axis=1)
    for b in (0, 64, 129):
        for j in range(scores.shape[1]):
            weight = counts[codes, b]
            keep = (labels[:, j] >= 0) & (weight > 0)
            y, s, w = labels[keep, j], scores[keep, j], weight[keep]
            expected = [
                roc_auc_score(y, s, sample_weight=w),
                average_precision_score(y, s, sample_weight=w),
                trapezoid(y, s, w),
            ]
            assert draws.values[:, b, j] == pytest.approx(expected, abs=1e-12)


def test_point_values_of_thresholded_metrics_equal_a_plain_search():
    scores, labels, _ = sample(1, digits=1)
    names = ("f1_max_test_set", "mcc_max_test_set", "sensitivity_at_specificity_0.8")
    found = point(scores, labels, names)
    for j in range(scores.shape[1]):
        keep = labels[:, j] >= 0
        y, s = labels[keep, j], scores[keep, j]
        f1, mcc, sensitivity = 0.0, -1.0, 0.0
        for t in np.unique(s):
            called = s >= t
            f1 = max(f1, 2 * (called & (y == 1)).sum() / (called.sum() + y.sum()))
            mcc = max(mcc, matthews_corrcoef(y, called)) if 0 < called.sum() < len(y) else mcc
            if (~called[y == 0]).mean() >= 0.8:
                sensitivity = max(sensitivity, called[y == 1].mean())
        assert found[:, j] == pytest.approx([f1, mcc, sensitivity])


def test_a_specificity_that_is_met_exactly_is_met_and_one_call_for_all_has_no_correlation():
    """0.55 · 100 is 55.00000000000001 in floating point: 55 negatives below the positive are enough."""
    labels = np.zeros((102, 1), dtype=np.int8)
    labels[100:] = 1
    scores = np.append(np.arange(100.0), [54.5, 200])[:, None]
    for specificity, sensitivity in ((0.55, 1), (0.56, 0.5)):
        assert point(scores, labels, (f"sensitivity_at_specificity_{specificity}",)).item() == sensitivity
    assert np.isnan(point(np.zeros((102, 1)), labels, ("mcc_max_test_set",)).item())


def test_draws_without_positives_are_counted_not_filled():
    rng = np.random.default_rng(2)
    labels = np.zeros((60, 2), dtype=np.int8)
    labels[0, 0] = 1
    labels[:30, 1] = 1
    scores = rng.standard_normal((60, 2))
    draws = bootstrap(scores, labels, np.arange(60), 60, draws=1000, seed=0)
    assert draws.undefined[0] == pytest.approx(1000 * (59 / 60) ** 60, abs=60)
    assert draws.undefined[1] == 0
    config = StatisticsConfig(interval="percentile", draws=1000)
    frame = evaluate(scores, labels, np.arange(60).astype(str), ["a", "b"], config=config)
    note = frame[(frame["class"] == "a") & (frame.metric == "auroc")].note.iloc[0]
    assert f"{draws.undefined[0]} of 1000 draws without positives or negatives" in note


def test_same_seed_same_draws_on_any_number_of_threads_and_another_seed_others():
    scores, labels, codes = sample(3)

    def drawn(seed, threads):
        with on_threads(threads):
            return bootstrap(scores, labels, codes, 100, draws=400, seed=seed).values

    first, again, other = drawn(5, 1), drawn(5, 3), drawn(6, 1)
    assert np.array_equal(first, again, equal_nan=True)
    assert not np.array_equal(first, other, equal_nan=True)


def test_analytic_and_bootstrap_spread_agree_within_monte_carlo_error():
    rng = np.random.default_rng(4)
    n, draws = 3000, 3000
    codes = np.repeat(np.arange(n // 3), 3)
    labels = (rng.random((n, 4)) < 0.15).astype(np.int8)
    shared = np.repeat(rng.standard_normal((n // 3, 4)), 3, axis=0)
    scores = labels + shared + rng.standard_normal((n, 4))
    table = influence_table(scores, labels, codes)
    resampled = bootstrap(scores, labels, codes, n // 3, draws=draws, seed=0)
    error = 1 / np.sqrt(2 * draws)
    for m, metric in enumerate(RANK_METRICS):
        analytic = np.sqrt(np.square(table.influence[m]).sum(axis=0))
        spread = resampled.values[m].std(axis=0)
        assert spread / analytic == pytest.approx(np.ones(4), abs=4 * error + 0.01), metric
        macro = np.sqrt(np.square(table.influence[m].mean(axis=1)).sum())
        assert resampled.values[m].mean(axis=1).std() / macro == pytest.approx(1, abs=4 * error + 0.01)


def test_bca_moves_towards_the_skewed_tail_and_matches_scipy_without_ties():
    from scipy.stats import bootstrap as reference

    rng = np.random.default_rng(5)
    x = rng.exponential(size=60)
    influence = (x - x.mean()) / len(x)
    draws = np.array([rng.choice(x, len(x)).mean() for _ in range(20000)])
    low, high = bca_interval(draws, x.mean(), influence, 0.95)
    result = reference((x,), np.mean, n_resamples=20000, method="BCa", rng=np.random.default_rng(6))
    assert (low, high) == pytest.approx(tuple(result.confidence_interval), abs=0.02)
    plain = percentile_interval(draws, 0.95)
    assert low > plain[0]
    assert high > plain[1]


@pytest.mark.parametrize("interval", ["percentile", "bca"])
def test_evaluate_reports_bootstrap_intervals_close_to_the_analytic_ones(interval):
    scores, labels, codes = sample(6, n=1500)
    patients = codes.astype(str)
    analytic = evaluate(scores, labels, patients, list("abc"))
    resampled = evaluate(
        scores, labels, patients, list("abc"), config=StatisticsConfig(interval=interval, draws=1000)
    )
    keep = (analytic.metric == "auroc") & analytic.value.notna()
    assert np.allclose(analytic[keep].value, resampled[keep].value)
    assert np.allclose(analytic[keep].low, resampled[keep].low, atol=0.02)
    assert np.allclose(analytic[keep].high, resampled[keep].high, atol=0.02)
