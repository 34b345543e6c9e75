"""Influence of every patient on every class's metrics: one pass gives all variances and covariances.

Because a macro mean, a difference of methods or a gap of subgroups is linear in the per-class values, its
influence is the same combination of columns, and its clustered variance is the sum of squares over patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmark.evaluation.statistics.curves import Curve, undefined
from benchmark.evaluation.statistics.leverage import residual_scale
from benchmark.evaluation.statistics.metrics import RANK_METRICS, influenced


@dataclass(frozen=True)
class Units:
    """Pairs of a class and a patient with a positive in it, all (U,) but influence.

    share: the patient's share in the positive images of the class. scale: the factor of `residual_scale`.
    influence: (M, U) of the patient's positives, without that factor.
    """

    of_class: np.ndarray
    patient: np.ndarray
    share: np.ndarray
    scale: np.ndarray
    influence: np.ndarray


@dataclass(frozen=True)
class InfluenceTable:
    """Metrics M × classes C of one set of scores, with patients' influences.

    values: (M, C), NaN where undefined. influence: (M, P, C), scaled so that the sum of squares over
    patients is the clustered variance (Obuchowski's, with the factor of `leverage` on each of the two parts).
    n_pos, n_neg, n_ignored: (C,) images. pos_patients, neg_patients, n_patients: (C,) patients with a
    positive, with a negative, with either. weight_pos: (C,) Σm²/Σm over patients' positive counts m.
    var_pos, var_neg: (C,) the two parts of the variance of AUROC. icc: (C,) correlation of the negatives'
    ranks within patients. Without clusters weight_pos is 1 and icc 0. units: the positives' part, patient by
    patient.
    """

    metrics: tuple[str, ...]
    values: np.ndarray
    influence: np.ndarray
    n_pos: np.ndarray
    n_neg: np.ndarray
    n_ignored: np.ndarray
    pos_patients: np.ndarray
    neg_patients: np.ndarray
    n_patients: np.ndarray
    weight_pos: np.ndarray
    var_pos: np.ndarray
    var_neg: np.ndarray
    icc: np.ndarray
    units: Units

    @property
    def defined(self) -> np.ndarray:
        """(C,) bool."""
        return (self.n_pos > 0) & (self.n_neg > 0)

    def reason(self, column: int) -> str:
        return undefined(int(self.n_pos[column]), int(self.n_neg[column]))

    def of(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """values (C,) and influence (P, C) of one metric."""
        index = self.metrics.index(metric)
        return self.values[index], self.influence[index]


def patient_codes(patients: np.ndarray | None, n: int) -> tuple[np.ndarray, int, bool]:
    """Codes (N,) 0..P-1, P, and whether they are patients. Without ids each image is its own cluster."""
    if patients is None:
        return np.arange(n), n, False
    known = np.asarray(patients, dtype=object)
    blank = pd.isna(known) | (known == "")
    if blank.all():
        return np.arange(n), n, False
    if blank.any():
        known = known.copy()
        known[blank] = [f"\0image {i}" for i in np.flatnonzero(blank)]
    codes, unique = pd.factorize(known)
    return codes, len(unique), True


def influence_table(
    scores: np.ndarray,
    labels: np.ndarray,
    codes: np.ndarray,
    n_clusters: int | None = None,
    metrics: tuple[str, ...] = RANK_METRICS,
    dtype: type = np.float64,
) -> InfluenceTable:
    """scores (N, C) finite, labels (N, C) in {1, 0, -1 ignored}, codes (N,) in 0..P-1.

    Source: DeLong et al. 1988, Obuchowski 1997; see `metrics`.
    """
    clusters = int(codes.max()) + 1 if n_clusters is None else n_clusters
    n, c = scores.shape
    values = np.full((len(metrics), c), np.nan)
    influence: np.ndarray = np.zeros((len(metrics), clusters, c), dtype=dtype)
    counts = np.zeros((6, c), dtype=np.int64)
    parts = np.zeros((4, c))
    parts[0] = 1.0
    found: list[tuple[np.ndarray, ...]] = []
    single = clusters == n
    by_class, truth = np.ascontiguousarray(scores.T), np.ascontiguousarray(labels.T)
    for j in range(c):
        column, y = by_class[j], truth[j]
        pos, neg = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
        p_codes, n_codes = codes[pos], codes[neg]
        p_count, n_count = np.bincount(p_codes, minlength=clusters), np.bincount(n_codes, minlength=clusters)
        i10, i01 = int(np.count_nonzero(p_count)), int(np.count_nonzero(n_count))
        counts[:, j] = (
            len(pos),
            len(neg),
            n - len(pos) - len(neg),
            i10,
            i01,
            np.count_nonzero(p_count + n_count),
        )
        if undefined(len(pos), len(neg)):
            continue
        curve = Curve(column[pos], column[neg])
        scale1, scale0 = residual_scale(p_count), residual_scale(n_count)
        there = np.flatnonzero(p_count)
        own = np.empty((len(metrics), len(there)))
        for row, metric in enumerate(metrics):
            values[row, j], positive, negative = influenced(metric, curve)
            sums = np.bincount(p_codes, positive, clusters)
            own[row] = sums[there]
            a = scale1 * sums
            b = scale0 * np.bincount(n_codes, negative, clusters)
            influence[row, :, j] = a + b
            if metric == "auroc":
                parts[1, j], parts[2, j] = a @ a, b @ b
        found.append((np.full(len(there), j), there, p_count[there] / len(pos), scale1[there], own))
        if not single:
            parts[0, j] = float(p_count @ p_count) / len(pos)
            parts[3, j] = _icc(column[neg], n_codes, n_count)
    return InfluenceTable(
        tuple(metrics), values, influence,
        n_pos=counts[0], n_neg=counts[1], n_ignored=counts[2],
        pos_patients=counts[3], neg_patients=counts[4], n_patients=counts[5],
        weight_pos=parts[0], var_pos=parts[1], var_neg=parts[2], icc=parts[3],
        units=_units(found, len(metrics)),
    )  # fmt: skip


def _units(found: list[tuple[np.ndarray, ...]], metrics: int) -> Units:
    if not found:
        return Units(np.empty(0, int), np.empty(0, int), np.empty(0), np.empty(0), np.empty((metrics, 0)))
    of_class, patient, share, scale = (np.concatenate(part) for part in list(zip(*found, strict=True))[:4])
    return Units(of_class, patient, share, scale, np.hstack([each[4] for each in found]))


def pooled(
    scores: np.ndarray,
    labels: np.ndarray,
    codes: np.ndarray,
    n_clusters: int,
    metrics: tuple[str, ...] = RANK_METRICS,
    dtype: type = np.float64,
) -> InfluenceTable:
    """The same with all classes pooled into one column (micro average): scores must share a scale."""
    c = scores.shape[1]
    return influence_table(
        np.ascontiguousarray(scores).reshape(-1, 1),
        np.ascontiguousarray(labels).reshape(-1, 1),
        np.repeat(codes.astype(np.int32), c),
        n_clusters,
        metrics,
        dtype,
    )


def _icc(scores: np.ndarray, codes: np.ndarray, count: np.ndarray) -> float:
    """Correlation of ranks between two images of one patient (pairwise moments), within [0, 1]."""
    pairs = float(count @ (count - 1))
    if pairs <= 0:
        return 0.0
    rank = np.empty(len(scores))
    rank[np.argsort(scores)] = np.arange(len(scores))
    rank -= rank.mean()
    variance = float(rank @ rank) / len(rank)
    if variance == 0:
        return 0.0
    sums = np.bincount(codes, rank, len(count))
    return float(np.clip((sums @ sums - rank @ rank) / pairs / variance, 0.0, 1.0))
