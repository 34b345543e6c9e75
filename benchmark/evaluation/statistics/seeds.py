"""Several trainings of one method: seeds are a random effect, patients another, and both enter every
interval.

For S seeds on the same P patients, let x̄ be the mean over seeds. Then

    Var(x̄) = MS / S + Cov₂

MS: variance between the seeds' values (training and training × patients); Cov₂: covariance of two seeds'
values through the patients they share, from the influences. This is the Obuchowski-Rockette model with
seeds as readers (Obuchowski & Rockette 1995; Hillis 2007, 2014 for degrees of freedom and nested
readers). With one seed the training variance is unknown and the row says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.evaluation.statistics.intervals import (
    Interval,
    join,
    satterthwaite,
    spread_dfs,
)
from benchmark.evaluation.statistics.panel import Column, Panel, column_interval

ONE_SEED = "one seed: variance between trainings not included"


@dataclass(frozen=True)
class SeedSummary:
    """One metric of one method over S seeds. values: (S, K). influence: (P, K), mean over seeds.

    covariance: (K,) Cov₂. between: (K,) MS, NaN with one seed. extra: (K,) moderation of rare classes.
    df: (K,) of the patients' part.
    """

    metric: str
    columns: tuple[Column, ...]
    values: np.ndarray
    influence: np.ndarray
    covariance: np.ndarray
    between: np.ndarray
    extra: np.ndarray
    df: np.ndarray

    @property
    def seeds(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> np.ndarray:
        """(K,)."""
        return np.asarray(self.values.mean(axis=0))

    def interval(self, k: int, level: float) -> Interval:
        """Mean over seeds with an interval that includes patients and seeds."""
        shared = self.covariance[k] + self.extra[k]
        parts = [(max(shared, self.covariance[k] / 2), self.df[k])]
        if self.seeds > 1:
            parts.append((self.between[k] / self.seeds, self.seeds - 1.0))
        variance, df = satterthwaite(parts)
        value = float(self.mean[k])
        interval = column_interval(self.metric, self.columns[k], value, float(variance), float(df), level)
        lone = ONE_SEED if self.seeds == 1 and not np.isnan(interval.value) else ""
        return Interval(interval.value, interval.low, interval.high, join(interval.note, lone))


class SeedAccumulator:
    """Adds panels of one method and metric one at a time, so that only a mean influence is kept."""

    def __init__(self) -> None:
        self._panel: Panel | None = None
        self._values: list[np.ndarray] = []
        self._own: list[np.ndarray] = []
        self._extra: list[np.ndarray] = []
        self._sum = np.empty(0)

    def add(self, panel: Panel) -> None:
        """Panels of one accumulator must share columns and patients."""
        if self._panel is None:
            self._panel, self._sum = panel, panel.influence.copy()
        else:
            self._sum += panel.influence
        self._values.append(panel.values)
        self._own.append(np.square(panel.influence, dtype=np.float64).sum(axis=0))
        self._extra.append(panel.extra)

    def summary(self) -> SeedSummary:
        if self._panel is None:
            raise ValueError("no panel was added")
        panel, seeds = self._panel, len(self._values)
        influence = self._sum / np.asarray(seeds, dtype=self._sum.dtype)
        covariance = np.square(influence, dtype=np.float64).sum(axis=0)
        values = np.stack(self._values)
        between = np.full(values.shape[1], np.nan)
        if seeds > 1:
            covariance = (covariance - np.mean(self._own, axis=0) / seeds) * seeds / (seeds - 1)
            between = values.var(axis=0, ddof=1)
        single = np.array([c.single for c in panel.columns])
        spread = spread_dfs(influence)
        df = np.where(single, panel.df, spread)
        extra = np.mean(self._extra, axis=0)
        return SeedSummary(
            panel.metric, panel.columns, values, influence, np.maximum(covariance, 0.0), between, extra, df
        )


def seed_parts(
    weights: Sequence[float], between: Sequence[Any], seeds: Sequence[int]
) -> list[tuple[Any, float]]:
    """Variance of Σ wᵢ x̄ᵢ through seeds: independent (variance, df) parts, one a method with several seeds.

    between: variance between the seeds of each method, floats or arrays of one shape; not read for a method
    with one seed, which takes the others' pooled. Methods differ in how much their trainings vary, so each
    keeps its own (Welch 1947).
    """
    known = list(zip(weights, between, seeds, strict=True))
    free = sum(s - 1 for _, _, s in known)
    lone = sum(w**2 for w, _, s in known if s == 1)
    return [(v * (w**2 / s + lone * (s - 1) / free), s - 1.0) for w, v, s in known if s > 1]


def summarise(panels: Sequence[Panel]) -> SeedSummary:
    """Summary of one method's panels, one a seed."""
    accumulator = SeedAccumulator()
    for panel in panels:
        accumulator.add(panel)
    return accumulator.summary()
