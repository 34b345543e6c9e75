"""What every ranking metric needs of one class, once: of the sample, and of draws of patients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.errors import MetricUndefined

if TYPE_CHECKING:
    from torch import Tensor


def undefined(n_pos: int, n_neg: int) -> str:
    """Why the ranking metrics have no value with these counts; empty where they have one."""
    if n_pos == 0 and n_neg == 0:
        return "undefined: no labelled image"
    if n_pos == 0:
        return "undefined: no positive image"
    return "undefined: no negative image" if n_neg == 0 else ""


class Curve:
    """One class of a sample, from the scores of its positives (n₁,) and negatives (n₀,).

    u: (m,) distinct scores of positives, ascending; k: positives at u; place: (n₁,) index of each positive's
    score in u. Counts at each u: tp_ge, fp_ge images with a score >= u; tp_gt, fp_gt with a score > u. left,
    right: (n₀,) how many u lie below each negative, and below it or at it. upto: (m + 1,) cumulated k.
    Raises MetricUndefined where either side is empty.
    """

    def __init__(self, positives: np.ndarray, negatives: np.ndarray) -> None:
        self.n1, self.n0 = len(positives), len(negatives)
        if reason := undefined(self.n1, self.n0):
            raise MetricUndefined(reason)
        low = np.sort(negatives)
        self.u, self.place, self.k = np.unique(positives, return_inverse=True, return_counts=True)
        self.upto = np.concatenate([[0], np.cumsum(self.k)])
        self.fp_ge = self.n0 - np.searchsorted(low, self.u, "left")
        self.fp_gt = self.n0 - np.searchsorted(low, self.u, "right")
        self._negatives = negatives

    @cached_property
    def tp_ge(self) -> np.ndarray:
        return np.asarray(self.n1 - self.upto[:-1])

    @cached_property
    def tp_gt(self) -> np.ndarray:
        return np.asarray(self.n1 - self.upto[1:])

    @cached_property
    def left(self) -> np.ndarray:
        return np.searchsorted(self.u, self._negatives, "left")

    @cached_property
    def right(self) -> np.ndarray:
        return np.searchsorted(self.u, self._negatives, "right")

    @cached_property
    def precision(self) -> np.ndarray:
        """(m,) precision of `score >= u`."""
        return np.asarray(self.tp_ge / (self.tp_ge + self.fp_ge))

    @cached_property
    def precision_above(self) -> np.ndarray:
        """(m,) precision of `score > u`; 1 above the highest score."""
        total = self.tp_gt + self.fp_gt
        return np.asarray(np.divide(self.tp_gt, total, out=np.ones(len(self.u)), where=total > 0))

    def slopes(self, tp: np.ndarray, fp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(m + 1,) cumulated derivatives of Σ k/n₁ · tp/(tp+fp) by one more positive and (negated) one more
        negative."""
        share = self.k / self.n1
        square = np.maximum((tp + fp).astype(float), 1) ** 2
        gain = np.concatenate([[0.0], np.cumsum(share * fp / square)])
        loss = np.concatenate([[0.0], np.cumsum(share * tp / square)])
        return gain, loss


@dataclass(frozen=True)
class WeightedCurve:
    """Weights of one class under b draws, at its m distinct positive scores u (ascending); all (m, b).

    at: positives at u; tp_ge: positives >= u; below, upto: negatives < u and <= u; w1, w0: (b,) totals.
    """

    at: Tensor
    tp_ge: Tensor
    below: Tensor
    upto: Tensor
    w1: Tensor
    w0: Tensor

    @property
    def precision(self) -> Tensor:
        return self.tp_ge / (self.tp_ge + self.w0 - self.below)

    @property
    def precision_above(self) -> Tensor:
        tp_gt = self.tp_ge - self.at
        total = tp_gt + self.w0 - self.upto
        return (tp_gt / total).masked_fill(total <= 0, 1.0)
