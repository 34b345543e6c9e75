"""Images that look alike, whatever their file, format, size or depth: a perceptual hash of 256 bits.

The image's own range is stretched to 8 bit and the whole image brought to 17 x 16 pixels; a bit says whether
a pixel is brighter than its left neighbour (the difference hash). A copy that was scaled, compressed or
stored deeper keeps all but a few bits; a crop, a border or a mirrored copy does not, and is not found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmark.core.errors import DataError
from benchmark.core.preprocessing import Preprocessing
from benchmark.core.progress import Report
from benchmark.core.workers import worker_pool
from benchmark.data.pixels import preprocess, read_pixels

AT_MOST = 12
"""Bits in which two images may differ that count as alike: below the 16 bands, so that no pair is missed.

Of 400 images of ChestX-ray14 the two most alike, of one patient, differ in 17; copies of 40 at 512 pixels, as
JPEG of quality 60, at 12 bit, or at 224 pixels differ in at most 8."""
BANDS, WORDS = 16, 16
_STEPS = Preprocessing(size=256, fit="stretch", depth="min-max", interpolation="area")
_CHUNK = 64


def perceptual_hash(pixels: np.ndarray) -> np.ndarray:
    """(16,) uint16 of grey pixels (H, W)."""
    small = cv2.resize(preprocess(pixels, _STEPS), (17, 16), interpolation=cv2.INTER_AREA).astype(np.int16)
    bits = small[:, 1:] > small[:, :-1]
    return np.packbits(bits, axis=1).view(np.uint16).ravel()


def perceptual_hashes(
    paths: Sequence[Path], workers: int, on_progress: Report | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(N, 16) uint16, and (N,) bool: whether the image could be read and is not of one value."""
    chunks = [list(paths[first : first + _CHUNK]) for first in range(0, len(paths), _CHUNK)]
    found: list[tuple[np.ndarray, np.ndarray]] = []
    if workers <= 1:
        for chunk in chunks:
            found.append(_chunk(chunk))
            _say(on_progress, found, len(paths))
    else:
        with worker_pool(workers) as pool:
            for part in pool.map(_chunk, chunks):
                found.append(part)
                _say(on_progress, found, len(paths))
    if not found:
        return np.zeros((0, WORDS), np.uint16), np.zeros(0, bool)
    return np.concatenate([h for h, _ in found]), np.concatenate([known for _, known in found])


def pairs_alike(one: np.ndarray, other: np.ndarray, at_most: int = AT_MOST) -> list[tuple[int, int, int]]:
    """(row of `one`, row of `other`, bits that differ), the most alike first.

    Two hashes that differ in fewer bits than there are bands agree in a whole band, so that only those that
    share one are compared. Raises ValueError where `at_most` allows pairs that share none.
    """
    if at_most >= BANDS:
        raise ValueError(f"at most {BANDS - 1} bits can be searched for")
    candidates: set[tuple[int, int]] = set()
    for band in range(BANDS):
        rows: dict[int, list[int]] = {}
        for row, value in enumerate(other[:, band].tolist()):
            rows.setdefault(value, []).append(row)
        for row, value in enumerate(one[:, band].tolist()):
            candidates.update((row, match) for match in rows.get(value, ()))
    if not candidates:
        return []
    pairs = np.array(sorted(candidates))
    distance = np.bitwise_count(one[pairs[:, 0]] ^ other[pairs[:, 1]]).sum(1)
    near = distance <= at_most
    order = np.argsort(distance[near], kind="stable")
    return [
        (int(a), int(b), int(d)) for (a, b), d in zip(pairs[near][order], distance[near][order], strict=True)
    ]


def _chunk(paths: Iterable[Path]) -> tuple[np.ndarray, np.ndarray]:
    paths = list(paths)
    hashes, known = np.zeros((len(paths), WORDS), np.uint16), np.zeros(len(paths), bool)
    for row, path in enumerate(paths):
        try:
            pixels = read_pixels(path)
        except DataError:
            continue
        if pixels.min() < pixels.max():
            hashes[row], known[row] = perceptual_hash(pixels), True
    return hashes, known


def _say(on_progress: Report | None, found: Sequence[tuple[np.ndarray, np.ndarray]], total: int) -> None:
    if on_progress:
        on_progress(sum(len(known) for _, known in found), total)
