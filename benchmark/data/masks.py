"""Run-length masks: the column-major runs of the regions table and the relative runs of SIIM-ACR.

Regions table: JSON `{"size": [height, width], "counts": [...]}`, counts of 0, 1, 0, … down the columns (the
uncompressed form of COCO). SIIM: pairs (gap since the end of the previous run, length), down the columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np

from benchmark.core.errors import DataError
from benchmark.core.guard import parsing

MAX_PIXELS = 1 << 27


def encode_mask(mask: np.ndarray) -> str:
    """(H, W) mask → JSON run lengths."""
    starts, stops = _runs(mask)
    counts = np.diff(np.concatenate([[0], np.column_stack([starts, stops]).ravel(), [mask.size]]))
    height, width = (int(n) for n in mask.shape)
    return json.dumps({"size": [height, width], "counts": counts.tolist()}, separators=(",", ":"))


def decode_mask(text: str) -> np.ndarray:
    """JSON run lengths → (H, W) bool. Raises DataError where the text is not of that form."""
    with parsing("run lengths", "JSON with `size` and `counts`"):
        value = json.loads(text)
        height, width = (int(n) for n in value["size"])
        counts = np.asarray(value["counts"], dtype=np.int64)
    if not 0 < height * width <= MAX_PIXELS:
        raise DataError(f"run lengths: a mask of {height} x {width} pixels; at most {MAX_PIXELS:,} are read.")
    area = height * width  # a count above it could make the sum wrap around
    if counts.ndim != 1 or (counts < 0).any() or (counts > area).any() or counts.sum() != area:
        raise DataError(f"run lengths: the counts do not cover {height} x {width} pixels.")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(width, height).T


def decode_relative(texts: Iterable[str], height: int, width: int) -> np.ndarray:
    """Union (H, W) bool of relative run lengths; `-1` is an empty mask.

    Raises DataError for an odd or negative number and for a run that leaves the image.
    """
    flat = np.zeros(height * width, dtype=bool)
    for text in texts:
        for start, stop in relative_runs(text, flat.size):
            flat[start:stop] = True
    return flat.reshape(width, height).T


def relative_runs(text: str, pixels: int) -> np.ndarray:
    """Relative run lengths → (R, 2) starts and ends in an image of so many pixels; none for `-1`.

    Raises DataError for an odd or negative number and for a run that leaves the image.
    """
    if text.strip() == "-1":
        return np.empty((0, 2), dtype=np.int64)
    with parsing(f"run lengths '{text[:40]}'", "a list of integers"):
        numbers = np.array(text.split(), dtype=np.int64)
    if len(numbers) == 0 or len(numbers) % 2 or (numbers < 0).any():
        raise DataError(f"run lengths '{text[:40]}': expected pairs (gap, length), or -1.")
    ends = np.cumsum(numbers)
    if (numbers > pixels).any() or ends[-1] > pixels:  # a number above it could make the sum wrap around
        raise DataError(f"run lengths '{text[:40]}': a run leaves the image of {pixels:,} pixels.")
    return ends.reshape(-1, 2)


def encode_relative(mask: np.ndarray) -> str:
    """(H, W) mask → relative run lengths; `-1` where it is empty."""
    starts, stops = _runs(mask)
    if len(starts) == 0:
        return "-1"
    gaps = starts - np.concatenate([[0], stops[:-1]])
    return " ".join(map(str, np.column_stack([gaps, stops - starts]).ravel().tolist()))


def _runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of the runs of True down the columns."""
    flat = np.concatenate([[False], np.asarray(mask, dtype=bool).T.ravel(), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return edges[::2], edges[1::2]


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x, y, w, h of the smallest box around a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y
