"""Which minimum detectable effects can be found at all: metrics end at 1.

The standard error of a mean over few positive patients may be so large that the difference which its test
would find with the wanted power is more than what is left above the lower of the two values. No pair of
methods has such a difference, so it is withheld, with the reason, and not printed as if it could be found.
"""

from __future__ import annotations

from typing import Any

import numpy as np

WITHHELD = "MDE withheld: the test needs a larger difference than the lower of the two values leaves to 1"


def within_reach(least: Any, lower: Any) -> Any:
    """Minimum detectable effects, NaN where they exceed 1 - `lower`.

    least: (K,) or a number, of a difference of values that are at most 1; lower: the smaller of the two.
    """
    least = np.asarray(least, dtype=float)
    with np.errstate(invalid="ignore"):
        return np.where(least > 1 - np.asarray(lower, dtype=float), np.nan, least)[()]
