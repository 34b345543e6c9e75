"""Expected calibration error with equal-width bins (Naeini et al. 2015; Guo et al. 2017), one class at a
time.

    ECE = Σ_b |Σ_{i in b} (p_i - y_i)| / N

The bootstrap of an absolute value is biased upwards, so for a calibrated model the interval lies above zero.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from benchmark.core.errors import MetricUndefined
from benchmark.evaluation.statistics.bootstrap import draw_counts


def bin_of(scores: np.ndarray, bins: int) -> np.ndarray:
    """(N,) bin of each probability; 1 belongs to the last bin."""
    return np.asarray(np.minimum((np.asarray(scores, float) * bins).astype(int), bins - 1))


def expected_calibration_error(labels: np.ndarray, scores: np.ndarray, bins: int) -> float:
    """labels (N,) in {1, 0, -1 ignored}, scores (N,) probabilities.

    Raises MetricUndefined where no image is labelled or a score lies outside [0, 1].
    """
    keep = labels >= 0
    if not keep.any():
        raise MetricUndefined("undefined: no labelled image")
    p, y = scores[keep], labels[keep]
    if p.min() < 0 or p.max() > 1:
        raise MetricUndefined("undefined: scores are not probabilities")
    gap = np.bincount(bin_of(p, bins), np.asarray(p, float) - y, bins)
    return float(np.abs(gap).sum() / len(p))


def calibration_draws(
    scores: np.ndarray,
    labels: np.ndarray,
    codes: np.ndarray,
    clusters: int,
    *,
    bins: int,
    draws: int,
    seed: int,
) -> np.ndarray:
    """(B, C) calibration errors under patient resampling; NaN where a class has no labelled image."""
    prepared = []
    for j in range(scores.shape[1]):
        keep = np.flatnonzero(labels[:, j] >= 0)
        place = bin_of(scores[keep, j], bins)
        order = np.argsort(place, kind="stable")
        keep, place = keep[order], place[order]
        gap = (scores[keep, j] - labels[keep, j]).astype(np.float32)
        starts = np.searchsorted(place, np.arange(bins)).astype(np.int32)
        prepared.append([torch.from_numpy(x) for x in (codes[keep].astype(np.int32), starts, gap)])
    result = np.full((draws, scores.shape[1]), np.nan)
    start = 0
    for counts in draw_counts(clusters, draws, seed):
        weights = torch.from_numpy(counts)
        stop = start + counts.shape[1]
        for j, (rows, first, gaps) in enumerate(prepared):
            if len(rows):
                sums = embedding_bag(rows, weights, first, mode="sum", per_sample_weights=gaps)
                total = embedding_bag(rows, weights, first, mode="sum").sum(0)
                result[start:stop, j] = (sums.abs().sum(0) / total).numpy()
        start = stop
    return result
