"""Paired comparison of two methods on the same images, with seeds as a random effect.

    Var(x̄_A - x̄_B) = MS · (1/S_A + 1/S_B) + (Cov₂A + Cov₂B - 2 Cov₃)

MS is pooled over the two methods; Cov₃ is the covariance of different methods through shared patients.
The test is Δ / SE against t with Satterthwaite's degrees of freedom. With one seed each and one image a
patient this is the paired test of DeLong et al. 1988; with clusters Obuchowski's 1997. Sources:
Obuchowski & Rockette 1995; Hillis 2014 (readers nested in tests, as seeds are in methods); minimum
detectable effect: Bloom 1995.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchmark.evaluation.statistics.intervals import join, satterthwaite, spread_df
from benchmark.evaluation.statistics.seeds import ONE_SEED, SeedSummary


@dataclass(frozen=True)
class Difference:
    """A - B. p is two-sided and uncorrected; mde: the true difference found with the wanted power."""

    value: float
    low: float
    high: float
    se: float
    df: float
    p: float
    mde: float
    note: str = ""


UNKNOWN = (np.nan,) * 7


def minimum_detectable(se: float, df: float, level: float, power: float) -> float:
    """Smallest true difference that a two-sided test at 1 - level finds with probability `power`."""
    return float((stats.t.ppf(0.5 + level / 2, df) + stats.t.ppf(power, df)) * se)


def predicted_power(effect: float, se: float, df: float, level: float) -> float:
    """Probability that a true difference of this size is found (non-central t)."""
    critical = stats.t.ppf(0.5 + level / 2, df)
    shift = abs(effect) / se
    wrong = (
        stats.nct.cdf(-critical, df, shift) if shift < 3 else 0.0
    )  # below 1e-6, and SciPy's cdf fails far out
    return float(stats.nct.sf(critical, df, shift) + wrong)


def difference(a: SeedSummary, b: SeedSummary, k: int, level: float, power: float) -> Difference:
    """Compare column k of two summaries over the same images and classes."""
    column = a.columns[k]
    value = float(a.mean[k] - b.mean[k])
    if np.isnan(value):
        return Difference(*UNKNOWN, column.note)
    if column.single and column.pos_patients < 2:
        return Difference(value, *UNKNOWN[1:], "test undefined: positives of one patient")
    paired = a.influence[:, k].astype(np.float64) - b.influence[:, k]
    case = float(paired @ paired)
    for s in (a, b):
        if s.seeds > 1:
            own = float(np.square(s.influence[:, k], dtype=np.float64).sum())
            case -= max(own - float(s.covariance[k]), 0.0)
    case_df = spread_df(paired)
    if column.single:
        case_df = min(case_df, column.pos_patients - 1.0)
    parts = [(max(case, 0.0), max(case_df, 1.0))]
    note = ""
    repeats = [(s.seeds - 1, float(s.between[k])) for s in (a, b) if s.seeds > 1]
    if repeats:
        free = sum(f for f, _ in repeats)
        pooled = sum(f * v for f, v in repeats) / free
        parts.append((pooled * (1 / a.seeds + 1 / b.seeds), float(free)))
    if len(repeats) == 1:
        note = "one of the two has one seed: variance between trainings taken from the other"
    elif not repeats:
        note = ONE_SEED
    variance, df = satterthwaite(parts)
    if variance <= 0:
        same = "identical scores" if value == 0 else "test undefined: no spread in the sample"
        p = 1.0 if value == 0 else np.nan
        return Difference(value, value, value, 0.0, np.nan, p, np.nan, join(same, note))
    df = max(df, 1.0)
    se = float(np.sqrt(variance))
    half = float(stats.t.ppf(0.5 + level / 2, df)) * se
    p = float(2 * stats.t.sf(abs(value) / se, df))
    mde = minimum_detectable(se, df, level, power)
    return Difference(value, value - half, value + half, se, df, p, mde, join(column.note, note))
