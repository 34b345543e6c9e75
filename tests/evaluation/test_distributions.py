"""Quantiles and tails without `scipy.stats` are those of `scipy.stats`, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmark.evaluation.statistics import distributions as own

RNG = np.random.default_rng(0)
SHARES = np.concatenate([RNG.random(3000), 10.0 ** RNG.uniform(-300, 0, 500), [0.5, np.nan]])
POINTS = np.concatenate(
    [RNG.normal(0, 5, 3000), 10.0 ** RNG.uniform(-9, 9, 500), [0, np.inf, -np.inf, np.nan]]
)
FREEDOM = [1.0, 2.0, 2.5, 19.37, 1e3, 1e9, np.inf, 0.5, 1e-3, 0.0, -1.0, np.nan, np.float32(7.3)]


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    both_nan = np.isnan(a) & np.isnan(b)
    return a.dtype == b.dtype == np.float64 and bool(np.all(both_nan | (a == b)))


def test_normal() -> None:
    for x in (POINTS, POINTS.astype(np.float32)):
        assert same_bits(own.norm_cdf(x), stats.norm.cdf(x))
        assert same_bits(own.norm_sf(x), stats.norm.sf(x))
    assert same_bits(own.norm_ppf(SHARES), stats.norm.ppf(SHARES))
    assert float(own.norm_ppf(0.975)) == float(stats.norm.ppf(0.975))
    assert own.norm_ppf(1.0) == own.t_ppf(1.0, 3.0) == np.inf


@pytest.mark.parametrize("df", FREEDOM)
def test_t_and_chi2(df: float) -> None:
    assert same_bits(own.t_ppf(SHARES, df), stats.t.ppf(SHARES, df))
    assert same_bits(own.t_sf(POINTS, df), stats.t.sf(POINTS, df))
    assert same_bits(own.chi2_ppf(SHARES, df), stats.chi2.ppf(SHARES, df))


def test_arrays_of_degrees_of_freedom() -> None:
    df = np.concatenate([RNG.uniform(1, 300, 2000), 10.0 ** RNG.uniform(-2, 8, 500)])
    for freedom in (df, df.astype(np.float32)):
        assert same_bits(own.t_ppf(0.975, freedom), stats.t.ppf(0.975, freedom))
        assert same_bits(own.t_sf(2.2, freedom), stats.t.sf(2.2, freedom))
        assert same_bits(own.chi2_ppf(0.3, freedom), stats.chi2.ppf(0.3, freedom))
