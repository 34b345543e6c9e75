"""Paired cluster bootstrap: the same draws of patients for two score matrices of the same images.

The resampling counterpart of `paired.difference`, for one training of each method; where several seeds are
there, their spread enters through `comparison.compare`. Source: Field & Welsh 2007.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.evaluation.statistics.bootstrap import bootstrap, percentile_interval, point


@dataclass(frozen=True)
class PairedDraws:
    """One metric. delta: (C,) value of a minus value of b. draws: (B, C) of it; NaN where a draw lacks
    positives or negatives."""

    delta: np.ndarray
    draws: np.ndarray

    def interval(self, column: int | None = None, level: float = 0.95) -> tuple[float, float]:
        """Percentile limits of one class, or of the macro mean over the defined classes."""
        return percentile_interval(self._of(column), level)

    def p_value(self, column: int | None = None) -> float:
        """Two-sided: twice the smaller share of draws on either side of zero, at least 2 / (B + 1)."""
        draws = self._of(column)
        draws = draws[~np.isnan(draws)]
        if not len(draws):
            return float("nan")
        below, above = (draws <= 0).sum(), (draws >= 0).sum()
        return float(min(1.0, 2 * (min(below, above) + 1) / (len(draws) + 1)))

    def _of(self, column: int | None) -> np.ndarray:
        if column is not None:
            return self.draws[:, column]
        defined = ~np.isnan(self.delta)
        return np.asarray(self.draws[:, defined].mean(axis=1))


def paired_bootstrap(
    scores_a: np.ndarray,
    scores_b: np.ndarray,
    labels: np.ndarray,
    codes: np.ndarray,
    clusters: int,
    *,
    metric: str = "auroc",
    draws: int = 2000,
    seed: int = 0,
) -> PairedDraws:
    """scores_a, scores_b: (N, C) of the same images; labels (N, C) in {1, 0, -1}; codes (N,) patient
    numbers in 0..P-1; clusters: P. metric: one of RANK_METRICS."""
    values, resampled = [], []
    for scores in (scores_a, scores_b):
        found = bootstrap(scores, labels, codes, clusters, draws=draws, seed=seed, metrics=(metric,))
        values.append(point(scores, labels, (metric,))[0])
        resampled.append(found.of(metric))
    return PairedDraws(values[0] - values[1], resampled[0] - resampled[1])
