"""Linear contrasts of methods on the same images, with seeds as a random effect: paired comparisons, and the
effects of factors and their interactions.

    Var(Σ wᵢ x̄ᵢ) = Σ wᵢ² MSᵢ / Sᵢ + Σᵢⱼ wᵢ wⱼ Covᵢⱼ

MSᵢ is the method's own variance between seeds (Welch: methods differ in how much their trainings vary),
pooled over the others for a method with one seed; Covᵢⱼ is Cov₂ of one method where i = j and the
covariance of two methods through shared patients otherwise. The test is Σ wᵢ x̄ᵢ / SE against t with
Satterthwaite's degrees of freedom, at most `Column.freedom`: a patients' part that few patients happen to
make small must not leave the test to the seeds. The patients' part of an average centres rare classes
together (`pooling`), so that interval, p and minimum detectable effect rest on one variance. Below
`pooling.LEAST_PATIENTS` positive patients there is no test. With the weights 1 and -1, one seed each and
one image a patient this is the paired test of DeLong et al. 1988; with clusters Obuchowski's 1997. Sources:
Obuchowski & Rockette 1995; Hillis 2014 (readers nested in tests, as seeds are in methods); Welch 1947;
minimum detectable effect: Bloom 1995.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.evaluation.statistics.distributions import t_ppf, t_sf
from benchmark.evaluation.statistics.intervals import join, satterthwaite, spread_dfs
from benchmark.evaluation.statistics.seeds import ONE_SEED, SeedSummary, seed_parts


@dataclass(frozen=True)
class Difference:
    """A - B, or another contrast. p is two-sided and uncorrected; mde: the true difference found with the
    wanted power. undefined: why there is no test, empty where there is one. few: whether few positive
    patients carry the value."""

    value: float
    low: float
    high: float
    se: float
    df: float
    p: float
    mde: float
    note: str = ""
    undefined: str = ""
    few: bool = False


UNKNOWN = (np.nan,) * 7


def minimum_detectable(se: Any, df: Any, level: Any, power: float) -> Any:
    """Smallest true difference that a two-sided test at 1 - level finds with probability `power`.

    Floats or arrays of one shape; level: of the test that decides, so corrected for its family. NaN in, NaN
    out.
    """
    return (t_ppf(0.5 + level / 2, df) + t_ppf(power, df)) * se


def predicted_power(effect: float, se: float, df: float, level: float) -> float:
    """Probability that a true difference of this size is found (non-central t)."""
    from scipy import stats

    critical = t_ppf(0.5 + level / 2, df)
    shift = abs(effect) / se
    wrong = (
        stats.nct.cdf(-critical, df, shift) if shift < 3 else 0.0
    )  # below 1e-6, and SciPy's cdf fails far out
    return float(stats.nct.sf(critical, df, shift) + wrong)


def difference(a: SeedSummary, b: SeedSummary, k: int, level: float, power: float) -> Difference:
    """Compare column k of two summaries over the same images and classes."""
    return contrasts((a, b), (1.0, -1.0), level, power, columns=(k,))[0]


def contrasts(
    summaries: Sequence[SeedSummary],
    weights: Sequence[float],
    level: float,
    power: float,
    columns: Sequence[int] | None = None,
) -> list[Difference]:
    """Σ wᵢ x̄ᵢ of every column (default: all) of summaries over the same images and classes.

    weights: one a summary; their sum is 0 in a contrast. Where a value is undefined, so is the contrast.
    Raises ValueError where the numbers of summaries and weights differ.
    """
    pairs = list(zip(summaries, weights, strict=True))
    ks = np.arange(len(summaries[0].columns)) if columns is None else np.asarray(columns, dtype=int)
    about = [summaries[0].columns[k] for k in ks]
    value = np.sum([w * s.mean[ks] for s, w in pairs], axis=0)
    patients = patients_part(summaries, weights, ks)
    parts: list[tuple[np.ndarray, np.ndarray | float]] = [patients]
    repeated = sum(s.seeds > 1 for s, _ in pairs)
    parts += seed_parts([w for _, w in pairs], [s.between[ks] for s, _ in pairs], [s.seeds for s, _ in pairs])
    variance, df = satterthwaite(parts)
    freedom = np.array([c.freedom for c in about])
    df = np.maximum(np.minimum(df, freedom), 1.0)
    se = np.sqrt(variance)
    half = t_ppf(0.5 + level / 2, df) * se
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * t_sf(np.abs(value) / se, df)
    mde = (t_ppf(0.5 + level / 2, df) + t_ppf(power, df)) * se
    seeds = _seed_note(repeated, len(pairs))
    found = []
    for j, column in enumerate(about):
        own_value = float(value[j])
        if np.isnan(own_value):
            found.append(Difference(*UNKNOWN, column.note, undefined=column.note, few=column.few))
        elif column.untested:
            why = column.untested
            found.append(Difference(own_value, *UNKNOWN[1:], why, undefined=why, few=True))
        elif variance[j] <= 0:
            same = "identical scores" if own_value == 0 else "test undefined: no spread in the sample"
            own_p = 1.0 if own_value == 0 else np.nan
            note = join(same, column.few_note, seeds)
            why = "" if own_value == 0 else same
            found.append(
                Difference(own_value, own_value, own_value, 0.0, np.nan, own_p, np.nan, note, why, column.few)
            )
        else:
            low, high = own_value - float(half[j]), own_value + float(half[j])
            error, freed, chance, least = (float(x[j]) for x in (se, df, p, mde))
            note = join(column.note, column.few_note, seeds)
            found.append(Difference(own_value, low, high, error, freed, chance, least, note, few=column.few))
    return found


def patients_part(
    summaries: Sequence[SeedSummary], weights: Sequence[float], columns: Sequence[int] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Variance of Σ wᵢ x̄ᵢ through the patients that all trainings share, (K,), and its degrees of freedom,
    (K,), of these columns. What trainings add on the same patients is in the variance between seeds; of a
    method with one seed it is in this part."""
    ks = np.asarray(columns, dtype=int)
    pairs = list(zip(summaries, weights, strict=True))
    combined = np.sum([w * s.influence[:, ks].astype(np.float64) for s, w in pairs], axis=0)
    case = np.square(combined).sum(axis=0)
    for s, w in pairs:
        if s.seeds > 1:
            own = np.square(s.influence[:, ks], dtype=np.float64).sum(axis=0)
            case -= w**2 * np.maximum(own - s.covariance[ks], 0.0)
    freedom = np.array([summaries[0].columns[k].freedom for k in ks])
    case_df = np.maximum(np.minimum(spread_dfs(combined), freedom), 1.0)
    return np.maximum(case, 0.0), case_df


def _seed_note(repeated: int, methods: int) -> str:
    if not repeated:
        return ONE_SEED
    if repeated == methods:
        return ""
    if methods == 2:
        return "one of the two has one seed: variance between trainings taken from the other"
    return "some have one seed: variance between trainings taken from the others"
