"""What is left of an image at 8 × 8 pixels, with the histogram of its grey values."""

from __future__ import annotations

import numpy as np

from benchmark.evaluation.references.base import REFERENCES, Floats, Images
from benchmark.evaluation.references.linear import LinearReference

SIDE = 8
BINS = 32


@REFERENCES.register("thumbnail")
class Thumbnail(LinearReference):
    name = "thumbnail"
    title = "8 × 8 thumbnail and histogram"
    kind = "floor"
    order = 30
    reads = "the means of 8 × 8 tiles and a histogram of 32 grey values"

    def inputs(self, images: Images) -> Floats:
        parts = []
        for rows in images.batches():
            pixels = images.pixels(rows)
            parts.append(np.concatenate([tiles(pixels), histogram(pixels)], axis=1))
        return np.concatenate(parts)


def tiles(pixels: np.ndarray) -> Floats:
    """(N, S, S) uint8, S at least 8 → (N, 64) means of tiles whose sides differ by at most one pixel."""
    size = pixels.shape[-1]
    edges = np.arange(SIDE) * size // SIDE
    counts = np.diff([*edges, size])
    sums = np.add.reduceat(np.add.reduceat(pixels, edges, axis=1, dtype=np.float64), edges, axis=2)
    return np.asarray(sums / np.outer(counts, counts)).reshape(len(pixels), -1)


def histogram(pixels: np.ndarray) -> Floats:
    """(N, S, S) uint8 → (N, 32) shares of the pixels."""
    flat = (pixels.reshape(len(pixels), -1) // (256 // BINS)).astype(np.int64)
    return np.stack([np.bincount(row, minlength=BINS) for row in flat]) / flat.shape[1]
