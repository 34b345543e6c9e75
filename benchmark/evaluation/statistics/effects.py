"""Effects with their intervals and tests: one contrast, its mean over evaluation sets, a mean over seeds.

Sets have different patients, so the patients' parts of the variance add; but the same trained models are
evaluated on all of them, so the seeds' part is taken from the seeds' averages over the sets, never added as
if it were independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from benchmark.evaluation.statistics.distributions import norm_ppf, t_sf
from benchmark.evaluation.statistics.intervals import Interval, logit_interval, satterthwaite, t_quantile
from benchmark.evaluation.statistics.seeds import seed_parts


@dataclass(frozen=True)
class Effect:
    """value ± interval of a contrast. datasets: what it averages. seeds: (S,) values of every method's
    trainings, empty where they are not known. rounding: (V,) of every method, what rounding alone changes,
    empty where that was not measured."""

    value: float
    low: float
    high: float
    se: float
    df: float
    datasets: tuple[str, ...]
    note: str = ""
    seeds: tuple[np.ndarray, ...] = ()
    rounding: tuple[np.ndarray, ...] = ()

    def p_against(self, margin: float) -> float:
        """Two-sided p of the hypothesis that the effect equals `margin`; NaN without a standard error."""
        if self.se == 0:
            return 1.0 if self.value == margin else 0.0
        if np.isnan(self.se):
            return float("nan")
        return float(2 * t_sf(abs(self.value - margin) / self.se, self.df))


def effect_of(
    value: float, variance: float, df: float, level: float, datasets: Sequence[str], note: str = ""
) -> Effect:
    """With a t interval. variance: of the value; df: its degrees of freedom."""
    se = float(np.sqrt(variance))
    half = t_quantile(df, level) * se
    return Effect(value, value - half, value + half, se, max(df, 1.0), tuple(datasets), note)


def mean_over_sets(effects: Sequence[Effect], level: float) -> Effect:
    """Unweighted mean of the same contrast of two methods on several sets.

    Var = Σ case_d / D² + Var(seed averages); case_d is what a set's own variance holds beside its seeds'
    part. Where the seeds of some set are not known, or are others, nothing tells how they go together: the
    standard errors are averaged, which is never too small.
    """
    if len(effects) == 1:
        return effects[0]
    count = len(effects)
    value = float(np.mean([e.value for e in effects]))
    note = "; ".join(dict.fromkeys(e.note for e in effects if e.note))
    datasets = [d for e in effects for d in e.datasets]
    if len({tuple(len(v) for v in e.seeds) for e in effects}) > 1 or not effects[0].seeds:
        mean = float(np.mean([e.se for e in effects])) ** 2
        return effect_of(value, mean, min(e.df for e in effects), level, datasets, note)
    parts = []
    for e in effects:
        own = _parts(e.seeds)
        case = max(e.se**2 - sum(v for v, _ in own), 0.0)
        below = e.se**4 / e.df - sum(v**2 / df for v, df in own)
        df = case**2 / below if below > 0 and case > 0 else e.df
        parts.append((case / count**2, max(df, 1.0)))
    parts += _parts([np.mean(v, axis=0) for v in zip(*(e.seeds for e in effects), strict=True)])
    variance, df = satterthwaite(parts)
    return effect_of(value, float(variance), float(df), level, datasets, note)


def _parts(seeds: Sequence[np.ndarray]) -> list[tuple[float, float]]:
    """Variance parts of a difference of two means over seeds."""
    between = [float(np.var(v, ddof=1)) if len(v) > 1 else np.nan for v in seeds]
    return seed_parts([1.0] * len(seeds), between, [len(v) for v in seeds])


def over_seeds_only(differences: np.ndarray, level: float, dataset: str) -> Effect:
    """Mean of paired differences of trainings (S,), S at least 2: patients are not in its interval."""
    count = len(differences)
    variance = float(np.var(differences, ddof=1)) / count
    mean = float(np.mean(differences))
    found = effect_of(mean, variance, count - 1.0, level, [dataset], "interval over seeds only")
    return replace(found, seeds=(differences,))


def mean_over_seeds(
    values: np.ndarray, low: np.ndarray, high: np.ndarray, level: float, *, share: bool
) -> Interval:
    """Mean over seeds (S,) of a quantity of which only each seed's interval is known.

    Var = mean of the seeds' own variances (their patients are the same) + spread of the seeds / S; the first
    is conservative, as it holds part of the second. share: values lie in [0, 1], so the interval is on the
    logit scale, as that of AUROC is. Where one value is undefined, so is the mean; where no seed has an
    interval, the mean has none, as nothing is known of the patients' part.
    """
    values, low, high = (np.asarray(x, dtype=float) for x in (values, low, high))
    mean = float(values.mean())
    if np.isnan(mean):
        return Interval(mean, np.nan, np.nan)
    if len(values) == 1:
        return Interval(mean, float(low[0]), float(high[0]))
    quantile = float(norm_ppf(0.5 + level / 2))
    logit = share and bool(np.all((values > 0) & (values < 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        if logit:
            half = (special.logit(high) - special.logit(low)) / 2 * values * (1 - values)
        else:
            half = (high - low) / 2
    known = half[np.isfinite(half)]
    if not len(known):
        return Interval(mean, np.nan, np.nan)
    patients = float(np.square(known / quantile).mean())
    between = float(values.var(ddof=1)) / len(values)
    variance, df = satterthwaite([(patients, np.inf), (between, len(values) - 1.0)])
    if logit and variance > 0:
        return Interval(mean, *logit_interval(mean, float(variance), float(df), level))
    reach = t_quantile(float(df), level) * float(np.sqrt(variance))
    ends = mean - reach, mean + reach
    return Interval(mean, *(np.clip(ends, 0.0, 1.0) if share else ends))
