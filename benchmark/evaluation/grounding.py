"""From patch scores to pixels of the original image, and the pointing game.

The geometry is undone as the encoder's preprocessing did it. Sources: deepnoid-ai/RadZero evaluation
(bilinear maps, inclusive boxes, first arg-max).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional

from benchmark.core.errors import BenchError
from benchmark.core.preprocessing import Preprocessing

UNSEEN = -999.0
"""Score of pixels outside the view that the encoder saw."""


def map_to_pixels(scores: Tensor, steps: Preprocessing, height: int, width: int) -> Tensor:
    """(..., h, w) patch scores → (..., height, width) in pixels of the original image.

    Bilinear with half-pixel centres (align_corners False). Pixels that the encoder did not see (centre crops)
    get UNSEEN.
    """
    batch = scores.shape[:-2]
    flat = scores.reshape(-1, 1, *scores.shape[-2:])
    if steps.fit == "stretch":
        pixels = _resize(flat, height, width)
    elif steps.fit == "crop":
        seen = _seen(steps, min(height, width))
        pixels = _place(_resize(flat, seen, seen), height, width)
    else:
        side = max(height, width)
        seen = _seen(steps, side)
        square = _place(_resize(flat, seen, seen), side, side)
        top, left = (side - height) // 2, (side - width) // 2
        pixels = square[..., top : top + height, left : left + width]
    return pixels.reshape(*batch, height, width)


def square_grid(patches: Tensor) -> Tensor:
    """(..., P) → (..., √P, √P), row-major. Raises BenchError where P is no square."""
    side = round(patches.shape[-1] ** 0.5)
    if side * side != patches.shape[-1]:
        raise BenchError(f"{patches.shape[-1]} patch scores form no square grid; give the grid.")
    return patches.reshape(*patches.shape[:-1], side, side)


def highest_point(pixels: Tensor | np.ndarray) -> tuple[int, int]:
    """(x, y) of the maximum of an (H, W) map, the first in row-major order among exact ties."""
    array = pixels.detach().cpu().numpy() if isinstance(pixels, Tensor) else np.asarray(pixels)
    y, x = divmod(int(np.argmax(array)), array.shape[1])
    return x, y


def point_in_boxes(point: tuple[int, int], boxes: np.ndarray | Sequence[Sequence[float]]) -> np.ndarray:
    """(K,) bool, whether (x, y) lies in each box [x1, y1, x2, y2], borders included. boxes: (K, 4) pixels."""
    x, y = point
    corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    return (corners[:, 0] <= x) & (x <= corners[:, 2]) & (corners[:, 1] <= y) & (y <= corners[:, 3])


def pointing_hit(pixels: Tensor | np.ndarray, boxes: np.ndarray | Sequence[Sequence[float]]) -> bool:
    """Whether the maximum of an (H, W) map lies in any of the boxes of its class."""
    return bool(point_in_boxes(highest_point(pixels), boxes).any())


def _seen(steps: Preprocessing, side: int) -> int:
    """Side, in original pixels, of the centre crop that the encoder saw of a square of `side` pixels."""
    return int(side * steps.crop / steps.size) if steps.crop else side


def _resize(maps: Tensor, height: int, width: int) -> Tensor:
    return functional.interpolate(maps, size=(height, width), mode="bilinear", align_corners=False)


def _place(maps: Tensor, height: int, width: int) -> Tensor:
    """Centre the maps on a canvas of UNSEEN, offsets rounded down."""
    top, left = (height - maps.shape[-2]) // 2, (width - maps.shape[-1]) // 2
    canvas = maps.new_full((*maps.shape[:-2], height, width), UNSEEN)
    canvas[..., top : top + maps.shape[-2], left : left + maps.shape[-1]] = maps
    return canvas


@dataclass(frozen=True)
class Pointing:
    """N trials. hit: the official rule, the first maximum. shared: the share of the tied maxima inside a box,
    so that no order of pixels decides. tied: maps whose maximum is a plateau. chance: share of the image that
    the boxes cover, the hit rate of a random point."""

    hit: np.ndarray
    shared: np.ndarray
    tied: np.ndarray
    chance: np.ndarray


def pointing_game(
    scores: Tensor,
    boxes: Sequence[np.ndarray],
    sizes: Sequence[tuple[int, int]],
    steps: Preprocessing,
) -> Pointing:
    """The pointing game on (N, h, w) patch scores, one map a trial.

    boxes: per trial (K, 4) corners in pixels of the original image, borders included. sizes: (height, width)
    of its image. Maxima closer than a millionth of the map's range are ties: after the resize a border patch
    is a plateau up to rounding.
    """
    found = []
    for own, corners, (height, width) in zip(scores.float(), boxes, sizes, strict=True):
        pixels = map_to_pixels(own, steps, height, width).cpu().numpy()
        inside = boxes_on_grid(corners, height, width)
        x, y = highest_point(pixels)
        top = pixels >= pixels.max() - 1e-6 * float(own.max() - own.min())
        found.append((inside[y, x], inside[top].mean(), top.sum() > 1, inside.mean()))
    hit, shared, tied, chance = (
        (np.array(v) for v in zip(*found, strict=True)) if found else [np.empty(0)] * 4
    )
    return Pointing(hit.astype(float), shared.astype(float), tied.astype(bool), chance.astype(float))


def boxes_on_grid(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width) bool, pixels whose integer place lies in any box [x1, y1, x2, y2], borders included."""
    inside = np.zeros((height, width), dtype=bool)
    for x1, y1, x2, y2 in np.asarray(boxes, dtype=np.float64).reshape(-1, 4):
        rows = slice(max(int(np.ceil(y1)), 0), max(int(np.floor(y2)) + 1, 0))
        columns = slice(max(int(np.ceil(x1)), 0), max(int(np.floor(x2)) + 1, 0))
        inside[rows, columns] = True
    return inside
