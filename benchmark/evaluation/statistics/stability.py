"""How often a conclusion stays the same when the seeds are drawn again.

A conclusion rests on means over a few trainings. Sets of as many seeds are drawn with replacement, all of
them where they can be counted (27 sets of three seeds), the means are taken again, and the conclusion is
drawn again with the standard error and the degrees of freedom of all seeds: a set that holds one seed three
times would else seem to have no spread. Its stability is the share of sets in which it stays as it was.
Patients are not drawn: they are what intervals and tests are about.

Methods with equally many seeds are drawn by the same set, others each by its own. A method may come with
trainings that differ from it by rounding alone; then every set is looked at under each of these differences.

Source: exhaustive bootstrap (Efron & Tibshirani 1993, ch. 6; Fisher & Hall 1991); stability of conclusions:
Yu 2013.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations_with_replacement, product
from math import comb, factorial

import numpy as np

STABLE = 0.9
"""Below this share nothing is called supported, contradicted or best."""
MOST_SETS = 5000
"""Up to so many different sets they are counted, else as many are drawn."""
UNSTABLE_ERROR = 0.01
"""Standard error over seeds above which a main macro AUROC is called unstable."""


@dataclass(frozen=True)
class Trainings:
    """values: (S,) one a seed. rounding: (V,) by how much trainings of one seed differ through rounding
    alone, empty where that was not measured."""

    values: np.ndarray
    rounding: np.ndarray = field(default_factory=lambda: np.zeros(0))


def resampled(trainings: Sequence[Trainings]) -> tuple[np.ndarray, np.ndarray]:
    """Means over drawn seeds, (D, M) for M methods, and the chance of each draw, (D,).

    The order of the draws depends on the numbers of seeds only, so that several quantities of the same
    trainings can be put together. Under rounding variant v, seed s differs by `rounding[(v + s) mod V]`.
    """
    lengths = sorted({len(t.values) for t in trainings})
    drawn = [_sets(n) for n in lengths]
    variants = max([1, *(len(t.rounding) for t in trainings)])
    chances = [chance for _, chance in drawn]
    picks = list(product(*(range(len(c)) for c in chances)))
    chance = np.array([np.prod([c[i] for c, i in zip(chances, pick, strict=True)]) for pick in picks])
    means = []
    for t in trainings:
        place = lengths.index(len(t.values))
        weights = drawn[place][0][[pick[place] for pick in picks]]
        shifted = np.tile(t.values, (variants, 1))
        if len(t.rounding):
            places = np.add.outer(np.arange(variants), np.arange(len(t.values))) % len(t.rounding)
            shifted = shifted + t.rounding[places]
        means.append((weights @ shifted.T).T.ravel())
    return np.stack(means, axis=1), np.tile(chance / variants, variants)


def share_kept(kept: Sequence[bool] | np.ndarray, chance: np.ndarray) -> float:
    """Stability from whether each draw, (D,), keeps the conclusion."""
    return float(min(1.0, chance[np.asarray(kept, dtype=bool)].sum()))


def is_stable(stability: float | None) -> bool:
    """Whether a conclusion may be called supported, contradicted or best. Not known is not stable."""
    return stability is not None and stability >= STABLE - 1e-9


def unstable_mean(values: np.ndarray) -> bool:
    """Whether the mean of these seeds, (S,), has a standard error over seeds above `UNSTABLE_ERROR`."""
    return len(values) > 1 and float(np.std(values, ddof=1)) / np.sqrt(len(values)) > UNSTABLE_ERROR


@lru_cache(maxsize=32)
def _sets(seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the seeds in every set of `seeds` of them, (D, S), and the chance of each, (D,)."""
    if comb(2 * seeds - 1, seeds) > MOST_SETS:
        counts = np.random.default_rng(0).multinomial(seeds, np.full(seeds, 1 / seeds), MOST_SETS)
        return counts / seeds, np.full(MOST_SETS, 1 / MOST_SETS)
    found = [
        np.bincount(chosen, minlength=seeds) for chosen in combinations_with_replacement(range(seeds), seeds)
    ]
    ways = [factorial(seeds) / np.prod([factorial(int(n)) for n in own]) for own in found]
    return np.stack(found) / seeds, np.array(ways) / seeds**seeds
