"""Segmentation of a whole evaluation set, image by image: nothing of pixel size is kept.

The official rules: Dice averaged over the positive images at the best of a grid of thresholds, chosen on the
same images; pixel AUROC over the pixels of all images; the share of negative images without a pixel above the
threshold. Source: deepnoid-ai/RadZero, SIIM and RSNA evaluation. Beside them, for methods whose maps have
different scales: the same search over shares of the pixels, which no scale changes, and its held-out form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from benchmark.core.errors import MetricUndefined
from benchmark.core.hashing import derive_seed
from benchmark.core.preprocessing import Preprocessing
from benchmark.evaluation.grounding import UNSEEN, map_to_pixels
from benchmark.evaluation.segmentation import SEARCH
from benchmark.evaluation.statistics.leverage import residual_scale

BINS = 1 << 16
SHARES = np.geomspace(1e-4, 1.0, 101)
"""Shares of all pixels that lie above a threshold, from one in ten thousand to all."""
ATTENTION_SEARCH = np.linspace(0.0, 1.0, 1001)
"""The official grid of softmax attention maps: steps of 0.001."""


@dataclass(frozen=True)
class Segmented:
    """N images, M of them with a mask.

    dice: (M,) at the best threshold of the official grid. any_scale: (M,) at the best share of pixels.
    held_out: (M,) at the share that is best on the images of the other half. positive: (M,) rows.
    negative: (N - M,) rows. empty: (N - M,) bool, no pixel above the official threshold.
    threshold, share: the best ones. pixel_auroc, auroc_influence: value and every patient's influence (P,).
    """

    dice: np.ndarray
    any_scale: np.ndarray
    held_out: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    empty: np.ndarray
    threshold: float
    share: float
    pixel_auroc: float
    auroc_influence: np.ndarray

    def among(self, rows: np.ndarray, clusters: int) -> Segmented:
        """The same where the N images are these rows (N,) of a larger set of so many patients."""
        influence = np.pad(self.auroc_influence, (0, clusters - len(self.auroc_influence)))
        return replace(
            self, positive=rows[self.positive], negative=rows[self.negative], auroc_influence=influence
        )


@dataclass(frozen=True)
class MaskedMaps:
    """N patch maps (N, h, w) and the masks they are held against.

    mask: image → (height, width) bool, None for a negative image; asked for twice. sizes: (height, width) of
    each image in original pixels. attention: maps are weights in [0, 1], compared as they are; else the
    logistic function of the pixel map is.
    """

    maps: Tensor
    mask: Callable[[int], np.ndarray | None]
    sizes: Sequence[tuple[int, int]]
    steps: Preprocessing
    attention: bool

    def __len__(self) -> int:
        return len(self.maps)

    def pixels(self, i: int) -> Tensor:
        """(pixels,) of one image."""
        return map_to_pixels(self.maps[i], self.steps, *self.sizes[i]).reshape(-1)

    def truth(self, i: int) -> np.ndarray:
        """(pixels,) bool."""
        mask = self.mask(i)
        return np.zeros(int(np.prod(self.sizes[i])), dtype=bool) if mask is None else mask.reshape(-1) > 0

    @cached_property
    def range(self) -> tuple[float, float]:
        return float(self.maps.min()), float(self.maps.max())

    def bins(self, values: Tensor) -> np.ndarray:
        """Bin 0 holds what the encoder did not see; the other bins divide the range of the patch scores,
        which no interpolated pixel leaves."""
        low, high = self.range
        scale = (BINS - 2) / (high - low) if high > low else 0.0
        place = ((values - low) * scale).clamp_(0, BINS - 2).to(torch.int32) + 1
        return np.asarray(torch.where(values == UNSEEN, 0, place).numpy())

    def edges(self, shares: np.ndarray, histogram: np.ndarray) -> np.ndarray:
        """(K,) the pixel score above which each share of all pixels lies. histogram: (BINS,) pixels."""
        low, high = self.range
        tail = histogram[::-1].cumsum()[::-1] / histogram.sum()
        first = np.minimum(np.searchsorted(-tail[1:], -shares), BINS - 2)
        return np.where(shares < tail[1], low + first * (high - low) / (BINS - 2), -np.inf)


def segment(masked: MaskedMaps, *, codes: np.ndarray, half: np.ndarray) -> Segmented:
    """Dice, pixel AUROC and empty images of one evaluation set.

    codes: (N,) patients 0..P-1. half: (N,) bool, the two halves of `held_out`, which keep a patient together.
    Raises MetricUndefined where no image has a mask, or no pixel lies outside of one.
    """
    inside, outside, counts = _histograms(masked)
    n_in, n_out = int(inside.sum()), int(outside.sum())
    if not n_in or not n_out:
        raise MetricUndefined("segmentation: no image has a mask, or no pixel lies outside of one.")
    beaten = (outside.cumsum() - outside / 2) / n_out  # of an inside pixel: share of outside pixels below it
    beating = (
        1 - (inside.cumsum() - inside / 2) / n_in
    )  # of an outside pixel: share of inside pixels above it
    auroc = float(beaten @ inside / n_in)

    grid = ATTENTION_SEARCH if masked.attention else SEARCH
    cuts = masked.edges(SHARES, inside + outside)
    order = np.argsort(cuts, kind="stable")
    positive, negative = np.flatnonzero(counts[:, 0] > 0), np.flatnonzero(counts[:, 0] == 0)
    placed = np.zeros((len(masked), 2))
    official, free = np.zeros((len(positive), len(grid))), np.zeros((len(positive), len(SHARES)))
    tops = np.empty(len(masked))
    row = 0
    for i in range(len(masked)):
        values, truth = masked.pixels(i), masked.truth(i)
        shown = values if masked.attention else torch.sigmoid(values)
        tops[i] = float(shown.max())
        own = masked.bins(values)
        placed[i] = beaten[own[truth]].sum(), beating[own[~truth]].sum()
        if counts[i, 0]:
            official[row] = dice_at(shown.numpy(), truth, grid)
            free[row, order] = dice_at(values.numpy(), truth, cuts[order])
            row += 1
    threshold, best = int(official.mean(axis=0).argmax()), int(free.mean(axis=0).argmax())
    return Segmented(
        official[:, threshold],
        free[:, best],
        held_out(free, half[positive]),
        positive,
        negative,
        tops[negative] <= grid[threshold],
        float(grid[threshold]),
        float(SHARES[best]),
        auroc,
        _influence(placed - auroc * counts, counts, codes),
    )


def halves(patients: np.ndarray) -> np.ndarray:
    """(N,) bool, two halves of the patients by a hash of their ids."""
    return np.array([derive_seed(0, "half", str(p)) % 2 == 0 for p in patients], dtype=bool)


def held_out(values: np.ndarray, half: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """(M,) of values (M, K): each half of the rows at the column that is best on the other half; NaN where
    one of the halves is empty. weights: (M,) of the rows in that choice; without them all count alike."""
    if half.all() or not half.any():
        return np.full(len(values), np.nan)
    best = {}
    for side in (True, False):
        own = half == side
        mean = np.average(values[own], axis=0, weights=None if weights is None else weights[own])
        best[side] = int(np.argmax(mean))
    return np.where(half, values[:, best[False]], values[:, best[True]])


def dice_at(values: np.ndarray, mask: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(K,) Dice of one image where a pixel counts if it is strictly above each threshold (K,), ascending.

    values, mask: (pixels,). 0 where prediction and mask are both empty.
    """
    above = np.searchsorted(thresholds, values, side="left")
    size = len(thresholds) + 1
    predicted = np.bincount(above, minlength=size)[::-1].cumsum()[::-1][1:]
    overlap = np.bincount(above[mask], minlength=size)[::-1].cumsum()[::-1][1:]
    return np.asarray(2 * overlap / np.maximum(predicted + int(mask.sum()), 1))


def _histograms(masked: MaskedMaps) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(BINS,) pixels inside and outside of masks, and (N, 2) the same counts of each image."""
    inside, outside = np.zeros(BINS, dtype=np.int64), np.zeros(BINS, dtype=np.int64)
    counts = np.zeros((len(masked), 2))
    for i in range(len(masked)):
        own, truth = masked.bins(masked.pixels(i)), masked.truth(i)
        hits = np.bincount(own[truth], minlength=BINS)
        inside += hits
        outside += np.bincount(own, minlength=BINS) - hits
        counts[i] = truth.sum(), (~truth).sum()
    return inside, outside, counts


def _influence(excess: np.ndarray, counts: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(P,) influence on the pixel AUROC: both sides' placements of each image, summed within patients
    (Obuchowski 1997, with pixels as the units of a patient). excess, counts: (N, 2)."""
    clusters = int(codes.max()) + 1
    found = np.zeros(clusters)
    for side in (0, 1):
        held = np.bincount(codes, counts[:, side], clusters)
        found += residual_scale(held) * np.bincount(codes, excess[:, side], clusters) / held.sum()
    return found
