"""Rows of the metrics that need a threshold, a shared scale or probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.core.errors import MetricUndefined, UnknownName
from benchmark.core.settings import StatisticsConfig
from benchmark.evaluation.statistics.bootstrap import bootstrap, percentile_interval, point
from benchmark.evaluation.statistics.calibration import calibration_draws, expected_calibration_error
from benchmark.evaluation.statistics.curves import undefined
from benchmark.evaluation.statistics.intervals import (
    Interval,
    join,
    linear_interval,
    logit_interval,
    spread_df,
)
from benchmark.evaluation.statistics.metric_values import MetricValue
from benchmark.evaluation.statistics.thresholds import (
    SENSITIVITY,
    Thresholds,
    cluster_counts,
    f1_influence,
    mcc_influence,
    ratio_influence,
    sensitivity_influence,
    top_k_hits,
)
from benchmark.evaluation.statistics.trials import Trials, mean_influence

ON_TEST = "threshold chosen on these images"
ON_TEST_SET = "_max_test_set"
ON_VALIDATION = "threshold of the validation split"


class _Rows:
    """Collects rows; counts come from the labels."""

    def __init__(self, labels: np.ndarray, codes: np.ndarray, classes: Sequence[str]) -> None:
        self.classes, self.labels, self.codes = list(classes), labels, codes
        self.rows: list[MetricValue] = []
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
        """Class rows and their macro mean from values (C,) and draws (B, C)."""
        for j, value in enumerate(values):
            if np.isnan(value):
                why = self.reason(j) or "undefined: no threshold separates anything"
                self.add(j, metric, Interval(np.nan, np.nan, np.nan, why))
            else:
                self.add(j, metric, Interval(float(value), *percentile_interval(sample[:, j], level), note))
        known = ~np.isnan(values)
        if not known.any():
            self.add(None, metric, Interval(np.nan, np.nan, np.nan, "undefined: in every class"))
            return
        part = sample[:, known]
        count = (~np.isnan(part)).sum(axis=1)
        mean = np.where(count > 0, np.nansum(part, axis=1) / np.maximum(count, 1), np.nan)
        some = "" if known.all() else f"mean of {known.sum()} of {len(known)} classes"
        interval = Interval(float(values[known].mean()), *percentile_interval(mean, level), join(note, some))
        self.add(None, metric, interval)


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
    for metric, function, least in (
        ("f1", f1_influence, 0.0),
        ("mcc", mcc_influence, -1.0),
        (sensitivity, sensitivity_influence, 0.0),
    ):
        values, influences, found = [], [], []
        known = thresholds.of.get(metric, {})
        for j, name in enumerate(rows.classes):
            reason = rows.reason(j)
            if not reason and name not in known:
                reason = f"undefined: {thresholds.missing or 'the validation split lacks a side of it'}"
            if reason:
                rows.add(j, metric, Interval(np.nan, np.nan, np.nan, reason))
                continue
            counts = cluster_counts(labels[:, j], scores[:, j], known[name], codes, clusters)
            with np.errstate(divide="ignore", invalid="ignore"):
                value, influence = function(counts)
            if np.isnan(value):
                rows.add(j, metric, Interval(value, np.nan, np.nan, "undefined: every image is called alike"))
                continue
            values.append(value)
            influences.append(influence)
            note = ON_VALIDATION
            if metric == sensitivity:
                positive = labels[:, j] == 1
                hit = scores[positive, j] >= known[name]
                found.append(Trials(name, hit.astype(float), codes[positive]))
                _, fp, _, tn = counts.sum(axis=0)
                note = join(note, f"specificity here {tn / (fp + tn):.3f}")
            rows.add(j, metric, _delta(value, influence, config.level, least, note))
        if values:
            mean = mean_influence(found, clusters) if found else np.mean(influences, axis=0)
            total = len(rows.classes)
            some = "" if len(values) == total else f"mean of {len(values)} of {total} classes"
            note = join(ON_VALIDATION, some)
            rows.add(None, metric, _delta(float(np.mean(values)), mean, config.level, least, note))
        else:
            why = f"undefined: {thresholds.missing or 'in every class'}"
            rows.add(None, metric, Interval(np.nan, np.nan, np.nan, why))


def _delta(value: float, influence: np.ndarray, level: float, least: float, note: str) -> Interval:
    """Linear interval within [least, 1]; none where no patient moves the value, as it would have no width."""
    variance = float(influence @ influence)
    if variance == 0:
        return Interval(value, np.nan, np.nan, join(note, "interval undefined: no patient moves the value"))
    low, high = linear_interval(value, variance, spread_df(influence), level)
    return Interval(value, max(low, least), min(high, 1.0), note)


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
        value, influence = ratio_influence(above, np.bincount(codes, counts, clusters))
        limits = logit_interval(value, float(influence @ influence), spread_df(influence), config.level)
        note = "images with a positive class; scores of all classes compared as they are"
        rows.add(None, f"top_{k}", Interval(value, *limits, note), "micro")


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
