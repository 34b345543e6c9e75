"""Which ingredient of a difference is worth what: contributions averaged over every order of adding them.

    φ_i = Σ over S without i of |S|! (n - |S| - 1)! / n! · (v(S + i) - v(S))

v: value of a cell, S: the ingredients that it has. The contributions sum to v(all) - v(none), whatever their
interactions, and each is one linear contrast of the cells, so that it has an interval like any other.
Source: Shapley 1953.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import factorial

Subset = frozenset[str]


def subsets(factors: Sequence[str]) -> Iterator[Subset]:
    """Every combination of the factors, smaller ones first: 2 to the power of their number."""
    for size in range(len(factors) + 1):
        yield from (frozenset(own) for own in combinations(factors, size))


def shapley_weights(factors: Sequence[str], factor: str) -> dict[Subset, float]:
    """Combination → weight of its value in the contribution of one factor. They sum to 0."""
    count = len(factors)
    weights: dict[Subset, float] = {}
    for own in subsets([f for f in factors if f != factor]):
        share = factorial(len(own)) * factorial(count - len(own) - 1) / factorial(count)
        weights[own], weights[own | {factor}] = -share, share
    return weights
