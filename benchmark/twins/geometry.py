"""Shapes on a square of side 1: curves, filled outlines, strokes, balls, irregular blobs and textures.

Coordinates are (x, y) fractions of the side, origin at the top left. Masks are (S, S) float32 in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

import cv2
import numpy as np
from numpy.typing import ArrayLike

_SHIFT = 5
_LEVEL = np.float32(1 / 255)
cv2.setNumThreads(1)


@lru_cache(maxsize=8)
def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """x (1, S) and y (S, 1) of the pixel centres."""
    line = ((np.arange(size) + 0.5) / size).astype(np.float32)
    return line[None, :], line[:, None]


@lru_cache(maxsize=64)
def _catmull_rom(knots: int, closed: bool, steps: int) -> np.ndarray:
    """(samples, knots) weights of the knots in each sample of a curve."""
    t = np.arange(steps) / steps
    rows = [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3]
    local = 0.5 * np.stack(rows, axis=1)  # (steps, 4)
    same = np.eye(knots)
    if closed:
        p = np.concatenate([same[-1:], same, same[:2]])
    else:
        p = np.concatenate([2 * same[:1] - same[1:2], same, 2 * same[-1:] - same[-2:-1]])
    weights = np.concatenate([local @ p[i : i + 4] for i in range(len(p) - 3)])
    if not closed:
        weights = np.concatenate([weights, same[-1:]])
    return np.ascontiguousarray(weights, np.float32)


def smooth(points: ArrayLike, closed: bool = False, steps: int = 8) -> np.ndarray:
    """Catmull-Rom curve through (..., n, 2) points, `steps` samples a segment."""
    p = np.asarray(points, np.float32)
    curve: np.ndarray = _catmull_rom(p.shape[-2], closed, steps) @ p
    return curve


def _fixed(points: np.ndarray, size: int) -> np.ndarray:
    scaled = np.asarray(points, np.float32) * np.float32(size * (1 << _SHIFT))
    scaled -= np.float32(0.5 * (1 << _SHIFT))
    whole: np.ndarray = np.rint(scaled, out=scaled).astype(np.int32)
    return whole


def fill(points: np.ndarray, size: int) -> np.ndarray:
    """Filled outline of (n, 2) points."""
    canvas = np.zeros((size, size), np.uint8)
    cv2.fillPoly(canvas, [_fixed(points, size)], 255, cv2.LINE_AA, _SHIFT)
    return canvas * _LEVEL


def strokes(
    curves: Sequence[np.ndarray] | np.ndarray,
    width: float | Sequence[float],
    size: int,
    closed: bool = False,
) -> np.ndarray:
    """Polylines of a width in fractions of the side.

    A line thinner than one pixel is drawn one pixel wide and proportionally fainter.
    """
    canvas = np.zeros((size, size), np.uint8)
    if isinstance(width, int | float):
        _stroke(canvas, curves, width, closed)
    else:
        pairs = zip(curves, width, strict=True)
        for w, group in groupby(pairs, key=itemgetter(1)):
            _stroke(canvas, [curve for curve, _ in group], w, closed)
    return canvas * _LEVEL


def _stroke(
    canvas: np.ndarray, curves: Sequence[np.ndarray] | np.ndarray, width: float, closed: bool
) -> None:
    size = len(canvas)
    pixels = width * size
    level = 255 if pixels >= 1 else max(int(255 * pixels), 40)
    if isinstance(curves, np.ndarray):
        lines = list(_fixed(curves, size))
    else:
        lines = [_fixed(curve, size) for curve in curves]
    cv2.polylines(canvas, lines, closed, level, max(1, round(pixels)), cv2.LINE_AA, _SHIFT)


def dots(spots: list[tuple[float, float]], radius: float, size: int) -> np.ndarray:
    """Small filled discs."""
    canvas = np.zeros((size, size), np.uint8)
    reach = max(int(radius * size * (1 << _SHIFT)), 1)
    for centre in _fixed(np.asarray(spots), size):
        cv2.circle(canvas, (int(centre[0]), int(centre[1])), reach, 255, -1, cv2.LINE_AA, _SHIFT)
    return canvas * _LEVEL


def soften(mask: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur; sigma in fractions of the side."""
    pixels = sigma * mask.shape[0]
    if pixels < 0.3:
        return mask
    if pixels > 6:  # the same blur on a smaller picture is many times faster
        small = cv2.resize(mask, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), pixels / 4)
        return cv2.resize(small, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return cv2.GaussianBlur(mask, (0, 0), pixels)


def ellipse(
    centre: tuple[float, float], radii: tuple[float, float], size: int, angle: float = 0.0, power: float = 0.5
) -> np.ndarray:
    """Projection of an ellipsoid: (1 - r²)^power inside, 0 outside; `angle` in radians."""
    out = np.zeros((size, size), np.float32)
    reach = max(radii) if angle else 0.0
    part = _window(centre, max(reach, radii[0]), max(reach, radii[1]), size)
    x, y = grid(size)
    dx, dy = x[:, part[1]] - np.float32(centre[0]), y[part[0]] - np.float32(centre[1])
    if angle:
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        dx, dy = c * dx + s * dy, c * dy - s * dx
    inside = 1 - (dx / np.float32(radii[0])) ** 2 - (dy / np.float32(radii[1])) ** 2
    inside = np.clip(inside, 0, None)
    out[part] = np.sqrt(inside) if power == 0.5 else inside ** np.float32(power)
    return out


def _window(centre: tuple[float, float], reach_x: float, reach_y: float, size: int) -> tuple[slice, slice]:
    edges = [
        slice(max(int((c - r) * size) - 1, 0), max(int((c + r) * size) + 2, 0))
        for c, r in ((centre[1], reach_y), (centre[0], reach_x))
    ]
    return edges[0], edges[1]


def disc(centre: tuple[float, float], radius: float, size: int) -> np.ndarray:
    """Flat disc with an anti-aliased rim."""
    out = np.zeros((size, size), np.float32)
    part = _window(centre, radius, radius, size)
    x, y = grid(size)
    r = np.hypot(x[:, part[1]] - np.float32(centre[0]), y[part[0]] - np.float32(centre[1]))
    out[part] = np.clip((np.float32(radius) - r) * size + np.float32(0.5), 0, 1)
    return out


def ring(
    centre: tuple[float, float], radius: float, width: float, size: int, squash: float = 1.0
) -> np.ndarray:
    """Circle line; `squash` divides the vertical radius."""
    t = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    points = np.stack([centre[0] + radius * np.cos(t), centre[1] + radius / squash * np.sin(t)], axis=1)
    return strokes([points], width, size, closed=True)


def blob(
    centre: tuple[float, float],
    radii: tuple[float, float],
    rng: np.random.Generator,
    roughness: float = 0.25,
    corners: int = 9,
) -> np.ndarray:
    """Outline of an irregular patch."""
    t = np.linspace(0, 2 * np.pi, corners, endpoint=False) + rng.uniform(0, 0.6)
    r = 1 + roughness * rng.standard_normal(corners).clip(-1.8, 1.8)
    points = np.stack([centre[0] + radii[0] * r * np.cos(t), centre[1] + radii[1] * r * np.sin(t)], axis=1)
    return smooth(points, closed=True, steps=5)


@lru_cache(maxsize=32)
def _tile(size: int, scale: float) -> np.ndarray:
    rng = np.random.default_rng([2027, size, int(scale * 10000)])
    noise = rng.standard_normal((2 * size, 2 * size)).astype(np.float32)
    if scale == 0:
        return noise
    tile = cv2.GaussianBlur(noise, (0, 0), max(scale * size, 0.5), borderType=cv2.BORDER_REFLECT)
    return np.asarray((tile - tile.mean()) / tile.std())


def texture(size: int, scale: float, rng: np.random.Generator) -> np.ndarray:
    """(S, S) stationary noise of unit deviation with structures of about `scale` of the side; 0 is white."""
    tile = _tile(size, scale)
    row, column = rng.integers(0, size, 2)
    part = tile[row : row + size, column : column + size]
    return part[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]


def bounding_box(mask: np.ndarray) -> tuple[float, float, float, float] | None:
    """x, y, w, h in pixels of the True part, or None where there is none."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    x, y = int(columns[0]), int(rows[0])
    return float(x), float(y), float(columns[-1] - x + 1), float(rows[-1] - y + 1)
