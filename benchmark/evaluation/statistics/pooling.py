"""Averages over rare classes: their positives are centred at one mean, so that no class loses its variance.

The influence of a positive on its class's value is its distance from the class's mean. In a class with one
positive patient that distance is 0, and in classes with few it is too small, so a sum of squared influences
takes a macro mean over rare classes for nearly certain. Therefore the classes of an average with at most
`RARE_CLASS` positive patients (and the next rarest, until the group holds `GROUP_UNITS` pairs of patient and
class) form one group G, and each of its units u = (patient, class) counts

    w_c h_u √(N/(N-1)) (y_u - ȳ_G)        h_u: share of the unit in the positives of its class c,
                                          y_u: mean placement of the unit's images, N: units of G

instead of w_c h_u (y_u - θ_c). For a difference of two methods y_u is the difference of their placements;
the centring is linear, so it is done run by run. Where the classes of G differ equally much, the sum of
squares is unbiased whatever the variances of the classes, and it keeps what patients who recur in several
classes add; where classes differ unequally it is too large, never too small.

Source: collapsed strata in surveys, "lonely" units centred at the mean of their neighbours (Hansen, Hurwitz
& Madow 1953 vol. II; Wolter 2007 sec. 2.5); residuals summed within patients (Obuchowski 1997).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.evaluation.statistics.influence import InfluenceTable

RARE_CLASS = 10
"""Positive patients up to which a class is centred with others: the tail of CARZero's rule."""
GROUP_UNITS = 10
LEAST_PATIENTS = 3
"""An average over fewer distinct positive patients is not tested: one degree of freedom tells nothing."""


@dataclass(frozen=True)
class Support:
    """What the positives allow to say of an average. patients: distinct patients with a positive.

    freedom: most degrees of freedom. worth: number of equally weighing units with the same concentration,
    (Σq)²/Σq² over q = (w_c h_u)², at most the number of patients; below it where few rare classes carry the
    variance.
    """

    patients: int
    freedom: float
    worth: float


def support(table: InfluenceTable, weights: np.ndarray) -> Support:
    """Of the average with these weights (C,) over the classes of a table."""
    units = table.units
    used = weights[units.of_class] != 0
    if not used.any():
        return Support(0, 0.0, 0.0)
    classes, patients = units.of_class[used], units.patient[used]
    share = np.square(weights[classes] * units.share[used])
    group = rare_classes(table.pos_patients, np.flatnonzero(weights))
    groups = len(np.setdiff1d(np.flatnonzero(weights), group)) + bool(len(group))
    distinct = len(np.unique(patients))
    freedom = float(min(len(classes) - groups, distinct - 1))
    worth = float(share.sum() ** 2 / np.square(share).sum())
    return Support(distinct, freedom, min(worth, float(distinct)))


def centred(share: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(N,) influence of each unit of a group on its class, from the mean over the group; all arrays (N,)."""
    return np.asarray(np.sqrt(len(y) / max(len(y) - 1, 1)) * share * (y - y.mean()))


def averaged(
    table: InfluenceTable, metric: str, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Influence (P,) of the average with `weights` (C,); the classes that were pooled (G,), and the sum of
    squares (G,) that each adds on its own."""
    values, influence = table.of(metric)
    picked = np.flatnonzero(weights)
    total = influence[:, picked] @ weights[picked].astype(influence.dtype)
    group = rare_classes(table.pos_patients, picked)
    if not len(group):
        return total, group, np.empty(0)
    units = table.units
    place = np.full(len(weights), -1)
    place[group] = np.arange(len(group))
    own = np.flatnonzero(place[units.of_class] >= 0)
    column, patient, share = place[units.of_class[own]], units.patient[own], units.share[own]
    old = units.influence[table.metrics.index(metric), own]
    y = values[units.of_class[own]] + old / share
    step = centred(share, y) - units.scale[own] * old
    total = total + np.bincount(patient, weights[group][column] * step, len(total)).astype(total.dtype)
    before = influence[patient, units.of_class[own]].astype(np.float64)
    squares = np.square(influence[:, group], dtype=np.float64).sum(axis=0)
    squares += np.bincount(column, np.square(before + step) - np.square(before), len(group))
    return total, group, squares


def rare_classes(patients: np.ndarray, picked: np.ndarray) -> np.ndarray:
    """Those of the classes `picked` of an average that are centred together, empty where none is rare.

    patients: (C,) patients with a positive (or with a trial) of each class.
    """
    own = patients[picked]
    order = picked[np.argsort(own, kind="stable")]
    count = int(np.count_nonzero(own <= RARE_CLASS))
    if count == 0 or len(picked) == 1:
        return np.empty(0, dtype=int)
    reached = np.searchsorted(np.cumsum(patients[order]), GROUP_UNITS) + 1
    return order[: max(count, int(reached))]
