"""Adjusted p values. NaN (a comparison that could not be made) stays NaN and does not count, unless the
family was declared to be larger than what is known of it."""

from __future__ import annotations

import numpy as np


def holm(p: np.ndarray, size: int | None = None) -> np.ndarray:
    """Family-wise error, any dependence (Holm 1979). p: (K,).

    size: of the family as it was declared; tests of it that were not made count as if their p were 1.
    """

    def step_down(sorted_p: np.ndarray, m: int) -> np.ndarray:
        largest = max(m, size or m)
        return np.maximum.accumulate(sorted_p * np.arange(largest, largest - m, -1))

    return _adjust(p, step_down)


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """False discovery rate under independence or positive dependence (Benjamini & Hochberg 1995). p: (K,)."""

    def step_up(sorted_p: np.ndarray, m: int) -> np.ndarray:
        return np.minimum.accumulate((sorted_p * m / np.arange(1, m + 1))[::-1])[::-1]

    return _adjust(p, step_up)


def _adjust(p: np.ndarray, rule) -> np.ndarray:  # type: ignore[no-untyped-def]
    p = np.asarray(p, dtype=float)
    result = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    result[order] = np.minimum(rule(p[order], len(order)), 1.0)
    return result
