from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from benchmark.evaluation.statistics.paired import difference, predicted_power
from benchmark.evaluation.statistics.pilots import Assumptions, pilot_of
from benchmark.evaluation.statistics.planning import (
    Parts,
    family_level,
    from_pilots,
    from_sample,
    needed,
    parts_of,
)

CLASS = Assumptions(np.array([0.05]), np.array([0.8]), 0.08)
MACRO = Assumptions(np.geomspace(0.02, 0.2, 6), np.full(6, 0.8), 0.035, training=0.004)
TAIL = Assumptions(np.geomspace(0.004, 0.02, 6), np.full(6, 0.72), 0.17, images=2)
PARTS = Parts(400, 4e-4, (1e-4, 2e-4), (3e-5, 5e-5), 200.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("assumed", "seeds", "family", "experiments"),
    [(CLASS, 1, 1, 400), (MACRO, 3, 1, 200), (TAIL, 1, 1, 200), (CLASS, 1, 15, 300)],
    ids=["class", "macro", "tail", "class in a family"],
)
def test_a_planned_study_finds_the_difference_as_often_as_promised(assumed, seeds, family, experiments):
    level = family_level(0.95, family)
    measured = from_pilots(pilot_of(assumed, 0, precision=0.05), assumed.largest)
    need = needed(measured, seeds, assumed.difference, level, 0.8)
    assert need.power == pytest.approx(0.8, abs=0.01)
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(experiments):
        a, b = assumed.methods(assumed.labels(need.patients, rng), seeds, assumed.difference, rng)
        found += difference(a, b, assumed.column, level, 0.8).p < 1 - level
    chance = stats.binom.ppf([0.001, 0.999], experiments, [0.77, 0.83])
    assert chance[0] <= found <= chance[1]


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("assumed", [CLASS, MACRO, TAIL], ids=["class", "macro", "tail"])
def test_parts_of_a_sample_add_up_to_the_variance_of_its_test(assumed, seeds):
    rng = np.random.default_rng(3)
    a, b = assumed.methods(assumed.labels(1500, rng), seeds, 0.0, rng)
    test = difference(a, b, assumed.column, 0.95, 0.8)
    training = 0.0 if seeds == 1 else None
    parts = parts_of(a, b, assumed.column, training)
    se, df = parts.test(seeds)
    if seeds == 1 or all(t > 0 for t in parts.training):
        assert se == pytest.approx(test.se)
    else:
        assert se >= test.se * (1 - 1e-9)
    if seeds == 1:
        assert df == pytest.approx(test.df)


def test_parts_scale_with_patients():
    half = PARTS.at(200)
    assert half.shared == pytest.approx(2 * PARTS.shared)
    assert half.own == pytest.approx((2e-4, 4e-4))
    assert half.training == PARTS.training
    assert half.df == 100


def test_seeds_divide_what_patients_do_not():
    se, _ = PARTS.test(5)
    assert se**2 == pytest.approx(4e-4 + (3e-5 + 5e-5 + 3e-4) / 5)
    assert PARTS.test(1)[0] ** 2 == pytest.approx(7e-4)


def test_power_is_that_of_the_t_test():
    assert PARTS.power(1, 0.07, 0.95) == predicted_power(0.07, PARTS.test(1)[0], 200.0, 0.95)
    assert PARTS.power(1, PARTS.detectable(1, 0.95, 0.8), 0.95) == pytest.approx(0.8, abs=0.005)
    assert replace(PARTS, freedom=1.0).power(1, 0.5, 0.95) == 0
    assert np.isnan(replace(PARTS, freedom=1.0).detectable(1, 0.95, 0.8))


def test_fewest_patients_are_enough_and_fewer_are_not():
    sample = from_sample(PARTS)
    need = needed(sample, 3, 0.05, 0.95, 0.8)
    assert need.power >= 0.8
    assert sample(need.patients * 0.98).power(3, 0.05, 0.95) < 0.8
    smaller = needed(sample, 3, 0.08, 0.95, 0.8)
    assert smaller.patients < need.patients


def test_a_plan_from_a_result_keeps_its_power_whatever_variance_chance_showed():
    """One training each, results whose variance has 20 degrees of freedom around the true one: the studies
    planned from them find the difference with 80% on average, and would not without what the result leaves
    plausible (Julious & Owen 2006)."""
    true = Parts(1000, 4e-4, (0.0, 0.0), (0.0, 0.0), 20.0)
    seen = stats.chi2.ppf((np.arange(16) + 0.5) / 16, true.df) / true.df

    def reached(plan) -> float:
        sizes = [needed(plan(replace(true, shared=4e-4 * f)), 1, 0.05, 0.95, 0.8).patients for f in seen]
        return float(np.mean([true.at(n).power(1, 0.05, 0.95) for n in sizes]))

    assert reached(from_sample) == pytest.approx(0.8, abs=0.01)
    assert reached(lambda parts: parts.at) < 0.785


def test_what_a_planned_study_detects_is_what_it_was_planned_for():
    sample = from_sample(replace(PARTS, df=25.0))
    need = needed(sample, 3, 0.05, 0.95, 0.8)
    assert sample(need.patients).detectable(3, 0.95, 0.8) == pytest.approx(0.05, rel=0.02)
    few = from_sample(replace(PARTS, df=2.0))
    assert np.isfinite(few(400).detectable(1, 0.95, 0.8))


def test_no_number_of_patients_makes_up_for_trainings_that_differ():
    erratic = from_sample(replace(PARTS, training=(1e-3, 1e-3)))
    need = needed(erratic, 2, 0.05, 0.95, 0.8)
    assert need.patients is None
    assert need.power < 0.8
    assert need.least_seeds is not None
    assert needed(erratic, need.least_seeds, 0.05, 0.95, 0.8).patients is not None
    assert needed(erratic, need.least_seeds - 1, 0.05, 0.95, 0.8).patients is None


def test_spread_between_trainings_is_told_from_what_patients_add():
    assumed = replace(CLASS, training=0.03)
    rng = np.random.default_rng(2)
    found = [
        parts_of(*assumed.methods(assumed.labels(1500, rng), 6, 0.0, rng), 0).training for _ in range(25)
    ]
    assert np.sqrt(np.mean(found)) == pytest.approx(0.03, rel=0.25)


def test_one_seed_says_nothing_of_trainings():
    rng = np.random.default_rng(0)
    pair = CLASS.methods(CLASS.labels(300, rng), 1, 0.0, rng)
    with pytest.raises(ValueError, match="one seed"):
        parts_of(*pair, 0)


def test_assumed_samples_are_as_assumed():
    assumed = replace(MACRO, images=3, training=0.0)
    rng = np.random.default_rng(0)
    labels = assumed.labels(20000, rng)
    patients = labels.reshape(20000, 3, -1).max(axis=1)
    assert patients.mean(axis=0) == pytest.approx(assumed.prevalences, rel=0.15)
    a, b = assumed.methods(labels, 1, 0.05, rng)
    assert a.values[0, :6] == pytest.approx(0.85, abs=0.02)
    assert b.values[0, :6] == pytest.approx(0.80, abs=0.02)


def test_where_no_class_has_positives_there_is_no_power():
    hopeless = Assumptions(np.array([1e-5]), np.array([0.8]), 0.1)
    parts = pilot_of(hopeless, 0)(64)
    assert parts.undefined == 1
    assert parts.power(1, 0.1, 0.95) == 0
