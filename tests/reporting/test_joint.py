"""Contrasts of strata from saved scores, against those from the panels of all classes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.evaluation.statistics.panel import strata_contrast
from benchmark.evaluation.statistics.seeds import summarise
from benchmark.reporting.joint import Scores, contrasts_of, panels_of


@pytest.fixture(scope="module")
def scores() -> Scores:
    """Forty classes of every frequency, one without a positive; three seeds; several images a patient."""
    rng = np.random.default_rng(0)
    labels = (rng.random((600, 40)) < np.geomspace(0.003, 0.3, 40)).astype(np.int8)
    labels[rng.random(labels.shape) < 0.02] = -1
    labels[:, 0] = 0
    drawn = rng.normal(size=(3, *labels.shape)) + 0.8 * (labels == 1)
    classes = tuple(f"c{k}" for k in range(40))
    strata = {"odd": classes[1::2], "even": classes[::2]}
    return Scores(classes, labels, rng.integers(0, 200, 600), drawn, (0, 1, 2), strata)


@pytest.mark.parametrize("pair", [("tail", "head"), ("medium", "tail"), ("odd", "all"), ("odd", "even")])
def test_a_contrast_of_strata_is_the_same_to_the_bit_without_the_other_classes(scores, pair):
    few = summarise(contrasts_of(scores, *pair))
    every = summarise([strata_contrast(panel, *pair) for panel in panels_of(scores)])
    for name in ("values", "influence", "covariance", "between", "extra", "df"):
        np.testing.assert_array_equal(getattr(few, name), getattr(every, name))
    about = [(c.stratum, c.freedom, c.worth, c.note) for (c,) in (few.columns, every.columns)]
    assert about[0] == about[1]


def test_a_stratum_that_is_not_there_has_no_contrast(scores):
    assert contrasts_of(scores, "tail", "nowhere") is None
