from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import special, stats

from benchmark.evaluation.statistics.effects import (
    effect_of,
    mean_over_seeds,
    mean_over_sets,
    over_seeds_only,
)
from benchmark.evaluation.statistics.intervals import (
    linear_interval,
    logit_interval,
    satterthwaite,
    spread_df,
    spread_dfs,
)
from benchmark.evaluation.statistics.seeds import seed_parts


def on(dataset, value=0.02, variance=1e-4, df=20.0, seeds=()):
    return replace(effect_of(value, variance, df, 0.95, [dataset]), seeds=seeds)


def test_an_effect_has_the_t_interval_and_p_of_its_variance():
    found = on("x", 0.03, 4e-4, 7)
    half = stats.t.ppf(0.975, 7) * 0.02
    assert (found.low, found.high) == pytest.approx((0.03 - half, 0.03 + half))
    assert found.p_against(0.0) == pytest.approx(2 * stats.t.sf(1.5, 7))
    assert found.p_against(found.low) == pytest.approx(0.05)


@pytest.mark.parametrize("ratio", [0.3, 1.0, 3.0])
def test_a_test_holds_its_level_where_one_method_of_three_seeds_is_erratic(ratio):
    """A seeds' part that is small by chance must not leave the test to the many degrees of freedom of the
    patients; with one set of degrees of freedom it was 7.3% and 2.7%."""
    rng, draws = np.random.default_rng(0), 40_000
    patients = rng.chisquare(200, draws) / 200
    seeds = ratio * rng.chisquare(2, draws) / 2
    variance, df = satterthwaite([(patients, 200.0), (seeds, 2.0)])
    p = 2 * stats.t.sf(np.abs(rng.normal(0, np.sqrt(1 + ratio), draws)) / np.sqrt(variance), df)
    assert 0.035 < (p < 0.05).mean() < 0.06
    assert (p < 0.01).mean() < 0.02


def test_parts_with_equal_degrees_of_freedom_have_those_of_satterthwaite():
    assert satterthwaite([(1.0, 7.0), (1.0, 7.0)]) == pytest.approx((2.0, 14.0))
    assert satterthwaite([(3.0, 7.0), (0.0, 2.0)]) == pytest.approx((3.0, 7.0))
    assert satterthwaite([(1.0, 200.0), (0.5, 2.0)])[1] < 1.5**2 / (1 / 200 + 0.25 / 2)


def test_the_freedom_of_a_spread_is_that_of_the_patients_who_make_it():
    """2 (Σd²)² / (Σd⁴ - (Σd²)²/P), between 1 and P = 8."""
    columns = np.zeros((8, 4))
    columns[:4, 0], columns[0, 1], columns[:, 2] = [3, 1, 1, 1], 5, [1, -1] * 4
    own = [2 * 12**2 / (84 - 12**2 / 8), 2 * 25**2 / (625 - 25**2 / 8), 8, 1]
    assert spread_dfs(columns) == pytest.approx(own)
    assert spread_df(columns[:, 0]) == pytest.approx(own[0])


def test_seeds_that_move_all_sets_together_are_not_averaged_away():
    a, b = np.array([0.7, 0.8, 0.9]), np.array([0.75, 0.75, 0.75])
    own = a.var(ddof=1) / 3
    joint = mean_over_sets([on(d, variance=own + 1e-4, seeds=(a, b)) for d in "xyz"], 0.95)
    assert joint.se**2 == pytest.approx(own + 1e-4 / 3)
    assert joint.df < 2.2, "one method varies, so its two degrees of freedom decide"
    opposed = mean_over_sets(
        [on("x", variance=own + 1e-4, seeds=(a, b)), on("y", variance=own + 1e-4, seeds=(a[::-1], b))], 0.95
    )
    assert opposed.se**2 == pytest.approx(1e-4 / 2)


def test_without_the_seeds_the_mean_is_as_uncertain_as_its_parts():
    found = mean_over_sets([on("x", variance=1e-4, df=9), on("y", variance=4e-4, df=4)], 0.95)
    assert found.se == pytest.approx(0.015)
    assert found.df == 4
    assert found.datasets == ("x", "y")


def test_a_mean_over_sets_takes_the_patients_of_each_and_the_seeds_once():
    """Sets whose variance is 1e-4 of the patients, with 20 degrees of freedom, and what the seeds add."""
    a, b = np.array([0.70, 0.71, 0.72]), np.array([0.75, 0.77, 0.74])
    seeds = seed_parts([1.0, 1.0], [a.var(ddof=1), b.var(ddof=1)], [3, 3])
    whole = 1e-4 + sum(v for v, _ in seeds)
    df = whole**2 / (1e-4**2 / 20 + sum(v**2 / own for v, own in seeds))
    found = mean_over_sets([on(d, v, whole, df, (a, b)) for d, v in (("x", 0.02), ("y", 0.05))], 0.95)
    variance, free = satterthwaite([(1e-4 / 4, 20), (1e-4 / 4, 20), *seeds])
    assert found.value == pytest.approx(0.035)
    assert (found.se**2, found.df) == pytest.approx((variance, free))


def test_paired_trainings_alone_give_the_paired_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.7, 0.02, (2, 5))
    found = over_seeds_only(b - a, 0.95, "x")
    assert found.p_against(0.0) == pytest.approx(stats.ttest_rel(b, a).pvalue)
    assert found.seeds[0].tolist() == (b - a).tolist()


@pytest.mark.parametrize("share", [True, False])
def test_a_mean_over_seeds_holds_patients_and_seeds(share):
    values = np.array([0.93, 0.95, 0.97])
    low, high = values - 0.04, np.minimum(values + 0.025, 0.999)
    found = mean_over_seeds(values, low, high, 0.95, share=share)
    alone = mean_over_seeds(values[1:2], low[1:2], high[1:2], 0.95, share=share)
    assert (alone.low, alone.high) == (low[1], high[1])
    assert found.value == pytest.approx(0.95)
    assert found.high - found.low > alone.high - alone.low
    if share:
        assert found.high < 1
        assert found.value - found.low > found.high - found.value
    else:
        assert found.value - found.low == pytest.approx(found.high - found.value)


@pytest.mark.parametrize("form", ["logit", "linear", "clipped"])
def test_the_variance_over_seeds_is_the_patients_mean_and_the_spread_of_seeds(form):
    values = np.array([0.90, 1.0, 0.98] if form == "clipped" else [0.90, 0.95, 0.98])
    errors = np.array([0.02, 0.04, 0.03])
    reach = stats.norm.ppf(0.975) * errors
    low, high = values - reach, values + reach
    if form == "logit":
        reach = reach / (values * (1 - values))
        low, high = (special.expit(special.logit(values) + sign * reach) for sign in (-1, 1))
    found = mean_over_seeds(values, low, high, 0.95, share=form != "linear")
    patients, between = np.square(errors).mean(), values.var(ddof=1) / 3
    variance, df = satterthwaite([(patients, np.inf), (between, 2.0)])
    ends = (logit_interval if form == "logit" else linear_interval)(values.mean(), variance, df, 0.95)
    assert (ends[1] > 1) == (form != "logit")
    assert (found.low, found.high) == pytest.approx(
        (ends[0], min(ends[1], 1) if form == "clipped" else ends[1])
    )


def test_an_undefined_seed_leaves_the_mean_undefined():
    found = mean_over_seeds(np.array([0.5, np.nan]), np.zeros(2), np.ones(2), 0.95, share=True)
    assert np.isnan([found.value, found.low, found.high]).all()


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("values", [[1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
def test_a_mean_of_seeds_without_intervals_has_none(values, share):
    """Once three seeds of a rate of 1 read `1.000 [1.000, 1.000]`, however few patients it had."""
    nothing = np.full(3, np.nan)
    found = mean_over_seeds(np.array(values), nothing, nothing, 0.95, share=share)
    assert found.value == pytest.approx(np.mean(values))
    assert np.isnan([found.low, found.high]).all()
