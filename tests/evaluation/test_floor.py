"""Which methods are above the floor: a paired test against every reference that they must exceed."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.core.settings import StatisticsConfig
from benchmark.evaluation.comparison import Run, summarise_runs
from benchmark.evaluation.floor import FLOOR_COLUMNS, against_floor
from benchmark.evaluation.statistics.metric_values import RowIdentity

CONFIG = StatisticsConfig()
PLACE = RowIdentity(dataset="a", origin="twin", split="test")


@pytest.fixture(scope="module")
def scored():
    rng = np.random.default_rng(0)
    labels = (rng.random((300, 2)) < 0.3).astype(np.int8)
    noise = [rng.normal(size=labels.shape) for _ in range(8)]
    runs = [Run("strong", s, labels * 2.0 + noise[s]) for s in range(2)]
    runs += [Run("weak", s, labels * 0.7 + noise[2 + s]) for s in range(2)]
    runs += [Run("thumbnail", 0, labels * 0.7 + noise[4]), Run("untrained", 0, noise[5])]
    return summarise_runs(runs, labels, None, ["x", "y"])


def held(scored, *methods, declared=6, references=("untrained", "thumbnail")):
    found = against_floor(scored, methods, references, identity=PLACE, declared=declared, config=CONFIG)
    assert list(found.columns) == list(FLOOR_COLUMNS)
    return found.set_index("method")


def test_a_method_is_held_against_the_reference_that_it_exceeds_least_surely(scored):
    rows = held(scored, "strong", "weak")
    assert rows.loc["strong", "above"]
    assert not rows.loc["weak", "above"]
    assert rows.loc["weak", "reference"] == "thumbnail"
    assert rows.loc["strong", "p_corrected"] < 0.05 < rows.loc["weak", "p_corrected"]
    assert held(scored, "untrained", references=("weak", "strong")).loc["untrained", "reference"] == "strong"
    own = held(scored, "thumbnail").loc["thumbnail"]
    assert own["reference"] == "untrained", "no method is held against itself"
    value = {name: scored.summaries[name]["auroc"].mean[2] for name in ("thumbnail", "untrained")}
    assert own["delta"] == pytest.approx(value["thumbnail"] - value["untrained"])
    assert own["low"] < own["delta"] < own["high"]


def test_without_a_test_no_method_is_above_the_floor():
    labels = np.zeros((40, 2), dtype=np.int8)
    labels[0] = 1
    runs = [Run("sure", 0, labels * 9.0), Run("untrained", 0, np.random.default_rng(1).normal(size=(40, 2)))]
    row = held(summarise_runs(runs, labels, None, ["x", "y"]), "sure", references=("untrained",)).loc["sure"]
    assert row["undefined"].startswith("test undefined: positives of fewer than 3 patients")
    assert np.isnan([row["p"], row["p_corrected"]]).all()
    assert not row["above"]


def test_a_method_is_above_no_floor_of_which_one_test_is_undefined():
    """Beside a reference that it exceeds, one of which nothing was tested counted as exceeded too."""
    rng = np.random.default_rng(2)
    labels = (rng.random((60, 2)) < 0.3).astype(np.int8)
    runs = [Run("sure", 0, labels * 1.0), Run("constant", 0, np.zeros(labels.shape))]
    runs += [Run("untrained", 0, rng.normal(size=labels.shape))]
    scored = summarise_runs(runs, labels, None, ["x", "y"])
    row = held(scored, "sure", references=("untrained", "constant")).loc["sure"]
    assert (row["reference"], row["above"]) == ("constant", False)
    assert row["undefined"] == "test undefined: no spread in the sample"
    assert np.isnan(row["p_corrected"])
    below = held(scored, "constant", references=("sure", "untrained")).loc["constant"]
    assert not below["above"]


def test_a_method_below_a_reference_is_not_above_the_floor_however_sure_that_is(scored):
    rows = held(scored, "weak", references=("untrained", "strong"))
    assert (rows.loc["weak", "reference"], rows.loc["weak", "p_corrected"]) == ("strong", 1.0)
    assert not rows.loc["weak", "above"]


def test_the_answer_of_a_method_does_not_depend_on_which_others_were_run(scored):
    """One method alone, as after `bench run`, and all of them, as after `make reproduce` and `make grid`."""
    alone, both = held(scored, "strong"), held(scored, "strong", "weak")
    assert alone.loc["strong"].equals(both.loc["strong"])
    assert alone.loc["strong", "p_corrected"] == pytest.approx(6 * alone.loc["strong", "p"])
    few = held(scored, "strong", "weak", declared=1)
    assert few.loc["strong", "p_corrected"] == pytest.approx(2 * few.loc["strong", "p"])
