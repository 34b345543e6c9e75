"""Saved scores of several seeds on one evaluation set, and their panels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmark.evaluation.statistics.influence import patient_codes
from benchmark.evaluation.statistics.panel import Panel, build_panels, resolve_strata, strata_contrast


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
    return _panels(own, _groups(own))


def contrasts_of(own: Scores, stratum: str, against: str) -> list[Panel] | None:
    """One AUROC panel a seed, of one column: the macro mean of one stratum minus that of another. Only their
    classes are ranked. None where there is no such stratum."""
    groups = {"all": np.arange(len(own.classes)), **_groups(own)}
    if stratum not in groups or against not in groups:
        return None
    chosen = {name: groups[name] for name in (stratum, against)}
    used = np.unique(np.concatenate(list(chosen.values())))
    classes = tuple(own.classes[k] for k in used)
    fewer = replace(own, classes=classes, labels=own.labels[:, used], scores=own.scores[:, :, used])
    panels = _panels(fewer, {name: np.searchsorted(used, members) for name, members in chosen.items()})
    found = [strata_contrast(panel, stratum, against) for panel in panels]
    return [panel for panel in found if panel is not None]


def _groups(own: Scores) -> dict[str, np.ndarray]:
    return resolve_strata((own.labels == 1).sum(axis=0), list(own.classes), own.strata)


def _panels(own: Scores, groups: dict[str, np.ndarray]) -> list[Panel]:
    codes, clusters, _ = patient_codes(own.patients, len(own.labels))
    return [
        build_panels(
            scores,
            own.labels,
            codes,
            clusters,
            own.classes,
            groups,
            metrics=("auroc",),
            micro=False,
            dtype=np.float32,
        )["auroc"]
        for scores in own.scores
    ]
