"""Values that are means of trials (hits of a pointing game, recalls, Dice of images) or smooth functions of
such means, with the influence of every patient: the same intervals as the rank metrics have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.evaluation.statistics.intervals import Interval, linear_interval, spread_df, spread_dfs
from benchmark.evaluation.statistics.panel import Column, Panel


@dataclass(frozen=True)
class Trials:
    """One class or quantity. values: (n,) in [0, 1]. codes: (n,) patient of each, 0..P-1."""

    name: str
    values: np.ndarray
    codes: np.ndarray


def patient_influence(values: np.ndarray, codes: np.ndarray, clusters: int) -> np.ndarray:
    """(P,) influence of every patient on the mean of `values` (n,); its squares sum to the clustered
    variance (linearised ratio, with I/(I-1) for the I patients that have a trial)."""
    if len(values) == 0:
        return np.zeros(clusters)
    there = int(np.count_nonzero(np.bincount(codes, minlength=clusters)))
    grow = np.sqrt(there / (there - 1)) if there > 1 else 1.0
    sums = np.bincount(codes, values - values.mean(), clusters)
    return np.asarray(grow * sums / len(values))


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
    columns.append(Column("macro", "all", total, 0, 0, patients, patients, note=note))
    values.append(float(np.mean([g.values.mean() for g in used])) if used else np.nan)
    whole = [patient_influence(g.values, g.codes, clusters) for g in used]
    influence.append(np.mean(whole, axis=0) if used else np.zeros(clusters))
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
    return Column(name, "all", len(group.values), 0, 0, patients, patients, effective=effective)
