"""Quantiles and tails of the normal, t and χ² distributions, to the bit those of `scipy.stats`.

The classes of `scipy.stats` take half a second to import and check their arguments at every call; here are
the functions of `scipy.special` that they call. All take arrays or numbers, which are broadcast. A quantile
is defined for 0 < p < 1 and for positive degrees of freedom; NaN where an argument is NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special


def norm_ppf(p: Any) -> Any:
    """x with P(Z <= x) = p."""
    return special.ndtri(_double(p))


def norm_cdf(x: Any) -> Any:
    """P(Z <= x)."""
    return special.ndtr(_double(x))


def norm_sf(x: Any) -> Any:
    """P(Z > x)."""
    return special.ndtr(-_double(x))


def t_ppf(p: Any, df: Any) -> Any:
    """x with P(T <= x) = p."""
    return special.stdtrit(_double(df), _double(p))


def t_sf(x: Any, df: Any) -> Any:
    """P(T > x)."""
    return special.stdtr(_double(df), -_double(x))


def chi2_ppf(p: Any, df: Any) -> Any:
    """x with P(χ² <= x) = p."""
    return 2 * special.gammaincinv(_double(df) / 2, _double(p))


def _double(x: Any) -> np.ndarray:
    """In double precision: `scipy.special` would compute a number of half or single precision in single."""
    return np.asarray(x, dtype=np.float64)
