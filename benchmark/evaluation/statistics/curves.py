"""AUROC, average precision and the trapezoidal area under precision-recall, with their influence functions.

    AUROC  θ = mean_i V10_i          V10_i = (#{s⁻ < s_i} + ½ #{s⁻ = s_i}) / n₀    (i: a positive)
    AP       = Σ_u (k_u / n₁) · P(s ≥ u)        u: distinct scores of positives, k_u: positives at u
    trapezoid= Σ_u (k_u / n₁) · ½ (P(s ≥ u) + P(s > u))        P: precision; 1 above the highest score

The influence of an image is the derivative of the metric with respect to the image's weight; for AUROC these
are DeLong's structural components, (V10_i - θ)/n₁ and (V01_j - θ)/n₀. Summed within a patient, their sum of
squares is the clustered variance.

Sources: DeLong, DeLong & Clarke-Pearson 1988 (components); Obuchowski 1997 (clusters, factor I/(I-1));
scikit-learn `average_precision_score` (step-wise sum) and `precision_recall_curve` + `auc` (trapezoid, as in
laihaoran/CARZero utils.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.core.errors import MetricUndefined
from benchmark.evaluation.statistics.config import RANK_METRICS


@dataclass(frozen=True)
class Curves:
    """One class. values: (3,) in the order of RANK_METRICS.

    positive, negative: (3, n₁) and (3, n₀) influence of each positive and each negative image.
    """

    values: np.ndarray
    positive: np.ndarray
    negative: np.ndarray


def undefined(n_pos: int, n_neg: int) -> str:
    """Why the ranking metrics have no value with these counts; empty where they have one."""
    if n_pos == 0 and n_neg == 0:
        return "undefined: no labelled image"
    if n_pos == 0:
        return "undefined: no positive image"
    return "undefined: no negative image" if n_neg == 0 else ""


def curves(positives: np.ndarray, negatives: np.ndarray) -> Curves:
    """Values and influences from the scores of positives (n₁,) and of negatives (n₀,).

    Raises MetricUndefined where either is empty.
    """
    n1, n0 = len(positives), len(negatives)
    if reason := undefined(n1, n0):
        raise MetricUndefined(reason)
    low = np.sort(negatives)
    u, k = np.unique(positives, return_counts=True)
    upto = np.concatenate([[0], np.cumsum(k)])

    fp_ge = n0 - np.searchsorted(low, u, "left")
    fp_gt = n0 - np.searchsorted(low, u, "right")
    tp_ge, tp_gt = n1 - upto[:-1], n1 - upto[1:]
    placement = (2 * n0 - fp_ge - fp_gt) / (2.0 * n0)
    auroc = float(k @ placement) / n1

    share = k / n1
    at = tp_ge / (tp_ge + fp_ge)
    above = np.divide(tp_gt, tp_gt + fp_gt, out=np.ones(len(u)), where=tp_gt + fp_gt > 0)
    ap = float(share @ at)
    trapezoid = float(share @ (at + above)) / 2

    place = np.searchsorted(u, positives)
    left = np.searchsorted(u, negatives, "left").astype(np.int32)
    right = np.searchsorted(u, negatives, "right").astype(np.int32)
    gain_at, loss_at = _slopes(share, tp_ge, fp_ge)
    gain_gt, loss_gt = _slopes(share, tp_gt, fp_gt)

    positive = np.empty((3, n1))
    negative = np.empty((3, n0))
    positive[0] = (placement[place] - auroc) / n1
    negative[0] = (1 - (upto[left] + upto[right]) / (2.0 * n1) - auroc) / n0
    positive[1] = (at[place] - ap) / n1 + gain_at[place + 1]
    negative[1] = -loss_at[right]
    positive[2] = ((at + above)[place] / 2 - trapezoid) / n1 + (gain_at[place + 1] + gain_gt[place]) / 2
    negative[2] = -(loss_at[right] + loss_gt[left]) / 2
    return Curves(np.array([auroc, ap, trapezoid]), positive, negative)


def _slopes(share: np.ndarray, tp: np.ndarray, fp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cumulated derivatives of Σ share · tp/(tp+fp) by one more positive and (negated) one more negative."""
    square = np.maximum((tp + fp).astype(float), 1) ** 2
    gain = np.concatenate([[0.0], np.cumsum(share * fp / square)])
    loss = np.concatenate([[0.0], np.cumsum(share * tp / square)])
    return gain, loss


def rank_metric(name: str, labels: np.ndarray, scores: np.ndarray) -> float:
    """One metric of RANK_METRICS from labels (N,) in {1, 0, -1 ignored} and scores (N,).

    Raises MetricUndefined where a class is absent.
    """
    return float(curves(scores[labels == 1], scores[labels == 0]).values[RANK_METRICS.index(name)])


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve; ties count one half. Raises MetricUndefined where a class is absent."""
    return rank_metric("auroc", labels, scores)


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Step-wise average precision. Raises MetricUndefined where a class is absent."""
    return rank_metric("average_precision", labels, scores)


def trapezoidal_auprc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Precision-recall area by linear interpolation, CARZero's AUPRC. Raises MetricUndefined likewise."""
    return rank_metric("auprc_trapezoid", labels, scores)
