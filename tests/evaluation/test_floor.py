"""Which methods are above the floor: a paired test against every reference that they must exceed."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.core.settings import StatisticsConfig
from benchmark.evaluation.comparison import Run, summarise_runs
from benchmark.evaluation.floor import FLOOR_COLUMNS, against_floor, decided

CONFIG = StatisticsConfig()
PLACE = {"dataset": "a", "origin": "twin", "split": "test"}


@pytest.fixture(scope="module")
def tests():
    rng = np.random.default_rng(0)
    labels = (rng.random((300, 2)) < 0.3).astype(np.int8)
    noise = [rng.normal(size=labels.shape) for _ in range(8)]
    runs = [Run("strong", s, labels * 2.0 + noise[s]) for s in range(2)]
    runs += [Run("weak", s, labels * 0.7 + noise[2 + s]) for s in range(2)]
    runs += [Run("thumbnail", 0, labels * 0.7 + noise[4]), Run("untrained", 0, noise[5])]
    found = summarise_runs(runs, labels, None, ["x", "y"])
    return against_floor(found, ["strong", "weak"], ["untrained", "thumbnail"], identity=PLACE, config=CONFIG)


def test_a_method_is_held_against_the_reference_that_it_exceeds_least_surely(tests):
    assert list(tests.columns) == list(FLOOR_COLUMNS)
    rows = tests.set_index("method")
    assert rows.loc["strong", "above"]
    assert not rows.loc["weak", "above"]
    assert rows.loc["weak", "reference"] == "thumbnail"
    assert rows.loc["strong", "p_holm"] < 0.05 < rows.loc["weak", "p_holm"]


def test_a_method_below_a_reference_is_not_above_the_floor_however_sure_that_is(tests):
    below = tests.assign(p=[1.0, 1e-9])
    assert list(decided(below, 0.95)["above"]) == [False, True]


def test_holm_counts_every_method_and_set(tests):
    one = decided(tests, 0.95).set_index("method").loc["strong", "p_holm"]
    import pandas as pd

    twice = decided(pd.concat([tests, tests.assign(dataset="b", p=1.0)]), 0.95)
    assert twice.set_index(["dataset", "method"]).loc[("a", "strong"), "p_holm"] == pytest.approx(2 * one)
