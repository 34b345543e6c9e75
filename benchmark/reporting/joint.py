"""Saved scores of several seeds on one evaluation set, and their panels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.evaluation.statistics.influence import patient_codes
from benchmark.evaluation.statistics.panel import Panel, build_panels, resolve_strata


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
    """One AUROC panel a seed, with the strata as the evaluation drew them and no micro average, which ranks
    all pairs of an image and a class and is read by nothing here."""
    codes, clusters, _ = patient_codes(own.patients, len(own.labels))
    names = list(own.classes)
    groups = resolve_strata((own.labels == 1).sum(axis=0), names, own.strata)
    return [
        build_panels(
            scores,
            own.labels,
            codes,
            clusters,
            names,
            groups,
            metrics=("auroc",),
            micro=False,
            dtype=np.float32,
        )["auroc"]
        for scores in own.scores
    ]
