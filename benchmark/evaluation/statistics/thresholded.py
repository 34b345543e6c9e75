"""Rows of the metrics that need a threshold, a shared scale or probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.core.errors import MetricUndefined, UnknownName
from benchmark.core.settings import StatisticsConfig
from benchmark.evaluation.statistics.bootstrap import bootstrap, percentile_interval, point
from benchmark.evaluation.statistics.calibration import calibration_draws, expected_calibration_error
from benchmark.evaluation.statistics.curves import undefined
from benchmark.evaluation.statistics.decision_intervals import (
    decision_interval,
    few_positives,
    mean_of_decisions,
    rate_interval,
)
from benchmark.evaluation.statistics.intervals import Interval, join, linear_interval, spread_df
from benchmark.evaluation.statistics.metric_values import MetricValue
from benchmark.evaluation.statistics.thresholds import (
    F1,
    MCC,
    RECALL,
    SENSITIVITY,
    Decision,
    DecisionMetric,
    Thresholds,
    cluster_counts,
    decision,
    top_k_hits,
)

ON_TEST = "threshold chosen on these images"
ON_TEST_SET = "_max_test_set"
ON_VALIDATION = "threshold of the validation split"


class _Rows:
    """Collects rows; counts come from the labels."""

    def __init__(self, labels: np.ndarray, codes: np.ndarray, classes: Sequence[str]) -> None:
        self.classes, self.labels, self.codes = list(classes), labels, codes
        self.rows: list[MetricValue] = []
        clusters = int(codes.max()) + 1 if len(codes) else 0
        self.positives = [
            np.bincount(codes[labels[:, j] == 1], minlength=clusters) for j in range(len(self.classes))
        ]
        self.patients = [len(np.unique(codes[labels[:, j] >= 0])) for j in range(len(self.classes))]

    def add(self, j: int | None, metric: str, interval: Interval, name: str = "macro") -> None:
        part = self.labels if j is None else self.labels[:, j]
        self.rows.append(
            MetricValue(
                cls=name if j is None else self.classes[j],
                stratum="all",
                metric=metric,
                value=interval.value,
                low=interval.low,
                high=interval.high,
                n_pos=int((part == 1).sum()),
                n_neg=int((part == 0).sum()),
                n_ignored=int((part < 0).sum()),
                n_patients=max(self.patients, default=0) if j is None else self.patients[j],
                note=interval.note,
            )
        )

    def reason(self, j: int) -> str:
        return undefined(int((self.labels[:, j] == 1).sum()), int((self.labels[:, j] == 0).sum()))

    def sampled(self, metric: str, values: np.ndarray, sample: np.ndarray, level: float, note: str) -> None:
        """Class rows and their macro mean from values (C,) and draws (B, C); marked where positives are few,
        but for the calibration error, which is about all images."""
        known, held = ~np.isnan(values), [] if metric == "ece" else self.positives
        for j, value in enumerate(values):
            if known[j]:
                self.add(j, metric, _drawn(float(value), sample[:, j], level, note, held[j : j + 1]))
            else:
                why = self.reason(j) or "undefined: no threshold separates anything"
                self.add(j, metric, Interval(np.nan, np.nan, np.nan, why))
        if not known.any():
            self.add(None, metric, Interval(np.nan, np.nan, np.nan, "undefined: in every class"))
            return
        part = sample[:, known]
        count = (~np.isnan(part)).sum(axis=1)
        mean = np.where(count > 0, np.nansum(part, axis=1) / np.maximum(count, 1), np.nan)
        some = "" if known.all() else f"mean of {known.sum()} of {len(known)} classes"
        held = [own for own, there in zip(held, known, strict=False) if there]
        self.add(None, metric, _drawn(float(values[known].mean()), mean, level, join(note, some), held))


def _drawn(
    value: float, sample: np.ndarray, level: float, note: str, positives: Sequence[np.ndarray]
) -> Interval:
    """Percentile interval of draws (B,); none where all draws agree, as it would have no width."""
    low, high = percentile_interval(sample, level)
    if low == high:
        return Interval(value, np.nan, np.nan, join(note, "interval undefined: the draws do not differ"))
    return Interval(value, low, high, join(note, few_positives(positives) if positives else ""))


def thresholded_rows(
    scores: np.ndarray,
    labels: np.ndarray,
    codes: np.ndarray,
    clusters: int,
    classes: Sequence[str],
    thresholds: Thresholds,
    config: StatisticsConfig,
    seed: int,
) -> list[MetricValue]:
    """F1, MCC and sensitivity with validation thresholds, and with the best of these very images, named
    `<metric>_max_test_set`; top-k and calibration error.

    Arguments as in `evaluate`. Raises UnknownName on a threshold for an unknown class.
    """
    for name in (name for found in thresholds.of.values() for name in found):
        if name not in classes:
            raise UnknownName("class", name, classes, "A threshold names it.")
    rows = _Rows(labels, codes, classes)
    names = (f"f1{ON_TEST_SET}", f"mcc{ON_TEST_SET}", f"{SENSITIVITY}{config.specificity:g}")
    values = point(scores, labels, names)
    draws = bootstrap(scores, labels, codes, clusters, draws=config.draws, seed=seed, metrics=names)
    for i, metric in enumerate(names):
        name = metric.removesuffix(ON_TEST_SET) + ON_TEST_SET
        rows.sampled(name, values[i], draws.values[i], config.level, ON_TEST)
    _validated(rows, scores, labels, codes, clusters, thresholds, config)
    _top_k(rows, scores, labels, codes, clusters, config)
    _calibration(rows, scores, labels, codes, clusters, config, seed)
    return rows.rows


def _validated(
    rows: _Rows,
    scores: np.ndarray,
    labels: np.ndarray,
    codes: np.ndarray,
    clusters: int,
    thresholds: Thresholds,
    config: StatisticsConfig,
) -> None:
    sensitivity = f"{SENSITIVITY}{config.specificity:g}"
    for name, metric in (("f1", F1), ("mcc", MCC), (sensitivity, RECALL)):
        known = thresholds.of.get(name, {})
        decisions: list[Decision] = []
        for j, cls in enumerate(rows.classes):
            reason = rows.reason(j)
            if not reason and cls not in known:
                reason = f"undefined: {thresholds.missing or 'the validation split lacks a side of it'}"
            if reason:
                rows.add(j, name, Interval(np.nan, np.nan, np.nan, reason))
                continue
            counts = cluster_counts(labels[:, j], scores[:, j], known[cls], codes, clusters)
            one = decision(counts, metric)
            if one is None:
                rows.add(j, name, Interval(np.nan, np.nan, np.nan, "undefined: every image is called alike"))
                continue
            decisions.append(one)
            note = ON_VALIDATION
            if metric is RECALL:
                _, fp, _, tn = counts.sum(axis=0)
                note = join(note, f"specificity here {tn / (fp + tn):.3f}")
                low, high = rate_interval(one.found, one.positives, config.level)
            else:
                low, high = decision_interval(counts, metric.of, config.level)
            note = join(note, few_positives([one.positives]))
            rows.add(j, name, Interval(one.value, max(low, metric.least), min(high, 1.0), note))
        rows.add(None, name, _mean(decisions, metric, len(rows.classes), thresholds, config.level))


def _mean(
    decisions: Sequence[Decision], metric: DecisionMetric, classes: int, thresholds: Thresholds, level: float
) -> Interval:
    """Of the classes that have a value, within [least, 1]."""
    if not decisions:
        return Interval(np.nan, np.nan, np.nan, f"undefined: {thresholds.missing or 'in every class'}")
    value = float(np.mean([d.value for d in decisions]))
    some = "" if len(decisions) == classes else f"mean of {len(decisions)} of {classes} classes"
    note = join(ON_VALIDATION, some)
    influence, lacking = mean_of_decisions(decisions)
    variance = float(influence @ influence) + lacking
    if variance == 0:
        return Interval(value, np.nan, np.nan, join(note, "interval undefined: no patient moves the value"))
    low, high = linear_interval(value, variance, spread_df(influence), level)
    note = join(note, few_positives([d.positives for d in decisions]))
    return Interval(value, max(low, metric.least), min(high, 1.0), note)


def _top_k(
    rows: _Rows,
    scores: np.ndarray,
    labels: np.ndarray,
    codes: np.ndarray,
    clusters: int,
    config: StatisticsConfig,
) -> None:
    for k in config.top_k:
        if k >= len(rows.classes):
            continue
        hit, counts = top_k_hits(scores, labels, k)
        if not counts.any():
            rows.add(
                None, f"top_{k}", Interval(np.nan, np.nan, np.nan, "undefined: no positive image"), "micro"
            )
            continue
        above = np.bincount(codes, hit & counts, clusters)
        counted = np.bincount(codes, counts, clusters).astype(float)
        limits = rate_interval(above, counted, config.level)
        note = "images with a positive class; scores of all classes compared as they are"
        interval = Interval(float(above.sum() / counted.sum()), *limits, join(note, few_positives([counted])))
        rows.add(None, f"top_{k}", interval, "micro")


def _calibration(
    rows: _Rows,
    scores: np.ndarray,
    labels: np.ndarray,
    codes: np.ndarray,
    clusters: int,
    config: StatisticsConfig,
    seed: int,
) -> None:
    if scores.min() < 0 or scores.max() > 1:
        why = "undefined: scores are not probabilities"
        rows.add(None, "ece", Interval(np.nan, np.nan, np.nan, why))
        return
    values = np.full(len(rows.classes), np.nan)
    for j in range(len(values)):
        try:
            values[j] = expected_calibration_error(labels[:, j], scores[:, j], config.bins)
        except MetricUndefined:
            continue
    sample = calibration_draws(
        scores, labels, codes, clusters, bins=config.bins, draws=config.draws, seed=seed
    )
    rows.sampled("ece", values, sample, config.level, f"{config.bins} equal bins; biased upwards")
