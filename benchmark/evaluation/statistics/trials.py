"""Values that are means of trials (hits of a pointing game, recalls, Dice of images) or smooth functions of
such means, with the influence of every patient: the same intervals as the rank metrics have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmark.evaluation.statistics.intervals import Interval, linear_interval, spread_df, spread_dfs
from benchmark.evaluation.statistics.leverage import residual_scale
from benchmark.evaluation.statistics.panel import Column, Panel
from benchmark.evaluation.statistics.pooling import centred, rare_classes


@dataclass(frozen=True)
class Trials:
    """One class or quantity. values: (n,) in [0, 1]. codes: (n,) patient of each, 0..P-1."""

    name: str
    values: np.ndarray
    codes: np.ndarray


def wins(higher: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """1 where the first is larger, 0.5 where they are equal, else 0; as the two arrays broadcast."""
    won: np.ndarray = (higher > lower) + 0.5 * (higher == lower)
    return won


def patient_influence(values: np.ndarray, codes: np.ndarray, clusters: int) -> np.ndarray:
    """(P,) influence of every patient on the mean of `values` (n,); its squares sum to the clustered
    variance (linearised ratio, with the factor of `leverage`)."""
    if len(values) == 0:
        return np.zeros(clusters)
    scale = residual_scale(np.bincount(codes, minlength=clusters))
    return np.asarray(scale * np.bincount(codes, values - values.mean(), clusters) / len(values))


def mean_influence(groups: Sequence[Trials], clusters: int) -> np.ndarray:
    """(P,) influence of every patient on the unweighted mean over groups, all of which have trials.

    Groups of few patients are centred at one mean, as rare classes are (`pooling`): with a single patient
    each would seem certain.
    """
    rare = rare_classes(np.array([len(np.unique(g.codes)) for g in groups]), np.arange(len(groups)))
    kept = [g for i, g in enumerate(groups) if i not in rare]
    total = sum((patient_influence(g.values, g.codes, clusters) for g in kept), start=np.zeros(clusters))
    if len(rare):
        patient, share, y = (
            np.concatenate(part) for part in zip(*(_units(groups[i]) for i in rare), strict=True)
        )
        total = total + np.bincount(patient, centred(share, y), clusters)
    return total / len(groups)


def _units(group: Trials) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each patient with a trial (U,): code, share in the trials, and mean."""
    held = np.bincount(group.codes)
    there = np.flatnonzero(held)
    return there, held[there] / len(group.codes), np.bincount(group.codes, group.values)[there] / held[there]


def trial_panel(metric: str, groups: Sequence[Trials], clusters: int, note: str = "") -> Panel:
    """One column a group, then `macro`: the unweighted mean of the groups that have trials.

    n_pos counts trials. note: of the macro column. A single group has the macro column only.
    """
    used = [g for g in groups if len(g.values)]
    values = [float(g.values.mean()) for g in used]
    influence = [patient_influence(g.values, g.codes, clusters) for g in used]
    columns = [_column(g.name, g, float(len(g.values))) for g in used]
    if len(used) == 1:
        columns, values, influence = [], [], []
    total = sum(len(g.values) for g in used)
    patients = len(np.unique(np.concatenate([g.codes for g in used]))) if used else 0
    if len(used) < len(groups):
        missing = f"mean of {len(used)} of {len(groups)} classes; the others have no trial"
        note = "; ".join(filter(None, [note, missing]))
    worth = min(_worth(used), patients)
    columns.append(Column("macro", "all", total, 0, 0, patients, patients, note=note, worth=worth))
    values.append(float(np.mean([g.values.mean() for g in used])) if used else np.nan)
    influence.append(mean_influence(used, clusters) if used else np.zeros(clusters))
    stacked = np.stack(influence, axis=1)
    df = spread_dfs(stacked)
    return Panel(metric, tuple(columns), np.array(values), stacked, np.zeros(len(columns)), df)


def smooth_interval(value: float, influence: np.ndarray, level: float, note: str = "") -> Interval:
    """Symmetric interval of a smooth function of means (a distance, a cosine) from its influence (P,)."""
    variance = float(np.square(influence, dtype=np.float64).sum())
    if not variance > 0:
        return Interval(value, np.nan, np.nan, note)
    return Interval(value, *linear_interval(value, variance, spread_df(influence), level), note)


def _column(name: str, group: Trials, effective: float) -> Column:
    patients = len(np.unique(group.codes))
    found = Column(name, "all", len(group.values), 0, 0, patients, patients, effective=effective)
    return replace(found, worth=_worth([group]))


def _worth(groups: Sequence[Trials]) -> float:
    """Number of equally weighing patients with the same concentration: (Σm)²/Σm² of one group's trials, and
    (Σq)²/Σq² over q = m² of several, as `pooling.Support`. Infinite without trials."""
    parts = [_units(g)[1] for g in groups]
    held = np.concatenate(parts) if parts else np.empty(0)
    weight = held if len(groups) == 1 else held**2
    return float(weight.sum() ** 2 / np.square(weight).sum()) if len(held) else np.inf
