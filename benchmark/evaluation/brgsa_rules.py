"""BrgSA's rules: the threshold of a class, what a decision is worth, and the best classes of an image.

Source: laihaoran/BrgSA `bootstrap_evaluation/`.
"""

from __future__ import annotations

import numpy as np


def corner_threshold(labels: np.ndarray, scores: np.ndarray, candidates: np.ndarray) -> float:
    """Candidate nearest to the ROC corner, the last among ties; the prediction is score > threshold.

    labels, scores: (N,).
    """
    predicted = scores[None, :] > candidates[:, None]
    positive = labels.astype(bool)
    recall = (predicted & positive).sum(axis=1) / max(int(positive.sum()), 1)
    fallout = (predicted & ~positive).sum(axis=1) / max(int((~positive).sum()), 1)
    distance = np.sqrt((1 - recall) ** 2 + fallout**2)
    return float(candidates[np.flatnonzero(distance == distance.min())[-1]])


def strict_recall_at(
    labels: np.ndarray, scores: np.ndarray, k: int, *, standardise: bool = True, keep_empty: bool = False
) -> float:
    """Mean over rows of |top-k ∩ Y| / |Y|. labels, scores: (N, C); k is limited to [1, C].

    standardise: z-score per class first (population std + 1e-8). Rows without positives are left out,
    or kept with denominator 1 (`keep_empty`). Ties fall in class order.
    """
    hits = _top_k_hits(labels, scores, k, standardise)
    truth = labels.sum(axis=1)
    rows = np.ones(len(labels), dtype=bool) if keep_empty else truth > 0
    if not rows.any():
        return float("nan")
    return float((hits[rows] / np.maximum(truth[rows], 1)).mean())


def precision_at(labels: np.ndarray, scores: np.ndarray, k: int, *, standardise: bool = True) -> float:
    """Mean over all rows of |top-k ∩ Y| / k; arguments as `strict_recall_at`."""
    k = min(max(k, 1), labels.shape[1])
    return float((_top_k_hits(labels, scores, k, standardise) / k).mean())


def _top_k_hits(labels: np.ndarray, scores: np.ndarray, k: int, standardise: bool) -> np.ndarray:
    """(N,) number of positives among the k best classes of each row."""
    k = min(max(k, 1), labels.shape[1])
    if standardise:
        scores = (scores - scores.mean(axis=0)) / (scores.std(axis=0) + 1e-8)
    top = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    hits: np.ndarray = np.take_along_axis(labels, top, axis=1).sum(axis=1)
    return hits


def binary_measures(labels: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy, precision, recall and weighted F1 of each class (C,); 0 where a denominator is 0."""
    count = len(labels)
    hit = (labels * predicted).sum(axis=0)
    positive, called = labels.sum(axis=0), predicted.sum(axis=0)
    miss = count - positive - called + hit  # true negatives
    f1 = _ratio(2 * hit, positive + called)
    f1_negative = _ratio(2 * miss, (count - positive) + (count - called))
    return {
        "acc": (hit + miss) / count,
        "precision": _ratio(hit, called),
        "recall": _ratio(hit, positive),
        "f1": (f1 * positive + f1_negative * (count - positive)) / count,
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
    return ratio
