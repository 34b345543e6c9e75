"""What a box of any table must be: four finite numbers that mark something inside of their space."""

from __future__ import annotations

from typing import Any

import numpy as np

SLACK = 0.01
"""Share of a side by which a box may go beyond it: annotators draw over the border."""


def first_wrong(boxes: Any, width: Any = np.inf, height: Any = np.inf) -> tuple[int, str] | None:
    """Place, from 0, of the first box that is none, and what is wrong with it; None where all are boxes.

    boxes: (N, 4) x, y, width, height. width, height: of the space that they are given in, one or (N,); where
    it is not known, a box may end anywhere.
    """
    numbers = np.asarray(boxes, dtype=float).reshape(-1, 4)
    x, y, w, h = numbers.T
    with np.errstate(invalid="ignore"):
        beyond = (x + w > (1 + SLACK) * width) | (y + h > (1 + SLACK) * height) | (x >= width) | (y >= height)
        faults = (
            (~np.isfinite(numbers).all(axis=1), "is not four numbers"),
            ((w < 0) | (h < 0), "has a side below 0"),
            ((x < 0) | (y < 0) | beyond, "lies outside of its image"),
        )
    found = [(int(np.argmax(wrong)), what) for wrong, what in faults if wrong.any()]
    return min(found) if found else None
