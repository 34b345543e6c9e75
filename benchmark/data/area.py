"""OpenCV's INTER_AREA by integral images, for the ratios at which both are exact.

Where a side shrinks by p/q and p is a power of two up to 256, as from 1,024 or 2,048 to 224 pixels, the
weights of INTER_AREA are multiples of 1/p. Its float32 sums are then exact, and so are integer sums over an
integral image, which take less than half the time. Other ratios are left to OpenCV, because there its result
depends on rounding.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd

import cv2
import numpy as np

_LARGEST = 256
_STRIP = 128
"""Old rows at a time: what is in work stays in the cache, and no large memory is taken and given back."""


def resize_area(grey: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W) uint8 → (height, width), equal to cv2.resize with INTER_AREA in every pixel."""
    down, across = _edges(grey.shape[0], height), _edges(grey.shape[1], width)
    if down is None or across is None or grey.shape[1] > 1 << 13:  # sums of a strip are int32
        return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA))
    out = np.empty((height, width), np.uint8)
    share = np.float32(1 / (down.numerator * across.numerator))
    times = max(_STRIP // down.numerator, 1)
    strip = _edges(times * down.numerator, times * down.denominator)
    for part in range(0, height // down.denominator, times):
        old, new = part * down.numerator, part * down.denominator
        if old + times * down.numerator > len(grey):  # the last strip is shorter
            strip = _edges(len(grey) - old, height - new)
        assert strip is not None
        total = cv2.integral(grey[old : old + times * down.numerator])
        mean = _bands(_bands(total, strip, 0), across, 1) * share
        np.rint(mean, out=mean)
        out[new : new + len(mean)] = mean
    return out


class _Edges:
    """Where the borders of the new pixels lie in old pixels: `low` + `part` / `denominator`."""

    def __init__(self, numerator: int, denominator: int, count: int, length: int) -> None:
        at = np.arange(count + 1) * numerator
        self.numerator, self.denominator = numerator, denominator
        self.low = at // denominator
        self.high = np.minimum(self.low + 1, length)
        self.part = (at % denominator).astype(np.int32)


@lru_cache(maxsize=64)
def _edges(length: int, count: int) -> _Edges | None:
    """None where a side grows, shrinks by a whole number (OpenCV is as quick), or p is no power of two."""
    common = gcd(length, count)
    p, q = length // common, count // common
    if length <= count or q == 1 or p & (p - 1) or p > _LARGEST:
        return None
    return _Edges(p, q, count, length)


def _bands(total: np.ndarray, edges: _Edges, axis: int) -> np.ndarray:
    """Sums up to each old border along an axis → sums of each new band, times the denominator."""
    low = total.take(edges.low, axis)
    rest = total.take(edges.high, axis)
    rest -= low
    rest *= edges.part if axis else edges.part[:, None]
    bands = np.diff(low, axis=axis)
    bands *= edges.denominator
    bands += np.diff(rest, axis=axis)
    return bands
