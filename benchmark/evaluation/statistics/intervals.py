"""Intervals from influence functions, on the logit scale with a t quantile.

The logit keeps limits inside (0, 1) and restores symmetry near the ends; the t quantile pays for a variance
that few patients determine. Sources: Pepe 2003 sec. 5.2 (logit interval of AUROC); Boyd, Eng & Page 2013 (of
the area under precision-recall); Satterthwaite 1946 (degrees of freedom of a sum of variances).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from benchmark.evaluation.statistics.influence import InfluenceTable
from benchmark.evaluation.statistics.rare import moderated_interval, moderated_variance

RARE_PATIENTS = 20
"""Below that many positive patients no method keeps 93-97% for every shape of scores (docs/statistics.md)."""
NO_SPREAD = "interval undefined: no spread in the sample"


@dataclass(frozen=True)
class Interval:
    """value, low, high; note says why a limit or the value is missing (NaN) or what to distrust."""

    value: float
    low: float
    high: float
    note: str = ""


@dataclass(frozen=True)
class Combination:
    """A linear combination of per-class values: its variance, degrees of freedom and influence (P,)."""

    value: float
    variance: float
    df: float
    influence: np.ndarray
    note: str = ""


def t_quantile(df: float | np.ndarray, level: float) -> np.ndarray:
    return np.asarray(stats.t.ppf(0.5 + level / 2, np.maximum(df, 1.0)))


def logit_interval(value: float, variance: float, df: float, level: float) -> tuple[float, float]:
    """Limits of a proportion-like value in (0, 1). NaN where the value sits on an end or has no variance."""
    if not 0 < value < 1 or not variance > 0:
        return np.nan, np.nan
    half = float(t_quantile(df, level)) * np.sqrt(variance) / (value * (1 - value))
    centre = special.logit(value)
    return float(special.expit(centre - half)), float(special.expit(centre + half))


def linear_interval(value: float, variance: float, df: float, level: float) -> tuple[float, float]:
    """Symmetric limits, for differences."""
    half = float(t_quantile(df, level)) * np.sqrt(variance)
    return value - half, value + half


def spread_df(influence: np.ndarray) -> float:
    """Degrees of freedom of Σ d² over patients, from its own sampling variance Σ d⁴ - (Σ d²)²/P.

    Equals about P for normal influences and the number of patients that matter where few dominate.
    """
    square = np.square(influence, dtype=np.float64)
    total = float(square.sum())
    if total <= 0:
        return 1.0
    noise = float(square @ square) - total**2 / len(square)
    return float(np.clip(2 * total**2 / max(noise, 1e-300), 1.0, len(square)))


def class_intervals(table: InfluenceTable, metric: str, level: float) -> list[Interval]:
    """Interval of every class. AUROC: moderated variance; others: logit with the influence variance."""
    if metric == "auroc":
        low, high = moderated_interval(table, level)
        limits = list(zip(low.tolist(), high.tolist(), strict=True))
    else:
        values, influence = table.of(metric)
        variance = np.square(influence, dtype=np.float64).sum(axis=0)
        limits = [
            logit_interval(float(v), float(s), n - 1, level) if n > 1 else (np.nan, np.nan)
            for v, s, n in zip(values, variance, table.pos_patients, strict=True)
        ]
    return [_class_interval(table, metric, j, *limits[j]) for j in range(len(limits))]


def _class_interval(table: InfluenceTable, metric: str, column: int, low: float, high: float) -> Interval:
    if reason := table.reason(column):
        return Interval(np.nan, np.nan, np.nan, reason)
    patients = int(table.pos_patients[column])
    note = ""
    if np.isnan(low):
        note = NO_SPREAD if patients > 1 else "interval undefined: positives of one patient"
    elif patients < RARE_PATIENTS:
        note = f"few positive patients ({patients}): coverage not assured"
    return Interval(float(table.of(metric)[0][column]), low, high, note)


def combine(table: InfluenceTable, metric: str, weights: np.ndarray) -> Combination:
    """Σ w_c · value_c over defined classes; weights (C,) are rescaled to sum to 1 over those.

    Rare classes enter with their moderated variance, since the empirical one is unreliable there.
    """
    values, influence = table.of(metric)
    w = np.where(table.defined, weights, 0.0)
    used, asked = np.count_nonzero(w), np.count_nonzero(weights)
    empty = np.zeros(influence.shape[0])
    if used == 0:
        why = "undefined: no class has both positives and negatives" if asked else "undefined: no class"
        return Combination(np.nan, np.nan, 1.0, empty, why)
    w = w / w.sum()
    picked = np.flatnonzero(w)
    patients = influence[:, picked] @ w[picked]
    variance = raw = float(np.square(patients, dtype=np.float64).sum())
    if metric == "auroc":
        own = np.square(influence[:, picked], dtype=np.float64).sum(axis=0)
        extra = moderated_variance(table)[0][picked] - own
        variance = max(raw + float(np.square(w[picked]) @ extra), raw / 2)
    note = (
        "" if used == asked else f"mean of {used} of {asked} classes; the others lack positives or negatives"
    )
    return Combination(float(w[picked] @ values[picked]), variance, spread_df(patients), patients, note)


def macro_weights(table: InfluenceTable, columns: np.ndarray | None = None) -> np.ndarray:
    """Equal weights on `columns` (all by default)."""
    weights = np.zeros(len(table.n_pos))
    weights[slice(None) if columns is None else columns] = 1.0
    return weights


def combination_interval(combination: Combination, level: float) -> Interval:
    c = combination
    if np.isnan(c.value):
        return Interval(np.nan, np.nan, np.nan, c.note)
    low, high = logit_interval(c.value, c.variance, c.df, level)
    note = c.note
    if np.isnan(low):
        note = "; ".join(filter(None, [note, NO_SPREAD]))
    return Interval(c.value, low, high, note)
