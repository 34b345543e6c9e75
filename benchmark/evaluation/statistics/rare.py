"""AUROC of rare classes: a moderated variance, so that five positives still give a usable interval.

With few positive patients the empirical variance of their placements is itself nearly unknown. It is
averaged with what a binormal model of equal variances implies at the observed θ, weighing the model as
PRIOR_DF patients:

    σ² = (ν₀ · S(θ)/n₁ᵉ + ν · σ̂₁²) / (ν₀ + ν) + σ̂₀²       ν = positive patients - 1
    S(θ) = Φ₂(h, h; ½) - θ² = θ - 2 T(h, 1/√3) - θ²          h = Φ⁻¹(θ), T: Owen's function
    n₁ᵉ = n₁ / (1 + (m̄ - 1) ρ)      m̄ = Σm²/Σm positives a patient, ρ = within-patient correlation of ranks,
                                    estimated on the negatives, which are many; 1 where no patient has two

and the interval is logit(θ) ± t(ν₀ + ν) · σ / (θ(1-θ)). At θ near 0 or 1, where the logit has no width, the
model's score interval {θ': |θ - θ'| <= t · √(S(θ')/n₁ᵉ + S(θ')/n₀)} takes its place.

Sources: Hanley & McNeil 1982 and Newcombe 2006 (variance as a function of θ; score interval); Owen 1956 (T);
Smyth 2004 (moderated variances); Obuchowski 1997 and Kish 1965 (effective sample size of clusters).
"""

from __future__ import annotations

import numpy as np
from scipy import special

from benchmark.evaluation.statistics.distributions import t_ppf
from benchmark.evaluation.statistics.influence import InfluenceTable

PRIOR_DF = 20.0
"""Chosen by simulation among 5, 10, 20 and 30: nearest to 95% on average over shapes and counts."""
_GRID = np.linspace(0.0005, 0.9995, 2000)


def binormal_variance(theta: np.ndarray) -> np.ndarray:
    """Variance of one positive's placement where both classes are normal with equal variance."""
    h = special.ndtri(theta)
    return np.asarray(theta - 2 * special.owens_t(h, 1 / np.sqrt(3)) - theta**2)


def effective_positives(table: InfluenceTable) -> np.ndarray:
    """(C,) number of independent positives that carry the same information. Without two negatives of any
    patient nothing tells how alike a patient's images are, so all of them count as one."""
    icc = np.where(table.n_neg == table.neg_patients, 1.0, table.icc)
    return np.asarray(table.n_pos / (1 + (table.weight_pos - 1) * icc))


def moderated_variance(table: InfluenceTable) -> tuple[np.ndarray, np.ndarray]:
    """Variance (C,) of AUROC and its degrees of freedom (C,). NaN where AUROC is undefined."""
    theta = np.clip(table.values[table.metrics.index("auroc")], 0.02, 0.98)
    known = np.maximum(table.pos_patients - 1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        model = binormal_variance(theta) / effective_positives(table)
    positive = (PRIOR_DF * model + known * table.var_pos) / (PRIOR_DF + known)
    negative = np.where(table.neg_patients > 1, table.var_neg, model)
    return np.where(table.defined, positive + negative, np.nan), PRIOR_DF + known


def score_interval(
    theta: float, positives: float, negatives: int, df: float, level: float
) -> tuple[float, float]:
    """The values that the model would not reject at θ, from effective positives and negatives."""
    quantile = float(t_ppf(0.5 + level / 2, df))
    reach = quantile * np.sqrt(binormal_variance(_GRID) * (1 / positives + 1 / negatives))
    inside = _GRID[np.abs(theta - _GRID) <= reach]
    if len(inside) == 0:
        return theta, theta
    low = 0.0 if theta <= inside[0] else float(inside[0])
    high = 1.0 if theta >= inside[-1] else float(inside[-1])
    return low, high
