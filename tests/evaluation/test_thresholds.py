from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score, matthews_corrcoef, recall_score, top_k_accuracy_score

from benchmark.core.errors import MetricUndefined, UnknownName
from benchmark.evaluation.evaluate import StatisticsConfig, evaluate
from benchmark.evaluation.statistics.bootstrap import draw_counts
from benchmark.evaluation.statistics.calibration import calibration_draws, expected_calibration_error
from benchmark.evaluation.statistics.intervals import spread_df
from benchmark.evaluation.statistics.panel import Column, Panel
from benchmark.evaluation.statistics.subgroups import gaps
from benchmark.evaluation.statistics.thresholds import (
    F1,
    MCC,
    RECALL,
    Thresholds,
    cluster_counts,
    decision,
    fit_threshold,
    fit_thresholds,
    top_k_hits,
)
from benchmark.evaluation.statistics.trend import frequency_trend, smoother

SENSITIVITY = "sensitivity_at_specificity_0.9"


def sample(seed, n=300):
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, 3)) < [0.4, 0.2, 0.1]).astype(np.int8)
    scores = 1 / (1 + np.exp(-(2 * labels - 1 + rng.standard_normal((n, 3)))))
    return np.round(scores, 2), labels, np.repeat(np.arange(n // 3), 3)


@pytest.mark.parametrize(("rule", "quality"), [("f1", f1_score), ("mcc", matthews_corrcoef)])
def test_fitted_threshold_is_the_best_of_all(rule, quality):
    scores, labels, _ = sample(0)
    for j in range(3):
        chosen = fit_threshold(labels[:, j], scores[:, j], rule)
        best = max(quality(labels[:, j], scores[:, j] >= t) for t in np.unique(scores[:, j])[1:])
        assert quality(labels[:, j], scores[:, j] >= chosen) == pytest.approx(best)


def test_corner_rule_minimises_the_distance_to_the_perfect_point():
    scores, labels, _ = sample(1)
    y, s = labels[:, 0], scores[:, 0]

    def distance(t):
        called = s >= t
        return np.hypot(1 - called[y == 1].mean(), called[y == 0].mean())

    chosen = fit_threshold(y, s, "roc-corner")
    assert distance(chosen) == pytest.approx(min(distance(t) for t in np.unique(s)))


def test_influences_at_a_threshold_are_derivatives():
    scores, labels, codes = sample(2)
    counts = cluster_counts(labels[:, 1], scores[:, 1], 0.5, codes, 100)
    called = scores[:, 1] >= 0.5
    for metric, quality, held in (
        (F1, f1_score, counts @ [2, 1, 1, 0]),
        (MCC, matthews_corrcoef, counts.sum(axis=1)),
        (RECALL, recall_score, counts @ [1, 0, 1, 0]),
    ):
        share = held / held.sum()
        scale = 1 / np.sqrt(1 - 2 * share + (share**2).sum())
        found = decision(counts, metric)
        value, influence = found.value, found.influence
        assert value == pytest.approx(quality(labels[:, 1], called))
        for patient in range(20):
            weight = np.where(codes == patient, 1 + 1e-6, 1.0)
            slope = (quality(labels[:, 1], called, sample_weight=weight) - value) / 1e-6
            assert influence[patient] == pytest.approx(slope * scale[patient], abs=1e-6)


def test_validation_thresholds_and_the_named_test_set_variant():
    scores, labels, codes = sample(3)
    names = ["a", "b", "c"]
    thresholds = fit_thresholds(scores[:150], labels[:150], names, 0.9)
    frame = evaluate(
        scores[150:], labels[150:], codes[150:].astype(str), names,
        thresholds=thresholds, config=StatisticsConfig(thresholded=True, draws=200, top_k=(1, 2)),
    )  # fmt: skip
    table = frame.set_index(["class", "stratum", "metric"])
    for j, name in enumerate(names):
        y, called = labels[150:, j], {m: scores[150:, j] >= thresholds.of[m][name] for m in thresholds.of}
        expected = f1_score(y, called["f1"])
        correlation = matthews_corrcoef(y, called["mcc"])
        assert table.loc[(name, "all", "mcc"), "value"] == pytest.approx(correlation)
        found = table.loc[(name, "all", SENSITIVITY)]
        assert found["value"] == pytest.approx(called[SENSITIVITY][y == 1].mean())
        assert f"specificity here {1 - called[SENSITIVITY][y == 0].mean():.3f}" in found["note"]
        at = thresholds.of[SENSITIVITY][name]
        assert (scores[:150, j] < at)[labels[:150, j] == 0].mean() >= 0.9
        lower = scores[:150, j][scores[:150, j] < at].max()
        assert (scores[:150, j] < lower)[labels[:150, j] == 0].mean() < 0.9, "a lower one is not specific"
        assert table.loc[(name, "all", "f1"), "value"] == pytest.approx(expected)
        assert table.loc[(name, "all", "f1_max_test_set"), "value"] >= expected
        assert "chosen on these images" in table.loc[(name, "all", "f1_max_test_set"), "note"]
        assert table.loc[(name, "all", "ece"), "low"] < table.loc[(name, "all", "ece"), "high"]
    assert table.loc[("macro", "all", f"{SENSITIVITY}_max_test_set"), "value"] > 0
    assert table.loc[("macro", "all", "f1"), "note"] == "threshold of the validation split"
    assert table.loc[("micro", "all", "top_2"), "value"] > table.loc[("micro", "all", "top_1"), "value"]
    with pytest.raises(UnknownName, match="unknown class 'd'"):
        evaluate(
            scores, labels, None, names, thresholds=Thresholds({"f1": {"d": 0.5}}),
            config=StatisticsConfig(thresholded=True),
        )  # fmt: skip


def test_without_validation_data_thresholded_values_are_undefined_and_say_why():
    scores, labels, codes = sample(3)
    names, config = ["a", "b", "c"], StatisticsConfig(thresholded=True, draws=100)
    frame = evaluate(scores, labels, codes.astype(str), names, config=config)
    for metric in ("f1", "mcc", SENSITIVITY):
        own = frame[frame["metric"] == metric]
        assert list(own["class"]) == [*names, "macro"]
        assert own["value"].isna().all()
        assert set(own["note"]) == {"undefined: no validation data"}
    optimistic = frame[frame["metric"].str.endswith("_max_test_set")]
    assert optimistic["value"].notna().all()
    lone = fit_thresholds(scores[:3], np.zeros((3, 3), dtype=np.int8), names, 0.9)
    assert not any(fit_thresholds(scores[:3], np.ones((3, 3), dtype=np.int8), names, 0.9).of.values())
    frame = evaluate(scores, labels, codes.astype(str), names, thresholds=lone, config=config)
    notes = set(frame.loc[(frame["metric"] == "mcc") & (frame["class"] != "macro"), "note"])
    assert notes == {"undefined: the validation split lacks a side of it"}


def test_top_k_equals_scikit_learn_with_one_label_each():
    rng = np.random.default_rng(4)
    scores = rng.standard_normal((200, 6))
    truth = rng.integers(0, 6, 200)
    labels = np.eye(6, dtype=np.int8)[truth]
    for k in (1, 3):
        hit, counts = top_k_hits(scores, labels, k)
        assert counts.all()
        assert hit.mean() == pytest.approx(top_k_accuracy_score(truth, scores, k=k))
    ignored = np.array([[-1, 1, 0], [-1, 0, 0], [0, -1, 1]])
    hit, counts = top_k_hits(np.array([[9.0, 2, 1], [9, 2, 1], [9, 9, 1]]), ignored, 1)
    assert hit[counts].tolist() == [True, False]
    assert counts.tolist() == [True, False, True]


def test_calibration_error_of_known_gaps():
    """The gaps of the two bins have opposite signs, and the ends of a bin hold one image each."""
    scores = np.array([0.0, 0.1, 0.5, 0.9, 1.0, 0.7])
    labels = np.array([0, 1, 1, 1, 0, -1], dtype=np.int8)
    assert expected_calibration_error(labels, scores, 2) == pytest.approx((0.9 + 0.4) / 5)
    for wrong in (scores * 2, scores - 0.5):
        with pytest.raises(MetricUndefined, match="not probabilities"):
            expected_calibration_error(labels, wrong, 2)
    with pytest.raises(MetricUndefined, match="no labelled image"):
        expected_calibration_error(labels[5:], scores[5:], 2)


def test_a_draw_of_patients_has_the_calibration_error_of_its_images():
    scores, labels, codes = sample(7)
    labels[::10, 0], labels[:, 2] = -1, -1
    found = calibration_draws(scores, labels, codes, 100, bins=10, draws=130, seed=3)
    counts = np.concatenate(list(draw_counts(100, 130, 3)), axis=1).astype(int)
    assert np.isnan(found[:, 2]).all()
    for b in (0, 64, 129):
        rows = np.repeat(np.arange(300), counts[codes, b])
        own = [expected_calibration_error(labels[rows, j], scores[rows, j], 10) for j in range(2)]
        assert found[b, :2] == pytest.approx(own, abs=1e-6)


def test_trend_reproduces_a_line_and_its_band_covers():
    rng = np.random.default_rng(5)
    frequency = np.geomspace(10, 10000, 40)
    line = 0.5 + 0.1 * np.log10(1 + frequency)
    weights = smoother(np.linspace(1, 4, 9), np.log10(1 + frequency), 0.5)
    assert weights @ line == pytest.approx(0.5 + 0.1 * np.linspace(1, 4, 9))
    inside, slopes = [], []
    for _ in range(60):
        influence = 0.02 * rng.standard_normal((500, 40)) / np.sqrt(500)
        values = line + influence.sum(axis=0) + 0.03 * rng.standard_normal(40)
        found = frequency_trend(frequency, values, influence)
        truth = 0.5 + 0.1 * np.log10(1 + found.frequency)
        inside.append((found.low <= truth) & (truth <= found.high))
        slopes.append(found.slope_low <= 0.1 <= found.slope_high)
    assert 0.88 < np.mean(inside) < 0.99
    assert np.mean(slopes) > 0.85
    with pytest.raises(MetricUndefined, match="four classes"):
        frequency_trend(np.ones(3), np.ones(3), np.zeros((5, 3)))


def test_subgroup_gap_names_best_and_worst_and_stays_above_zero():
    rng = np.random.default_rng(6)
    scores, labels, codes = sample(6, n=900)
    sex = rng.choice(["F", "M", ""], 900)
    scores = np.where((sex == "M")[:, None], rng.random((900, 3)), scores)
    frame = evaluate(scores, labels, codes.astype(str), ["a", "b", "c"], subgroups={"sex": sex})
    table = frame[frame.metric.isin(["auroc", "auroc_gap"])].set_index("stratum")
    gap = table.loc["sex"]
    assert gap.value == pytest.approx(table.loc["sex=F"].value - table.loc["sex=M"].value)
    assert 0 < gap.low < gap.value < gap.high
    assert gap.note.startswith("best F, worst M, 2 levels")
    lone = evaluate(scores, labels, None, ["a", "b", "c"], subgroups={"sex": np.full(900, "F")})
    assert lone[lone.metric == "auroc_gap"].note.iloc[0].startswith("image-level; undefined")


def test_limits_of_a_gap_cover_whichever_pair_of_levels_is_picked():
    """Three levels of known values, so three pairs share the error; a patient is in several of them."""
    influence = 0.02 * np.random.default_rng(8).standard_normal((30, 4))
    influence[:, 1] += influence[:, 0]
    counts = ((5, 40, 1, 20), (7, 30, 0, 25), (9, 20, 2, 22), (0, 9, 0, 30))
    columns = tuple(
        Column("macro", f"sex={level}", *count, pos_patients=count[0])
        for level, count in zip("FMOU", counts, strict=True)
    )
    extra = np.array([1e-4, -3e-5, 0.5, 0.5])
    panel = Panel("auroc", columns, np.array([0.9, 0.7, 0.8, np.nan]), influence, extra, np.full(4, 9.0))
    ((column, gap),) = gaps(panel, ["sex", "age"], 0.9)
    moved = influence[:, 0] - influence[:, 1]
    reach = stats.t.ppf(1 - 0.1 / 3 / 2, spread_df(moved)) * np.sqrt(moved @ moved + 7e-5)
    assert (gap.value, gap.low, gap.high) == pytest.approx((0.2, max(0.2 - reach, 0), 0.2 + reach))
    assert (column.n_pos, column.n_neg, column.n_ignored, column.n_patients) == (21, 90, 3, 25)
    assert gap.note.startswith("best F, worst M, 3 levels")
    extra[:] = -9  # a variance that a model lowers is never below that of the influences
    ((_, gap),) = gaps(panel, ["sex"], 0.9)
    assert gap.high - gap.value == pytest.approx(reach * np.sqrt((moved @ moved) / (moved @ moved + 7e-5)))
