"""Ranks that admit what the data cannot separate.

From all pairwise tests, Holm-corrected within one ranking: a method's rank interval is from 1 + (methods
significantly better) to M - (methods significantly worse); simultaneously for all methods it covers the true
ranks with the nominal level. Methods share a letter where no test separates them.

Sources: Al Mohamad, Goeman & van Zwet 2022 and Holm 2013 (rank intervals from pairwise tests);
Piepho 2004 (letters).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
    better = different & (values[None, :] > values[:, None])
    worse = different & (values[None, :] < values[:, None])
    order = sorted(range(m), key=lambda i: -values[i])
    names = _letters(order, different)
    ranks = []
    for i in order:
        low = 1 + int(better[i].sum())
        ranks.append(Rank(methods[i], float(values[i]), low, low, m - int(worse[i].sum()), names[i]))
    return ranks


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
