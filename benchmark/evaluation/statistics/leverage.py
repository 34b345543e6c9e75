"""What the residual of a patient loses because the patient is part of the mean that it is taken from.

A mean over images is Σ s_u y_u over patients u: s_u is the patient's share of the images and y_u the mean of
the patient's own. The mean follows a patient who holds much of it, so that the residual s_u (y_u - Σ s_v y_v)
shrinks: where the y_u vary by σ², its variance is s_u² σ² (1 - 2 s_u + Σ s_v²) instead of s_u² σ². Divided by
the root of the bracket, the squares of the residuals sum to the variance of the mean without bias, whatever
the shares. Where all shares are 1/I, this is Obuchowski's factor I/(I-1).

Sources: Bell & McCaffrey 2002 (residuals of clusters rescaled by their leverage); Obuchowski 1997.
"""

from __future__ import annotations

import numpy as np


def residual_scale(held: np.ndarray) -> np.ndarray:
    """(P,) factor of each patient's residual. held: (P,) images (or pixels, trials, decisions) of the patient
    in the mean. 1 where one patient holds everything, who leaves nothing to estimate a variance from."""
    if np.count_nonzero(held) < 2:
        return np.ones(len(held))
    share = held / held.sum()
    return np.asarray(1 / np.sqrt(1 - 2 * share + share @ share))
