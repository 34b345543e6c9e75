"""Scores of several seeds on one evaluation set, and contrasts that need the scores of several classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmark.evaluation.statistics.influence import patient_codes
from benchmark.evaluation.statistics.panel import Panel, build_panels, resolve_strata
from benchmark.evaluation.statistics.seeds import SeedAccumulator, SeedSummary


@dataclass(frozen=True)
class Scores:
    """Predictions of several seeds on one evaluation set. scores: (S, N, C); labels: (N, C)."""

    classes: tuple[str, ...]
    labels: np.ndarray
    patients: np.ndarray
    scores: np.ndarray
    seeds: tuple[int, ...]
    strata: dict[str, tuple[str, ...]]


def panels_of(own: Scores) -> list[Panel]:
    """One AUROC panel a seed, with the strata as the evaluation drew them."""
    codes, clusters, _ = patient_codes(own.patients, len(own.labels))
    names = list(own.classes)
    groups = resolve_strata((own.labels == 1).sum(axis=0), names, own.strata)
    return [
        build_panels(
            scores, own.labels, codes, clusters, names, groups, metrics=("auroc",), dtype=np.float32
        )["auroc"]
        for scores in own.scores
    ]


def accumulate(panels: Sequence[Panel]) -> SeedSummary:
    accumulator = SeedAccumulator()
    for panel in panels:
        accumulator.add(panel)
    return accumulator.summary()


def strata_contrast(panel: Panel, stratum: str, against: str) -> Panel | None:
    """One column: the macro mean of `stratum` minus that of `against`; None where a stratum is missing."""
    where = {c.stratum: k for k, c in enumerate(panel.columns) if c.name == "macro"}
    if stratum not in where or against not in where:
        return None
    i, j = where[stratum], where[against]
    influence = (panel.influence[:, [i]] - panel.influence[:, [j]]).astype(panel.influence.dtype)
    column = replace(panel.columns[i], stratum=f"{stratum} - {against}")
    return Panel(
        panel.metric,
        (column,),
        panel.values[[i]] - panel.values[[j]],
        influence,
        panel.extra[[i]] + panel.extra[[j]],
        np.minimum(panel.df[[i]], panel.df[[j]]),
    )
