"""Is a planted difference found as often as its minimum detectable effect promises? Three methods in designs
that occur, compared as in a table: Holm's test over the three pairs.

A minimum detectable effect is printed by one study, from its own standard error, degrees of freedom and
level. So what the studies of a design promise is the mean of the power that each of them foresees for the
planted difference; the power at their mean variance is another number where few patients make the variance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize, special, stats

from benchmark.core.settings import StatisticsConfig
from benchmark.evaluation.statistics.multiplicity import holm_levels
from benchmark.evaluation.statistics.paired import contrasts, minimum_detectable
from benchmark.evaluation.statistics.reach import within_reach
from perf.simulated_tests import Replicates, averages, true_auroc

if TYPE_CHECKING:
    from perf.designs import Design

NODES = 50
"""Equally likely values of a standard error around what it estimates, over which power is averaged."""


def power(design: Design, what: str, experiments: int, seed: int) -> dict[str, Any]:
    """Three methods, one of them better by the minimum detectable effect that a pilot names: how often Holm's
    test over the three pairs finds it against another one, and how often the studies promise to.

    promised: whether the difference that the typical study of the pilot would find with the wanted power is
    no more than is left to an AUROC of 1, the rule by which a table prints one (`within_reach`): a larger one
    cannot be planted, so less is, and nothing was promised of less. withheld: share of the studies that print
    none. mde: the median one that is printed, None where nothing is promised. predicted: the mean power that
    the studies foresee; corrected: the same less the bias that their own standard errors bring (`foreseen`).
    """
    rng = np.random.default_rng([seed, 1, what == "tail", *design.key])
    pilot = list(_studies(design, 0.0, what, max(40, experiments // 10), rng))
    weights = pilot[0].weights
    least = float(np.median([s.least for s in pilot]))
    effect = _effect(design, least, weights)
    studies = list(_studies(design, effect, what, experiments, rng))
    before, after = (true_auroc(design.skill + e, design.spread) for e in (0.0, effect))
    truth = float(weights @ (after - before))
    se, df, level, printed = (
        np.array([getattr(s, name) for s in studies]) for name in ("se", "df", "level", "printed")
    )
    predicted, corrected = foreseen(truth, se, df, level)
    found = np.array([s.found for s in studies])
    prints = ~np.isnan(printed)
    promised = least <= float(weights @ (1 - before))
    return {
        **design.identity,
        "average": what,
        "experiments": len(studies),
        "true_difference": truth,
        "promised": promised,
        "withheld": float(1 - prints.mean()),
        "mde": float(np.median(printed[prints])) if promised else None,
        "predicted": float(predicted.mean()),
        "corrected": float(corrected.mean()),
        "found": float(found.mean()),
        "marked": float(np.mean([s.few for s in pilot])),
    }


def foreseen(
    difference: float, se: np.ndarray, df: np.ndarray, level: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The power of a two-sided t test of size `level` for a true difference, as each of (N,) studies sees it:
    with its standard error taken for the true one, and corrected for the error of that. Shapes (N,).

    Power bends: taken at standard errors that scatter around the true one it is on average too high where it
    is below 80% (with four degrees of freedom 60% for a true 50%). The bias is what the same step makes of
    the estimate, drawing standard errors around the one of the study, and is taken off: 2 g(se) - E g(se*)
    with se* = se √(χ²/df), which may leave [0, 1] by a little (Efron & Tibshirani 1993, chapter 10). That a
    difference is found in the wrong direction is left out.
    """
    critical = stats.t.ppf(1 - level / 2, df)[:, None]
    shift = (difference / se)[:, None]
    middle = (np.arange(NODES) + 0.5) / NODES
    scatter = np.sqrt(stats.chi2.ppf(middle, df[:, None]) / df[:, None])
    plain = special.ndtr(shift - critical * scatter).mean(axis=1)
    again = [special.ndtr(shift / scatter[:, [k]] - critical * scatter).mean(axis=1) for k in range(NODES)]
    return plain, 2 * plain - np.mean(again, axis=0)


@dataclass(frozen=True)
class _Study:
    """The first of three pairs. level: at which Holm tests it; least: the minimum detectable effect at that
    level; printed: the same, NaN where a table withholds it."""

    se: float
    df: float
    found: bool
    level: float
    least: float
    printed: float
    weights: np.ndarray
    few: bool


def _studies(
    design: Design, effect: float, what: str, experiments: int, rng: np.random.Generator
) -> Iterator[_Study]:
    config = StatisticsConfig()
    made = Replicates(design, rng)
    for _ in range(experiments):
        own = averages(made.trained((effect, 0.0, 0.0)))[what]
        tests = [
            contrasts(
                [own.summaries[i], own.summaries[j]], (1.0, -1.0), config.level, config.power, (own.column,)
            )[0]
            for i, j in ((0, 1), (0, 2), (1, 2))
        ]
        first = tests[0]
        level = float(holm_levels(np.array([t.p for t in tests]), 1 - config.level)[0])
        least = float(minimum_detectable(first.se, first.df, 1 - level, config.power))
        lower = min(float(s.mean[own.column]) for s in own.summaries[:2])
        printed = float(within_reach(least, lower))
        yield _Study(first.se, first.df, first.p < level, level, least, printed, own.weights, first.few)


def _effect(design: Design, difference: float, weights: np.ndarray) -> float:
    """The skill that raises the true mean by `difference`, or by two thirds of what is left to 1."""
    before = true_auroc(design.skill, design.spread)
    reach = min(difference, 2 / 3 * float(weights @ (1 - before)))

    def missing(effect: float) -> float:
        return float(weights @ (true_auroc(design.skill + effect, design.spread) - before)) - reach

    return float(optimize.brentq(missing, 0, 20))
