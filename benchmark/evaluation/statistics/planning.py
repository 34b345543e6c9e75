"""How many patients and seeds a comparison needs: the variance of `paired.contrasts` at other numbers.

For S trainings of each method on P patients the variance that the test will see is

    C · P₀/P + Σ_m (τ²_m + E_m · P₀/P) / S          S > 1
    (C + E_A + E_B) · P₀/P                          S = 1: of these two trainings, not of the methods

C: patients' part that all trainings share, Cov₂A + Cov₂B - 2 Cov₃ (`paired.patients_part`); E_m: what one
training of method m adds on the same patients; τ²_m: variance of the true AUROC between trainings, which no
number of patients makes smaller; P₀: patients of the sample that C and E were measured on. Every part scales
with 1/P, and so do the positives of every class. The power is that of the same t test, with the same degrees
of freedom (Satterthwaite over the same parts) at the level that decides.

A first result knows C only roughly, and a study planned from one that chance made small loses more power than
one planned from a large one gains. So the power that a plan from a result promises is the mean over what the
result leaves plausible (`from_sample`).

Sources: Obuchowski & Rockette 1995 and Hillis, Obuchowski & Berbaum 2011 (sizing studies of readers and
cases, here trainings and patients); Bloom 1995; Satterthwaite 1946; Julious & Owen 2006 (sizes from an
estimated variance).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from benchmark.evaluation.statistics.distributions import chi2_ppf
from benchmark.evaluation.statistics.intervals import satterthwaite
from benchmark.evaluation.statistics.paired import minimum_detectable, patients_part, predicted_power
from benchmark.evaluation.statistics.pooling import LEAST_PATIENTS
from benchmark.evaluation.statistics.seeds import SeedSummary, seed_parts

MAX_PATIENTS = 10_000_000
MAX_SEEDS = 200
START = 500
"""Patients of the first sample of a search."""
DRAWS = 400
PLAUSIBLE = 32
"""Equally likely values of C after a first result."""
WEIGHTS = (1.0, -1.0)


@dataclass(frozen=True)
class Parts:
    """Variance of A - B, taken apart, on a sample of `patients`.

    shared: C. own: E of A and of B, zero where it cannot be told from C. training: τ² of A and of B. df: of
    C. freedom: most degrees of freedom that the positives allow. undefined: share of such samples without a
    test. plausible: what the parts may be, equally likely, where one result says so.
    """

    patients: float
    shared: float
    own: tuple[float, float]
    training: tuple[float, float]
    df: float
    freedom: float = np.inf
    undefined: float = 0.0
    plausible: tuple[Parts, ...] = ()

    def at(self, patients: float) -> Parts:
        """The parts on another number of patients."""
        ratio = patients / self.patients
        return replace(
            self,
            patients=patients,
            shared=self.shared / ratio,
            own=(self.own[0] / ratio, self.own[1] / ratio),
            df=max(self.df * ratio, 1.0),
            freedom=(self.freedom + 1) * ratio - 1,
            plausible=tuple(p.at(patients) for p in self.plausible),
        )

    def endless(self) -> Parts:
        """What is left with any number of patients: how trainings differ."""
        left = tuple(p.endless() for p in self.plausible)
        return replace(
            self, shared=0.0, own=(0.0, 0.0), df=np.inf, freedom=np.inf, undefined=0.0, plausible=left
        )

    def test(self, seeds: int) -> tuple[float, float]:
        """Standard error of the test with so many trainings of each method, and the median of the degrees of
        freedom that it takes from estimates of the parts."""
        if seeds == 1:
            return float(np.sqrt(self.shared + sum(self.own))), self.df
        between = [t + e for t, e in zip(self.training, self.own, strict=True)]
        seen = np.random.default_rng(0)
        free = self.df if np.isfinite(self.df) else 1e9
        shared = self.shared * seen.chisquare(free, DRAWS) / free
        spread = [b * seen.chisquare(seeds - 1, DRAWS) / (seeds - 1) for b in between]
        _, df = satterthwaite([(shared, self.df), *seed_parts(WEIGHTS, spread, (seeds, seeds))])
        variance = self.shared + sum(v for v, _ in seed_parts(WEIGHTS, between, (seeds, seeds)))
        return float(np.sqrt(variance)), max(float(np.median(df)), 1.0)

    def power(self, seeds: int, difference: float, level: float) -> float:
        """Probability that a test at 1 - level finds this true difference; the mean over the plausible."""
        if self.plausible:
            return float(np.mean([p.power(seeds, difference, level) for p in self.plausible]))
        if self.freedom < LEAST_PATIENTS - 1:
            return 0.0
        se, df = self.test(seeds)
        if se == 0:
            return 1.0 - self.undefined
        return (1.0 - self.undefined) * predicted_power(difference, se, df, level)

    def detectable(self, seeds: int, level: float, power: float) -> float:
        """The difference that this test finds with this power; NaN where there is no test."""
        from scipy import optimize

        if self.freedom < LEAST_PATIENTS - 1:
            return np.nan
        if self.plausible:
            most = max(p.detectable(seeds, level, power) for p in self.plausible)
            return float(
                optimize.brentq(lambda d: self.power(seeds, d, level) - power, 0.0, 1.5 * most, xtol=1e-5)
            )
        return float(minimum_detectable(*self.test(seeds), level, power))


def parts_of(a: SeedSummary, b: SeedSummary, k: int, training: float | None = None) -> Parts:
    """Parts of column k of two methods on the same patients.

    training: τ² of both, where it is known from elsewhere; None takes it from the values of the seeds: what
    they differ by beyond E, not below 0. Raises ValueError where that is asked of one seed.
    """
    shared, df = patients_part((a, b), WEIGHTS, [k])
    own, spread = [], []
    for s in (a, b):
        squares = float(np.square(s.influence[:, k], dtype=np.float64).sum())
        noise = s.seeds * max(squares - float(s.covariance[k]), 0.0) if s.seeds > 1 else 0.0
        if training is None and s.seeds == 1:
            raise ValueError("one seed says nothing of how trainings differ")
        own.append(noise)
        spread.append(max(float(s.between[k]) - noise, 0.0) if training is None else training)
    return Parts(
        patients=len(a.influence),
        shared=float(shared[0]),
        own=(own[0], own[1]),
        training=(spread[0], spread[1]),
        df=float(df[0]),
        freedom=float(a.columns[k].freedom),
    )


@dataclass(frozen=True)
class Need:
    """What one number of seeds asks for. patients: None where no number of patients reaches the power, or
    more than MAX_PATIENTS; least_seeds: then, how many seeds could. power: at `patients`, or the most that
    can be had; trainings: share of the variance that is between trainings."""

    seeds: int
    patients: int | None
    power: float
    trainings: float
    least_seeds: int | None = None


Measured = Callable[[float], Parts]
"""Number of patients → parts at that number."""


def needed(measured: Measured, seeds: int, difference: float, level: float, power: float) -> Need:
    """Fewest patients whose test finds the difference with this power."""
    first = measured(START)
    endless = first.endless()
    most = endless.power(seeds, difference, level)
    if most < power:
        more = (s for s in range(seeds + 1, MAX_SEEDS + 1) if endless.power(s, difference, level) >= power)
        return Need(seeds, None, most, _between(endless, seeds), next(more, None))

    def enough(patients: float) -> bool:
        return measured(patients).power(seeds, difference, level) >= power

    low = high = _scaled(replace(first, undefined=0.0), seeds, difference, level, power)
    while not enough(high):
        low, high = high, 1.5 * high
        if high > MAX_PATIENTS:
            return at_size(measured, MAX_PATIENTS, seeds, difference, level, reached=False)
    while low > 2 and enough(low):
        low, high = low / 1.5, low
    while high / low > 1.001:
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if enough(middle) else (middle, high)
    return at_size(measured, _rounded(high), seeds, difference, level)


def at_size(
    measured: Measured, patients: int, seeds: int, difference: float, level: float, reached: bool = True
) -> Need:
    """The power with this many patients."""
    found = measured(patients)
    power = found.power(seeds, difference, level)
    return Need(seeds, patients if reached else None, power, _between(found, seeds))


def _scaled(parts: Parts, seeds: int, difference: float, level: float, power: float) -> float:
    """Where to begin: the number of patients that scaling this sample asks for."""
    low, high = 10.0, float(MAX_PATIENTS)
    while high / low > 1.05:
        middle = float(np.sqrt(low * high))
        enough = parts.at(middle).power(seeds, difference, level) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def _between(parts: Parts, seeds: int) -> float:
    """Share of the variance that is between trainings (τ²)."""
    se, _ = parts.test(seeds)
    return sum(parts.training) / seeds / se**2 if seeds > 1 and se > 0 else 0.0


def _rounded(patients: float) -> int:
    """Upwards, to three digits: more would claim too much."""
    step = 10 ** max(int(np.floor(np.log10(patients))) - 2, 0)
    return int(np.ceil(patients / step) * step)


def from_sample(parts: Parts) -> Measured:
    """Scale what one sample showed, and what it leaves plausible of the patients' part: C df / χ² (Julious &
    Owen 2006). How trainings differ is taken as seen: two degrees of freedom leave anything plausible."""
    chances = (np.arange(PLAUSIBLE) + 0.5) / PLAUSIBLE
    factors = parts.df / chi2_ppf(chances, parts.df)
    likely = tuple(replace(parts, shared=parts.shared * float(f)) for f in factors)
    return replace(parts, plausible=likely).at


def from_pilots(pilot: Callable[[int], Parts], largest: float) -> Measured:
    """Make samples of the next smaller and the next larger power of two of patients, each once and at most
    `largest`, scale both and weigh them: what rare classes do at one size they do not at another."""
    top = max(int(np.floor(np.log2(max(largest, 8)))), 3)

    @cache
    def made(step: int) -> Parts:
        return pilot(2**step)

    def measured(patients: float) -> Parts:
        place = float(np.clip(np.log2(patients), 3, top))
        below = int(np.floor(place))
        share = place - below
        near = made(below).at(patients)
        return near if share == 0 else _mixed(near, made(below + 1).at(patients), share)

    return measured


def _mixed(a: Parts, b: Parts, share: float) -> Parts:
    def mix(x: float, y: float) -> float:
        return (1 - share) * x + share * y

    if a.undefined == 1 or b.undefined == 1:
        return replace(b, undefined=mix(a.undefined, b.undefined))
    return replace(
        a,
        shared=mix(a.shared, b.shared),
        own=(mix(a.own[0], b.own[0]), mix(a.own[1], b.own[1])),
        df=mix(a.df, b.df),
        undefined=mix(a.undefined, b.undefined),
    )


def family_level(level: float, family: int) -> float:
    """Level of one test of a family at which Holm's procedure takes its first step: what a difference must
    reach however the others turn out."""
    return 1 - (1 - level) / family
