"""Linear contrasts of several methods on the same images: effects of factors and their interactions.

    Var(Σ wᵢ x̄ᵢ) = MS · Σ wᵢ² / Sᵢ + Σᵢⱼ wᵢ wⱼ Covᵢⱼ

MS is pooled over the methods with several seeds; Covᵢⱼ is Cov₂ of one method where i = j and the covariance
of two methods through shared patients otherwise. With the weights 1 and -1 this is the paired comparison of
`paired.difference`, whose model and sources it shares.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from benchmark.evaluation.statistics.intervals import join, satterthwaite, spread_df
from benchmark.evaluation.statistics.paired import UNKNOWN, Difference, minimum_detectable
from benchmark.evaluation.statistics.seeds import ONE_SEED, SeedSummary


def contrast(
    summaries: Sequence[SeedSummary], weights: Sequence[float], k: int, level: float, power: float
) -> Difference:
    """Σ wᵢ x̄ᵢ of column k, an average, of summaries over the same images and classes.

    weights: one a summary; their sum is 0 in a contrast. Where a value is undefined, so is the contrast.
    Raises ValueError where the numbers of summaries and weights differ.
    """
    pairs = list(zip(summaries, weights, strict=True))
    value = float(sum(w * s.mean[k] for s, w in pairs))
    column = summaries[0].columns[k]
    if np.isnan(value):
        return Difference(*UNKNOWN, column.note)
    combined = np.sum([w * s.influence[:, k].astype(np.float64) for s, w in pairs], axis=0)
    case = float(combined @ combined)
    for s, w in pairs:
        if s.seeds > 1:
            own = float(np.square(s.influence[:, k], dtype=np.float64).sum())
            case -= w**2 * max(own - float(s.covariance[k]), 0.0)
    parts = [(max(case, 0.0), max(spread_df(combined), 1.0))]
    repeats = [(s.seeds - 1, float(s.between[k])) for s, _ in pairs if s.seeds > 1]
    free = sum(f for f, _ in repeats)
    if free:
        pooled = sum(f * v for f, v in repeats) / free
        parts.append((pooled * sum(w**2 / s.seeds for s, w in pairs), float(free)))
    note = ONE_SEED if not repeats else ""
    if 0 < len(repeats) < len(pairs):
        note = "some have one seed: variance between trainings taken from the others"
    variance, df = satterthwaite(parts)
    if variance <= 0:
        return Difference(
            value, value, value, 0.0, np.nan, 1.0 if value == 0 else np.nan, np.nan, join(column.note, note)
        )
    df = max(df, 1.0)
    se = float(np.sqrt(variance))
    half = float(stats.t.ppf(0.5 + level / 2, df)) * se
    p = float(2 * stats.t.sf(abs(value) / se, df))
    mde = minimum_detectable(se, df, level, power)
    return Difference(value, value - half, value + half, se, df, p, mde, join(column.note, note))
