"""Metrics of a decision: prediction = score >= threshold, one threshold a class.

Thresholds come from validation data. Picking them on the test set is a named variant, since it is optimistic.
F1, Matthews correlation, sensitivity and specificity are functions of the four counts that do not change when
all counts double, so the influence of a patient is the gradient times the patient's own counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from benchmark.core.errors import MetricUndefined
from benchmark.evaluation.statistics.curves import undefined
from benchmark.evaluation.statistics.leverage import residual_scale

Rule = Literal["f1", "mcc", "roc-corner"]
SENSITIVITY = "sensitivity_at_specificity_"
"""Metric name before the specificity."""


def candidate_counts(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct scores (K,), descending, and the counts (K, 4) tp, fp, fn, tn of `score >= threshold`.

    labels (N,) in {1, 0, -1 ignored}.
    """
    keep = labels >= 0
    y, s = labels[keep], scores[keep]
    order = np.argsort(-s, kind="stable")
    y, s = y[order], s[order]
    last = np.concatenate([np.flatnonzero(np.diff(s)), [len(s) - 1]]) if len(s) else np.empty(0, int)
    tp, seen = np.cumsum(y)[last], last + 1
    n1 = int(y.sum())
    fp = seen - tp
    return s[last], np.stack([tp, fp, n1 - tp, len(y) - n1 - fp], axis=1).astype(float)


def f1(counts: np.ndarray) -> np.ndarray:
    """(..., 4) → F1; NaN where no image is positive nor called so."""
    tp, fp, fn, _ = np.moveaxis(np.asarray(counts, float), -1, 0)
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * tp / (2 * tp + fp + fn))


def mcc(counts: np.ndarray) -> np.ndarray:
    """(..., 4) → Matthews correlation; NaN where a row or column of the table is empty."""
    tp, fp, fn, tn = np.moveaxis(np.asarray(counts, float), -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))


def _corner(counts: np.ndarray) -> np.ndarray:
    tp, fp, fn, tn = counts.T
    return np.asarray(-np.hypot(fn / (tp + fn), fp / (fp + tn)))


def fit_threshold(labels: np.ndarray, scores: np.ndarray, rule: Rule = "f1") -> float:
    """Threshold that maximises `rule` over the distinct scores; the largest among ties.

    `roc-corner` is the point nearest to sensitivity = specificity = 1 (the rule of laihaoran/BrgSA
    bootstrap_evaluation, there on the test set and with `score > threshold`).
    Raises MetricUndefined where a class is absent.
    """
    if reason := undefined(int((labels == 1).sum()), int((labels == 0).sum())):
        raise MetricUndefined(reason)
    thresholds, counts = candidate_counts(labels, scores)
    quality = {"f1": f1, "mcc": mcc, "roc-corner": _corner}[rule](counts)
    return float(thresholds[int(np.nanargmax(quality))])


def fit_specificity(labels: np.ndarray, scores: np.ndarray, specificity: float) -> float:
    """The lowest threshold with at least that specificity, and so the largest sensitivity; infinite where
    only calling no image positive is specific enough. Raises MetricUndefined where a class is absent."""
    if reason := undefined(int((labels == 1).sum()), int((labels == 0).sum())):
        raise MetricUndefined(reason)
    thresholds, counts = candidate_counts(labels, scores)
    enough = counts[:, 3] >= specificity * (counts[:, 1] + counts[:, 3]) - 1e-9
    return float(thresholds[np.flatnonzero(enough)[-1]]) if enough.any() else np.inf


@dataclass(frozen=True)
class Thresholds:
    """Thresholds from validation data. of: metric → class → threshold; classes that lack a side are not in
    it. missing: why there is no validation data, where there is none."""

    of: Mapping[str, Mapping[str, float]]
    missing: str = ""


def fit_thresholds(
    scores: np.ndarray, labels: np.ndarray, classes: Sequence[str], specificity: float
) -> Thresholds:
    """Of validation scores (N, C) and labels (N, C): the best F1, the best Matthews correlation, and the
    largest sensitivity at that specificity (metric `sensitivity_at_specificity_<value>`)."""
    found: dict[str, dict[str, float]] = {"f1": {}, "mcc": {}, f"{SENSITIVITY}{specificity:g}": {}}
    for j, name in enumerate(classes):
        y, s = labels[:, j], scores[:, j]
        if not undefined(int((y == 1).sum()), int((y == 0).sum())):
            found["f1"][name] = fit_threshold(y, s, "f1")
            found["mcc"][name] = fit_threshold(y, s, "mcc")
            found[f"{SENSITIVITY}{specificity:g}"][name] = fit_specificity(y, s, specificity)
    return Thresholds(found)


def cluster_counts(
    labels: np.ndarray, scores: np.ndarray, threshold: float, codes: np.ndarray, clusters: int
) -> np.ndarray:
    """(P, 4) tp, fp, fn, tn of each patient, for labels and scores (N,)."""
    called = scores >= threshold
    cells = [labels == 1, labels == 0]
    picks = [cells[0] & called, cells[1] & called, cells[0] & ~called, cells[1] & ~called]
    return np.stack([np.bincount(codes[p], minlength=clusters) for p in picks], axis=1).astype(float)


def _f1_gradient(total: np.ndarray) -> np.ndarray:
    tp, fp, fn, _ = total
    value = float(f1(total))
    return np.asarray(np.array([2 - 2 * value, -value, -value, 0.0]) / (2 * tp + fp + fn))


def _mcc_gradient(total: np.ndarray) -> np.ndarray:
    tp, fp, fn, tn = total
    a, b, c, d = tp + fp, tp + fn, tn + fp, tn + fn
    spread, half = np.sqrt(a * b * c * d), float(mcc(total)) / 2
    return np.array(
        [
            tn / spread - half * (1 / a + 1 / b),
            -fn / spread - half * (1 / a + 1 / c),
            -fp / spread - half * (1 / b + 1 / d),
            tp / spread - half * (1 / c + 1 / d),
        ]
    )


def _sensitivity(counts: np.ndarray) -> np.ndarray:
    return np.asarray(counts[..., 0] / (counts[..., 0] + counts[..., 2]))


def _sensitivity_gradient(total: np.ndarray) -> np.ndarray:
    tp, _, fn, _ = total
    return np.asarray(np.array([fn, 0.0, -tp, 0.0]) / (tp + fn) ** 2)


@dataclass(frozen=True)
class DecisionMetric:
    """of: (…, 4) counts, or shares of images → value. gradient: (4,) counts → (4,). held: weight of each
    count in the mean that the value is, which `leverage` asks for. least: the lowest value there is."""

    of: Callable[[np.ndarray], np.ndarray]
    gradient: Callable[[np.ndarray], np.ndarray]
    held: tuple[float, float, float, float]
    least: float = 0.0


F1 = DecisionMetric(f1, _f1_gradient, (2.0, 1.0, 1.0, 0.0))
MCC = DecisionMetric(mcc, _mcc_gradient, (1.0, 1.0, 1.0, 1.0), least=-1.0)
RECALL = DecisionMetric(_sensitivity, _sensitivity_gradient, (1.0, 0.0, 1.0, 0.0))


@dataclass(frozen=True)
class Decision:
    """A metric of one class at its threshold. influence: (P,) of every patient. slope: its derivative in the
    sensitivity. positives, found: (P,) positive images of the patient and how many are called; of_positives:
    (P,) the part of the influence that is due to which of them are."""

    value: float
    influence: np.ndarray
    slope: float
    positives: np.ndarray
    found: np.ndarray
    of_positives: np.ndarray


def decision(counts: np.ndarray, metric: DecisionMetric) -> Decision | None:
    """Of counts (P, 4) as `cluster_counts` gives them; None where the metric is undefined."""
    total = counts.sum(axis=0)
    value = float(metric.of(total))
    if np.isnan(value):
        return None
    gradient, scale = metric.gradient(total), residual_scale(counts @ metric.held)
    positives = counts[:, 0] + counts[:, 2]
    slope = float(gradient[0] - gradient[2]) * float(positives.sum())
    lost = counts[:, 0] - positives * (total[0] / positives.sum())
    return Decision(
        value,
        counts @ gradient * scale,
        slope,
        positives,
        counts[:, 0],
        slope * lost / positives.sum() * scale,
    )


def ratio_influence(above: np.ndarray, below: np.ndarray) -> tuple[float, np.ndarray]:
    """Σ above / Σ below over patients (P,), and its influence (P,)."""
    value = float(above.sum() / below.sum())
    return value, (above - value * below) / below.sum() * residual_scale(below)


def top_k_hits(scores: np.ndarray, labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Per image (N,): whether a positive class is among its k highest, and whether it counts at all.

    Images without a positive class do not count; ignored classes cannot be picked; ties go to the first
    class. scores must share a scale across classes. Equals scikit-learn's `top_k_accuracy_score` with
    one label each.
    """
    usable = np.where(labels >= 0, scores, -np.inf)
    order = np.argsort(-usable, axis=1, kind="stable")[:, :k]
    hit = (np.take_along_axis(labels, order, axis=1) == 1).any(axis=1)
    return hit, (labels == 1).any(axis=1)
