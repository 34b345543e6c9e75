"""False negative and false positive rates at fixed decisions, and their gaps between groups of patients.

A rate is the mean of the rates of the classes, each counting alike. The residuals of all its decisions are
centred at their common mean, so that no class whose few decisions are all alike passes for certain (as in
`pooling`); where the classes differ the variance is too large, never too small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from benchmark.evaluation.statistics.intervals import Interval, spread_df
from benchmark.evaluation.statistics.leverage import residual_scale
from benchmark.evaluation.statistics.panel import Column, Panel
from benchmark.evaluation.statistics.subgroups import gaps

AND = " & "
CROSSED = ("sex", "age", "view")
OLD = "60+"
YOUNG = "<60"
"""Bands of age: the four of the AUROC would leave too few positives of any class in each."""
_YOUNGER = ("<40", "40-59")


def crossed(subgroups: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The groups, with age in two bands, and the crossing of each two of sex, age and view."""
    found = dict(subgroups)
    if "age" in found:
        bands = [YOUNG if v in _YOUNGER else OLD if v else "" for v in found["age"]]
        found["age"] = np.array(bands, dtype=object)
    for one, two in combinations([name for name in CROSSED if name in subgroups], 2):
        pairs = zip(found[one], found[two], strict=True)
        found[one + AND + two] = np.array([a + AND + b if a and b else "" for a, b in pairs], dtype=object)
    return found


def rate(
    wrong: np.ndarray, counted: np.ndarray, codes: np.ndarray, clusters: int
) -> tuple[float, np.ndarray]:
    """Mean over classes of the share of counted decisions that are wrong, and its influence (P,).

    wrong, counted: (N, C) bool. codes: (N,) patients 0..P-1. Classes without a counted decision are left out;
    NaN where all are.
    """
    each = counted.sum(axis=0)
    used = each > 0
    if not used.any():
        return np.nan, np.zeros(clusters)
    share = np.zeros(len(each))
    share[used] = 1 / (each[used] * used.sum())
    value = float(((wrong & counted) * share).sum())
    residual = np.where(counted, (wrong - value) * share, 0.0).sum(axis=1)
    influence = np.bincount(codes, residual, clusters)
    return value, influence * residual_scale(np.bincount(codes, (counted * share).sum(axis=1), clusters))


def error_panel(
    metric: str,
    wrong: np.ndarray,
    counted: np.ndarray,
    codes: np.ndarray,
    clusters: int,
    classes: Sequence[str],
    subgroups: Mapping[str, np.ndarray],
    minimum: int,
) -> tuple[Panel, dict[str, list[int]]]:
    """One column a class, the macro mean, and one a level of each group; and group → its columns.

    A class enters the levels of a group where each of them has `minimum` counted decisions of it. A group
    with fewer than two levels is left out.
    """
    columns: list[Column] = []
    values: list[float] = []
    extra: list[float] = []
    influence: list[np.ndarray] = []
    groups: dict[str, list[int]] = {}

    def add(name: str, stratum: str, own: np.ndarray, note: str = "") -> None:
        value, moved = rate(wrong, own, codes, clusters)
        patients = len(np.unique(codes[own.any(axis=1)]))
        columns.append(Column(name, stratum, int(own.sum()), 0, 0, patients, patients, note=note))
        values.append(value)
        extra.append(_least_variance(value, patients))
        influence.append(moved)

    if len(classes) > 1:
        for c, name in enumerate(classes):
            only = np.zeros(len(classes), dtype=bool)
            only[c] = True
            add(name, "all", counted & only)
    add("macro", "all", counted)
    for name, levels in subgroups.items():
        masks = {level: levels == level for level in sorted(set(levels) - {""})}
        if len(masks) < 2:
            continue
        least = np.min([counted[mask].sum(axis=0) for mask in masks.values()], axis=0)
        shared = least >= minimum
        note = f"{shared.sum()} of {len(classes)} classes have {minimum} decisions in every level"
        groups[name] = []
        for level, mask in masks.items():
            groups[name].append(len(columns))
            add(
                "macro", f"{name}={level}", counted & shared & mask[:, None], note if len(classes) > 1 else ""
            )
    stacked = np.stack(influence, axis=1)
    df = np.array([spread_df(own) for own in influence])
    return Panel(metric, tuple(columns), np.array(values), stacked, np.array(extra), df), groups


def _least_variance(value: float, patients: int) -> float:
    """Of a rate of 0 or 1, whose decisions show none: with half a decision added to each side (Jeffreys)."""
    if not patients or value not in (0.0, 1.0):
        return 0.0
    share = 0.5 / (patients + 1)
    return share * (1 - share) / patients


def rate_gaps(panel: Panel, groups: Sequence[str], level: float) -> list[tuple[Column, Interval]]:
    """The gap between the level that fares best, with the lowest rate, and the worst, as `subgroups.gaps`."""
    right = Panel(panel.metric, panel.columns, 1 - panel.values, -panel.influence, panel.extra, panel.df)
    return [(column, replace(i, high=min(i.high, 1.0))) for column, i in gaps(right, groups, level)]
