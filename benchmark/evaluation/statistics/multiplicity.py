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


def holm_levels(p: np.ndarray, alpha: float, size: int | None = None) -> np.ndarray:
    """(K,) the largest p at which Holm's test would reject each hypothesis, given the p values of the others.

    α / (K - j), where j of the others are rejected before it: what a single test must reach, and so the level
    that its minimum detectable effect belongs to. NaN where p is NaN. size: as in `holm`.
    """
    p = np.asarray(p, dtype=float)
    result = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    count = len(known)
    largest = max(count, size or count)
    steps = alpha / np.arange(largest, largest - count, -1)
    for i in known:
        others = np.sort(p[known[known != i]])
        passed = others <= steps[:-1]
        result[i] = steps[int(np.cumprod(passed).sum())]
    return result


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
