"""Adjusted p values. NaN (a comparison that could not be made) stays NaN and does not count."""

from __future__ import annotations

import numpy as np


def holm(p: np.ndarray) -> np.ndarray:
    """Family-wise error, any dependence (Holm 1979). p: (K,)."""
    return _adjust(p, lambda sorted_p, m: np.maximum.accumulate(sorted_p * np.arange(m, 0, -1)))


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
