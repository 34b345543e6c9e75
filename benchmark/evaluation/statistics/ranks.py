"""Ranks that admit what the data cannot separate.

From all pairwise tests, Holm-corrected within one ranking: a method's rank interval is from 1 + (methods
significantly better) to M - (methods significantly worse); simultaneously for all methods it covers the true
ranks with the nominal level. Methods share a letter where no test separates them.

Sources: Al Mohamad, Goeman & van Zwet 2022 and Holm 2013 (rank intervals from pairwise tests);
Piepho 2004 (letters).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.evaluation.statistics.distributions import t_sf
from benchmark.evaluation.statistics.multiplicity import holm
from benchmark.evaluation.statistics.stability import Trainings, resampled, share_kept


@dataclass(frozen=True)
class Rank:
    """rank: shared by methods that the tests put on a level (1 + significantly better ones)."""

    method: str
    value: float
    rank: int
    low: int
    high: int
    groups: str


def rank_methods(methods: list[str], values: np.ndarray, different: np.ndarray) -> list[Rank]:
    """Best first. values: (M,); different: (M, M) bool, symmetric, True where a corrected test separates."""
    m = len(methods)
    better, worse = _sides(values, different)
    order = sorted(range(m), key=lambda i: -values[i])
    names = _letters(order, different)
    ranks = []
    for i in order:
        low = 1 + int(better[i].sum())
        ranks.append(Rank(methods[i], float(values[i]), low, low, m - int(worse[i].sum()), names[i]))
    return ranks


@dataclass(frozen=True)
class PairTests:
    """The tests of one ranking. first, second: (K,) places of the two methods; p, se, df: (K,), NaN where
    there is no test. size: of the declared family."""

    first: np.ndarray
    second: np.ndarray
    p: np.ndarray
    se: np.ndarray
    df: np.ndarray
    alpha: float
    size: int | None = None

    def different(self, methods: int) -> np.ndarray:
        """(M, M) whether the corrected test separates two methods."""
        return self._separated(methods, self.p)

    def moved(self, values: np.ndarray) -> np.ndarray:
        """The same where the methods' means are `values`, (M,), and nothing else changes."""
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.abs(values[self.first] - values[self.second]) / self.se
        p = np.where(np.isnan(self.p) | ~(self.se > 0), self.p, 2 * t_sf(t, self.df))
        return self._separated(len(values), p)

    def _separated(self, methods: int, p: np.ndarray) -> np.ndarray:
        found = np.zeros((methods, methods), dtype=bool)
        apart = holm(p, self.size) < self.alpha
        found[self.first[apart], self.second[apart]] = found[self.second[apart], self.first[apart]] = True
        return found


def rank_stability(values: np.ndarray, tests: PairTests, trainings: Sequence[Trainings]) -> np.ndarray | None:
    """(M,) share of drawn sets of seeds in which a method stays separated from just the same better and the
    same worse ones, so that its letters and its rank stay. None where every method has one training: what
    rounding changes says nothing of other seeds."""
    if all(len(t.values) == 1 for t in trainings):
        return None
    better, worse = _sides(values, tests.different(len(values)))
    means, chance = resampled(trainings)
    kept = []
    for drawn in means - np.array([t.values.mean() for t in trainings]) + values:
        up, down = _sides(drawn, tests.moved(drawn))
        kept.append((up == better).all(axis=1) & (down == worse).all(axis=1))
    own = np.array(kept)
    return np.array([share_kept(own[:, i], chance) for i in range(len(values))])


def _sides(values: np.ndarray, different: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(M, M) which methods are significantly better and which are significantly worse than each."""
    higher = values[None, :] > values[:, None]
    lower = values[None, :] < values[:, None]
    return different & higher, different & lower


def _letters(order: list[int], different: np.ndarray) -> dict[int, str]:
    """Insert and absorb: split every group that holds a separated pair, drop groups inside others."""
    groups = [frozenset(order)]
    for x, i in enumerate(order):
        for j in order[x + 1 :]:
            if not different[i, j]:
                continue
            split = []
            for group in groups:
                split += [group - {i}, group - {j}] if {i, j} <= group else [group]
            unique = list(dict.fromkeys(split))
            groups = [g for g in unique if not any(g < other for other in unique)]
    place = {method: x for x, method in enumerate(order)}
    groups.sort(key=lambda g: sorted(place[i] for i in g))
    return {i: "".join(_letter(n) for n, g in enumerate(groups) if i in g) for i in order}


def _letter(n: int) -> str:
    return chr(ord("a") + n) if n < 26 else f"({n + 1})"
