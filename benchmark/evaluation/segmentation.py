"""Zero-shot segmentation as RadZero measures it: Dice over a threshold search, pixel AUROC, specificity.

Source: deepnoid-ai/RadZero, SIIM and RSNA evaluation functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmark.core.errors import MetricUndefined

SEARCH = np.linspace(0.0, 1.0, 101)
"""The official search grid: 0, 0.01, …, 1."""


def boxes_to_mask(boxes: Sequence[Sequence[float]], height: int, width: int) -> np.ndarray:
    """Filled boxes (x, y, w, h), each number truncated to an integer, half-open → (height, width) uint8."""
    mask = np.zeros((height, width), dtype=np.uint8)
    for box in boxes:
        x, y, w, h = (int(value) for value in box)
        mask[max(y, 0) : y + h, max(x, 0) : x + w] = 1
    return mask


def dice(predicted: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Per image 2|P∩G| / (|P| + |G|) of (N, H, W) masks → (N,); 0 where both are empty."""
    p, g = predicted.reshape(len(predicted), -1) > 0, mask.reshape(len(mask), -1) > 0
    total = p.sum(axis=1) + g.sum(axis=1)
    overlap: np.ndarray = 2 * (p & g).sum(axis=1) / np.maximum(total, 1)
    return overlap


@dataclass(frozen=True)
class ThresholdSearch:
    """dice_at: mean Dice of positive images per threshold. The first best threshold wins."""

    thresholds: np.ndarray
    dice_at: np.ndarray
    best_threshold: float
    best_dice: float


def search_threshold(
    probabilities: np.ndarray, masks: np.ndarray, thresholds: np.ndarray = SEARCH
) -> ThresholdSearch:
    """Best mean Dice over positive images; prediction is probability > threshold, strictly.

    probabilities, masks: (N, H, W). Raises MetricUndefined where no image is positive.
    """
    positive = masks.reshape(len(masks), -1).any(axis=1)
    if not positive.any():
        raise MetricUndefined("Dice: no image has a mask.")
    values = np.array(
        [dice(probabilities[positive] > t, masks[positive]).mean() for t in thresholds.tolist()]
    )
    best = int(np.argmax(values))
    return ThresholdSearch(thresholds, values, float(thresholds[best]), float(values[best]))


def empty_specificity(probabilities: np.ndarray, masks: np.ndarray, threshold: float) -> float:
    """Share of images without a mask that have no pixel above the threshold; NaN without such images."""
    negative = ~masks.reshape(len(masks), -1).any(axis=1)
    if not negative.any():
        return float("nan")
    return float((~(probabilities[negative] > threshold).reshape(negative.sum(), -1).any(axis=1)).mean())


def pixel_auroc(probabilities: np.ndarray, masks: np.ndarray) -> float:
    """AUROC over all pixels of all images, positive and negative.

    Raises MetricUndefined where all pixels belong to one class.
    """
    truth = masks.ravel() > 0
    if truth.all() or not truth.any():
        raise MetricUndefined("pixel AUROC: all pixels belong to one class.")
    return float(roc_auc_score(truth, probabilities.ravel()))
