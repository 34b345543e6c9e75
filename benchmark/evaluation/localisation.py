"""How well maps mark the boxes of what was asked for, beside maps that never read the image.

Contrast-to-noise ratio (Boecking et al. 2022, BioViL), here with its sign, so that a map that is darker in
a box counts against the method; IoU at the threshold that is best on the other half of the patients; IoU of
masks in which all classes compete at one fixed threshold (deepnoid-ai/RadZero, open-vocabulary masks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmark.core.preprocessing import Preprocessing
from benchmark.evaluation.grounding import UNSEEN, boxes_on_grid, highest_point, map_to_pixels
from benchmark.evaluation.pixelwise import BINS, SHARES, MaskedMaps, dice_at, held_out

FINDINGS = 0.7
"""RadZero's threshold of open-vocabulary masks of findings."""


@dataclass(frozen=True)
class Boxed:
    """N patch maps (N, h, w), one a try, and the boxes that each is held against.

    boxes: per try (K, 4) corners in pixels of the original image, borders included. sizes: (height, width) of
    its image. attention: maps are weights in [0, 1]; else they are similarities of any scale.
    """

    maps: Tensor
    boxes: Sequence[np.ndarray]
    sizes: Sequence[tuple[int, int]]
    steps: Preprocessing
    attention: bool

    def truth(self, i: int) -> np.ndarray:
        """(height, width) bool."""
        return boxes_on_grid(self.boxes[i], *self.sizes[i])


@dataclass(frozen=True)
class Localised:
    """N tries. cnr: NaN where the encoder saw no pixel of the boxes, or nothing else. iou: at the share of
    pixels that is best on the tries of the other half, NaN where one of the halves is empty."""

    cnr: np.ndarray
    iou: np.ndarray


def contrast_to_noise(values: np.ndarray, inside: np.ndarray) -> float:
    """(mean inside - mean outside) / sqrt(variance inside + variance outside) of the pixels that were seen.

    values, inside: the same shape. 0 for a flat map; NaN where one of the sides has no pixel.
    """
    seen = values != UNSEEN
    within, without = values[seen & inside], values[seen & ~inside]
    if not within.size or not without.size:
        return float("nan")
    noise = float(np.sqrt(within.var(dtype=np.float64) + without.var(dtype=np.float64)))
    difference = float(within.mean(dtype=np.float64) - without.mean(dtype=np.float64))
    return difference / noise if noise > 0 else 0.0


def localise(boxed: Boxed, names: Sequence[str], half: np.ndarray) -> Localised:
    """CNR and held-out IoU of every try.

    names: class of each try; the best threshold is the one with the highest mean over classes. half: (N,)
    bool, which half of the patients a try belongs to.
    """
    masked = MaskedMaps(boxed.maps, boxed.truth, boxed.sizes, boxed.steps, boxed.attention)
    histogram = np.zeros(BINS, dtype=np.int64)
    for i in range(len(masked)):
        histogram += np.bincount(masked.bins(masked.pixels(i)), minlength=BINS)
    cuts = masked.edges(SHARES, histogram)
    order = np.argsort(cuts, kind="stable")
    cnr, iou = np.zeros(len(masked)), np.zeros((len(masked), len(cuts)))
    for i in range(len(masked)):
        values, truth = masked.pixels(i).numpy(), masked.truth(i)
        cnr[i] = contrast_to_noise(values, truth)
        dice = dice_at(values, truth, cuts[order])
        iou[i, order] = dice / (2 - dice)
    return Localised(cnr, held_out(iou, half, weights(names)))


def weights(names: Sequence[str]) -> np.ndarray:
    """(N,) weights under which every class counts alike."""
    _, place, count = np.unique(np.asarray(names, dtype=str), return_inverse=True, return_counts=True)
    return np.asarray(1 / count[place])


def mean_maps(maps: Tensor, names: Sequence[str], half: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """What the maps show of a class whatever the image: (N, h, w), each the mean map of its class over the
    tries of the other half of the patients; and (N,) bool, whether that half has any."""
    kinds = np.asarray(names, dtype=str)
    out, known = torch.zeros_like(maps), np.zeros(len(maps), dtype=bool)
    for kind in dict.fromkeys(kinds.tolist()):
        for side in (True, False):
            own = (kinds == kind) & (half == side)
            others = (kinds == kind) & (half != side)
            if own.any() and others.any():
                out[torch.from_numpy(own)] = maps[torch.from_numpy(others)].mean(0)
                known |= own
    return out, known


def centre_hits(boxes: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]]) -> np.ndarray:
    """(N,) whether the pixel in the middle of each image lies in one of its boxes."""
    grids = (boxes_on_grid(own, *size) for own, size in zip(boxes, sizes, strict=True))
    return np.array([grid[grid.shape[0] // 2, grid.shape[1] // 2] for grid in grids], dtype=float)


def open_vocabulary(
    maps: Tensor, steps: Preprocessing, size: tuple[int, int], attention: bool, threshold: float = FINDINGS
) -> np.ndarray:
    """(height, width) index of the class that marks each pixel, -1 for the background: the highest
    probability, where it reaches the threshold; the first class among equal ones.

    maps: (C, h, w) of one image. Interpolated first; similarities then pass the logistic function.
    """
    pixels = map_to_pixels(maps.float(), steps, *size)
    shown = pixels if attention else torch.sigmoid(pixels)
    best, place = shown.max(dim=0)
    first = (shown == best).to(torch.uint8).argmax(dim=0)
    return np.asarray(torch.where(best >= threshold, first, torch.full_like(place, -1)).cpu().numpy())


def overlap(predicted: np.ndarray, truth: np.ndarray) -> float:
    """IoU of two masks of one shape; 0 where both are empty."""
    union = int((predicted | truth).sum())
    return float((predicted & truth).sum() / union) if union else 0.0


@dataclass(frozen=True)
class LocalisationMetrics:
    """One map against one mask. hit: by the official rule. chance: share of the image that the mask covers.
    cnr: None where one side of it was not seen. iou, dice: at the map's own best threshold, which no
    threshold chosen elsewhere passes; iou_fixed, dice_fixed: at RadZero's fixed one."""

    hit: bool
    chance: float
    cnr: float | None
    iou: float
    dice: float
    iou_fixed: float
    dice_fixed: float


def best_dice(values: np.ndarray, mask: np.ndarray) -> float:
    """Highest Dice of one image over every threshold; values, mask: (pixels,), mask with at least one.

    Above the best threshold a pixel of the mask is the lowest one: one outside of it could be left out.
    """
    inside = np.sort(values[mask])
    cuts, below = np.unique(inside, return_index=True)
    marked = len(values) - np.searchsorted(np.sort(values), cuts)
    return float((2 * (len(inside) - below) / (marked + len(inside))).max())


def measured(pixels: np.ndarray, truth: np.ndarray, attention: bool) -> LocalisationMetrics:
    """pixels, truth: (height, width); truth bool, with at least one pixel."""
    x, y = highest_point(pixels)
    flat, inside = pixels.reshape(-1), truth.reshape(-1)
    best = best_dice(flat, inside)
    shown = flat if attention else 1 / (1 + np.exp(-np.clip(flat, -60, 60)))
    fixed = 2 * int((inside & (shown >= FINDINGS)).sum())
    fixed_dice = fixed / (int((shown >= FINDINGS).sum()) + int(inside.sum()))
    cnr = contrast_to_noise(flat, inside)
    return LocalisationMetrics(
        bool(truth[y, x]),
        float(truth.mean()),
        None if np.isnan(cnr) else cnr,
        best / (2 - best),
        best,
        fixed_dice / (2 - fixed_dice),
        fixed_dice,
    )
