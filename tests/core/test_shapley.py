"""Contributions sum to the difference, whatever the interactions, and are those of two factors by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.core.shapley import shapley_weights, subsets


@pytest.mark.parametrize("count", [2, 3, 4])
def test_contributions_sum_to_the_whole_difference(count):
    factors = [f"f{k}" for k in range(count)]
    rng = np.random.default_rng(count)
    value = {own: float(rng.normal()) for own in subsets(factors)}
    assert len(value) == 2**count
    given = [sum(w * value[own] for own, w in shapley_weights(factors, f).items()) for f in factors]
    assert sum(given) == pytest.approx(value[frozenset(factors)] - value[frozenset()])


def test_two_factors_share_their_interaction():
    value = {frozenset(): 0.0, frozenset("a"): 1.0, frozenset("b"): 2.0, frozenset("ab"): 7.0}
    given = {f: sum(w * value[own] for own, w in shapley_weights("ab", f).items()) for f in "ab"}
    assert given == {"a": pytest.approx(1 + 2), "b": pytest.approx(2 + 2)}


def test_a_factor_that_changes_nothing_gives_nothing():
    value = {own: float("b" in own) for own in subsets("abc")}
    assert sum(w * value[own] for own, w in shapley_weights("abc", "a").items()) == pytest.approx(0)
