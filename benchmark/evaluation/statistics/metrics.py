"""The metrics of a ranking, each one object: value, influences, and its value under resampled weights.

A metric that is added to METRICS here is in every table of `evaluate`, in comparisons where `compared`, and
in what `bench score` prints; nothing else names it.

    AUROC  θ = mean_i V10_i          V10_i = (#{s⁻ < s_i} + ½ #{s⁻ = s_i}) / n₀    (i: a positive)
    AP       = Σ_u (k_u / n₁) · P(s ≥ u)        u: distinct scores of positives, k_u: positives at u
    trapezoid= Σ_u (k_u / n₁) · ½ (P(s ≥ u) + P(s > u))        P: precision; 1 above the highest score

The influence of an image is the derivative of the metric with respect to the image's weight; for AUROC these
are DeLong's structural components, (V10_i - θ)/n₁ and (V01_j - θ)/n₀. Summed within a patient, their sum of
squares is the clustered variance, each patient's times the factor of `leverage.residual_scale`.

Sources: DeLong, DeLong & Clarke-Pearson 1988 (components); Obuchowski 1997 (clusters); scikit-learn
`average_precision_score` (step-wise sum) and `precision_recall_curve` + `auc` (trapezoid, as in
laihaoran/CARZero utils.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmark.evaluation.statistics.curves import Curve, WeightedCurve
from benchmark.evaluation.statistics.thresholds import SENSITIVITY

if TYPE_CHECKING:
    from torch import Tensor

Influenced = tuple[float, np.ndarray, np.ndarray]
"""Value, and the influence of each positive (n₁,) and of each negative (n₀,)."""


@dataclass(frozen=True)
class Metric:
    """title: as printed. resampled: (b,) values under b draws, where both sides have weight.

    influence: of the sample; None for a metric that has bootstrap intervals only. moderated: whether rare
    classes have a model of its variance (`rare`). compared: whether methods are tested against each other by
    it. A class without positives or without negatives leaves every metric undefined (`curves.undefined`).
    """

    title: str
    resampled: Callable[[WeightedCurve], Tensor]
    influence: Callable[[Curve], Influenced] | None = None
    moderated: bool = False
    compared: bool = False


def _auroc(c: Curve) -> Influenced:
    placement = (2 * c.n0 - c.fp_ge - c.fp_gt) / (2.0 * c.n0)
    value = float(c.k @ placement) / c.n1
    below = (c.upto[c.left] + c.upto[c.right]) / (2.0 * c.n1)
    return value, (placement[c.place] - value) / c.n1, (1 - below - value) / c.n0


def _average_precision(c: Curve) -> Influenced:
    value = float(c.k @ c.precision) / c.n1
    gain, loss = c.slopes(c.tp_ge, c.fp_ge)
    return value, (c.precision[c.place] - value) / c.n1 + gain[c.place + 1], -loss[c.right]


def _auprc_trapezoid(c: Curve) -> Influenced:
    height = (c.precision + c.precision_above) / 2
    value = float(c.k @ height) / c.n1
    gain_at, loss_at = c.slopes(c.tp_ge, c.fp_ge)
    gain_gt, loss_gt = c.slopes(c.tp_gt, c.fp_gt)
    gain = (gain_at[c.place + 1] + gain_gt[c.place]) / 2
    return value, (height[c.place] - value) / c.n1 + gain, -(loss_at[c.right] + loss_gt[c.left]) / 2


def _f1_max(w: WeightedCurve) -> Tensor:
    """Best F1 over thresholds (score >= t): for a given recall the best t is a positive's score."""
    return (2 * w.tp_ge / (w.tp_ge + w.w0 - w.below + w.w1)).max(0).values


def _mcc_max(w: WeightedCurve) -> Tensor:
    """Best Matthews correlation over the same thresholds."""
    tp, fp, tn = w.tp_ge, w.w0 - w.below, w.below
    fn = w.w1 - tp
    spread = ((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)).sqrt()
    best = ((tp * tn - fp * fn) / spread).nan_to_num(-2.0).max(0).values
    return best.masked_fill(best < -1, float("nan"))


def _sensitivity(specificity: float) -> Callable[[WeightedCurve], Tensor]:
    """Largest sensitivity of a threshold with at least that specificity."""

    def resampled(w: WeightedCurve) -> Tensor:
        allowed = w.below >= specificity * w.w0 * (1 - 1e-12)
        return w.tp_ge.masked_fill(~allowed, 0.0).max(0).values / w.w1

    return resampled


METRICS: dict[str, Metric] = {
    "auroc": Metric(
        "AUROC", lambda w: (w.at * (w.below + w.upto)).sum(0) / (2 * w.w0 * w.w1), _auroc, True, True
    ),
    "average_precision": Metric(
        "AP", lambda w: (w.at * w.precision).nan_to_num(0.0).sum(0) / w.w1, _average_precision, compared=True
    ),
    "auprc_trapezoid": Metric(
        "AUPRC (trapezoid)",
        lambda w: (w.at * (w.precision + w.precision_above) / 2).nan_to_num(0.0).sum(0) / w.w1,
        _auprc_trapezoid,
    ),
    "f1_max_test_set": Metric("best F1 on the test set", _f1_max),
    "mcc_max_test_set": Metric("best Matthews correlation on the test set", _mcc_max),
}
RANK_METRICS = tuple(name for name, metric in METRICS.items() if metric.influence is not None)
"""Metrics with an influence: they need no threshold and no scale."""
COMPARED = tuple(name for name, metric in METRICS.items() if metric.compared)


def metric_of(name: str) -> Metric:
    """The object of a name, also of `sensitivity_at_specificity_0.9` for any specificity."""
    if name.startswith(SENSITIVITY):
        level = name.removeprefix(SENSITIVITY)
        return Metric(f"sensitivity at specificity {level}", _sensitivity(float(level)))
    return METRICS[name]


def influenced(name: str, curve: Curve) -> Influenced:
    """Value and influences of a metric of RANK_METRICS. Raises ValueError for another one."""
    influence = metric_of(name).influence
    if influence is None:
        raise ValueError(f"{name} has no influence")
    return influence(curve)
