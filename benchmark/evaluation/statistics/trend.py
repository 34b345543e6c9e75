"""AUROC against training frequency: a smoothed trend over classes, with its band.

Local linear regression in log10(1 + frequency) with Gaussian weights (Cleveland 1979; Fan & Gijbels
1996). The fit is linear in the classes' values, f = L y, so its variance is L Σ Lᵀ + τ² L Lᵀ: Σ is the
patients' covariance of the classes from their influences, τ² the variance of classes around the trend
beyond it (at least 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.core.errors import MetricUndefined
from benchmark.evaluation.statistics.intervals import t_quantile


@dataclass(frozen=True)
class Trend:
    """frequency, value, low, high: (G,). slope: change of the value per tenfold frequency, by one
    straight line with its limits. classes: how many entered."""

    frequency: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    slope: float
    slope_low: float
    slope_high: float
    classes: int


def frequency_trend(
    frequency: np.ndarray,
    values: np.ndarray,
    influence: np.ndarray,
    *,
    bandwidth: float = 0.5,
    level: float = 0.95,
    points: int = 50,
) -> Trend:
    """frequency: (C,) training images a class (0: never named); values: (C,), NaN left out; influence:
    (P, C).

    bandwidth: standard deviation of the weights, in decades. Raises MetricUndefined with fewer than four
    classes or one single frequency.
    """
    known = np.flatnonzero(~np.isnan(values))
    x, y = np.log10(1 + np.asarray(frequency, float)[known]), np.asarray(values, float)[known]
    if len(x) < 4 or np.ptp(x) == 0:
        raise MetricUndefined("undefined: a trend needs four classes and two frequencies")
    grid = np.linspace(x.min(), x.max(), points)
    patients = np.asarray(influence[:, known], dtype=np.float64)
    covariance = patients.T @ patients
    at_classes = smoother(x, x, bandwidth)
    free = max(len(x) - float(np.trace(2 * at_classes - at_classes @ at_classes.T)), 1.0)
    residual = y - at_classes @ y
    away = np.eye(len(x)) - at_classes
    tau = max(float(residual @ residual - np.trace(away @ covariance @ away.T)) / free, 0.0)
    total = covariance + tau * np.eye(len(x))

    def fit(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        spread = np.sqrt(np.einsum("gc,cd,gd->g", weights, total, weights))
        return weights @ y, t_quantile(free, level) * spread

    value, half = fit(smoother(grid, x, bandwidth))
    centred = x - x.mean()
    (slope,), (reach,) = fit((centred / (centred @ centred))[None])
    return Trend(10**grid - 1, value, value - half, value + half, slope, slope - reach, slope + reach, len(x))


def smoother(at: np.ndarray, x: np.ndarray, bandwidth: float) -> np.ndarray:
    """(G, C) local linear weights: row g gives the fit at `at[g]`; rows sum to 1 and reproduce lines."""
    gap = x[None, :] - at[:, None]
    kernel = np.exp(-0.5 * np.square(gap / bandwidth)) + 1e-12
    s0, s1, s2 = (np.sum(kernel * gap**k, axis=1, keepdims=True) for k in range(3))
    return np.asarray(kernel * (s2 - s1 * gap) / (s0 * s2 - s1**2))
