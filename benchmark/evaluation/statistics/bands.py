"""Macro-averaged ROC and precision-recall curves with bands from resampled patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

POSITIVES = 10
"""A class enters the average with at least so many positives: fewer make a staircase, not a curve."""
GRID = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class Band:
    """x: (101,) false positive rate or recall; value, low, high: (101,) mean over seeds and classes with a
    pointwise percentile band. classes: how many entered; base: precision of chance (ROC: 0)."""

    x: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    classes: int
    base: float = 0.0


def bands(
    scores: np.ndarray,
    labels: np.ndarray,
    patients: np.ndarray,
    *,
    draws: int = 100,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Band, Band] | None:
    """scores (S, N, C), labels (N, C) in {1, 0, -1 ignored}, patients (N,) → (ROC, precision-recall).

    The same patients are drawn for every method with the same seed. None where no class has enough positives.
    """
    used = [
        j
        for j in range(labels.shape[1])
        if (labels[:, j] == 1).sum() >= POSITIVES and (labels[:, j] == 0).any()
    ]
    if not used:
        return None
    _, codes = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    clusters = int(codes.max()) + 1
    rng = np.random.default_rng(seed)
    weights = np.ones((clusters, draws + 1))
    for b in range(draws):
        weights[:, b + 1] = np.bincount(rng.integers(0, clusters, clusters), minlength=clusters)
    total = np.zeros((2, draws + 1, len(GRID)))
    count = np.zeros((draws + 1, 1))
    for run in scores:
        for j in used:
            own, defined = _curves(run[:, j], labels[:, j], weights[codes])
            total += np.where(defined[None, :, None], own, 0.0)
            count += defined[:, None]
    mean = total / np.maximum(count, 1)
    tail = (1 - level) / 2
    base = float(np.mean([(labels[:, j] == 1).sum() / (labels[:, j] >= 0).sum() for j in used]))
    found = []
    for kind in range(2):
        low, high = np.quantile(mean[kind, 1:], [tail, 1 - tail], axis=0)
        found.append(Band(GRID, mean[kind, 0], low, high, len(used), base if kind else 0.0))
    return found[0], found[1]


def _curves(score: np.ndarray, label: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One class, one run: (2, B, 101) true positive rate and precision, and which draws define them."""
    kept = np.flatnonzero(label >= 0)
    order = kept[np.argsort(-score[kept], kind="stable")]
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    positive = label[order][:, None] == 1
    w = weights[order]
    tp = np.cumsum(w * positive, axis=0)[ends]
    fp = np.cumsum(w * ~positive, axis=0)[ends]
    defined = (tp[-1] > 0) & (fp[-1] > 0)
    result = np.zeros((2, w.shape[1], len(GRID)))
    for b in np.flatnonzero(defined):
        rate = np.concatenate([[0.0], tp[:, b] / tp[-1, b]])
        result[0, b] = np.interp(GRID, np.concatenate([[0.0], fp[:, b] / fp[-1, b]]), rate)
        precision = tp[:, b] / np.maximum(tp[:, b] + fp[:, b], 1e-12)
        at = np.searchsorted(rate[1:], GRID - 1e-12, side="left")
        best = np.maximum.accumulate(precision[::-1])[::-1]
        result[1, b] = best[np.minimum(at, len(best) - 1)]
    return result, defined
