"""Methods × seeds on the same images → means over seeds, paired comparisons, ranks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pandas as pd

from benchmark.core.errors import DataError
from benchmark.core.settings import StatisticsConfig
from benchmark.evaluation.evaluate import check_arrays, finish
from benchmark.evaluation.statistics.influence import patient_codes
from benchmark.evaluation.statistics.intervals import join
from benchmark.evaluation.statistics.metric_values import RowIdentity, metric_value
from benchmark.evaluation.statistics.metrics import COMPARED
from benchmark.evaluation.statistics.multiplicity import benjamini_hochberg, holm, holm_levels
from benchmark.evaluation.statistics.paired import contrasts, minimum_detectable
from benchmark.evaluation.statistics.panel import build_panels, resolve_strata
from benchmark.evaluation.statistics.ranks import PairTests, rank_methods, rank_stability
from benchmark.evaluation.statistics.reach import WITHHELD, within_reach
from benchmark.evaluation.statistics.seeds import SeedAccumulator, SeedSummary
from benchmark.evaluation.statistics.stability import Trainings

COMPARISON_COLUMNS = (
    "dataset",
    "origin",
    "split",
    "class",
    "stratum",
    "metric",
    "method_a",
    "method_b",
    "value_a",
    "value_b",
    "delta",
    "low",
    "high",
    "se",
    "df",
    "p",
    "family",
    "p_holm",
    "p_bh",
    "mde",
    "mde_undefined",
    "n_seeds_a",
    "n_seeds_b",
    "n_pos",
    "n_neg",
    "n_patients",
    "few",
    "undefined",
    "note",
)
RANK_COLUMNS = (
    "dataset",
    "origin",
    "split",
    "stratum",
    "metric",
    "method",
    "value",
    "rank",
    "rank_low",
    "rank_high",
    "groups",
    "stability",
    "mde",
    "mde_undefined",
    "few",
    "undefined",
)
PLACE = ("dataset", "origin", "split")


@dataclass(frozen=True)
class Run:
    """Scores (N, C) of one trained model. method: the name that comparisons and ranks show."""

    method: str
    seed: int
    scores: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """All methods on one evaluation set: method → metric → summary over its seeds."""

    summaries: dict[str, dict[str, SeedSummary]]
    grouped: bool

    @property
    def methods(self) -> list[str]:
        return list(self.summaries)


def summarise_runs(
    runs: Iterable[Run],
    labels: np.ndarray,
    patients: np.ndarray | None,
    classes: Sequence[str],
    *,
    strata: Mapping[str, Sequence[str]] | None = None,
    subgroups: Mapping[str, np.ndarray] | None = None,
    metrics: tuple[str, ...] = COMPARED,
    config: StatisticsConfig | None = None,
) -> Comparison:
    """Read runs one at a time (an iterator keeps memory low) and keep one mean influence a method.

    labels, patients, classes, strata, subgroups: as in `evaluate`, the same for every run.
    Raises DataError where a run's scores do not fit, or where a method has a seed twice.
    """
    config = config or StatisticsConfig()
    labels, classes = np.asarray(labels), list(classes)
    codes, clusters, grouped = patient_codes(patients, len(labels))
    groups = resolve_strata((labels == 1).sum(axis=0), classes, strata)
    parts: dict[str, dict[str, SeedAccumulator]] = {}
    seen: set[tuple[str, int]] = set()
    for run in runs:
        if (run.method, run.seed) in seen:
            raise DataError(f"method '{run.method}' has seed {run.seed} twice; keep one run a seed.")
        seen.add((run.method, run.seed))
        scores = np.asarray(run.scores)
        check_arrays(scores, labels, classes)
        panels = build_panels(
            scores,
            labels,
            codes,
            clusters,
            classes,
            groups,
            subgroups,
            minimum=config.subgroup_positives,
            metrics=metrics,
            dtype=np.float32,
        )
        own = parts.setdefault(run.method, {m: SeedAccumulator() for m in metrics})
        for metric, panel in panels.items():
            own[metric].add(panel)
    return Comparison(
        {method: {m: a.summary() for m, a in own.items()} for method, own in parts.items()}, grouped
    )


def over_seeds(
    comparison: Comparison,
    *,
    identity: Mapping[str, RowIdentity] | None = None,
    config: StatisticsConfig | None = None,
) -> pd.DataFrame:
    """Metric rows (METRIC_COLUMNS) of each method's mean over seeds; `seed` is null in them.

    Intervals include patients and seeds. identity: method → what its rows are of.
    """
    config = config or StatisticsConfig()
    frames = []
    for method, metrics in comparison.summaries.items():
        rows = [
            metric_value(column, metric, summary.interval(k, config.level))
            for metric, summary in metrics.items()
            for k, column in enumerate(summary.columns)
        ]
        known = (identity or {}).get(method, RowIdentity())
        own = replace(known, method=known.method or method, seed=None)
        frames.append(finish(rows, comparison.grouped, own))
    return pd.concat(frames, ignore_index=True)


def compare(
    comparison: Comparison,
    *,
    identity: RowIdentity = RowIdentity(),
    methods: int = 0,
    config: StatisticsConfig | None = None,
) -> pd.DataFrame:
    """Every pair of methods on every column → COMPARISON_COLUMNS, corrected within this evaluation set.

    few: whether few positive patients carry the value. undefined: why there is no test (p and limits are null
    then), empty where there is one; mde_undefined: why a test has no minimum detectable effect.
    identity: its dataset, origin and split. methods: how many were declared to be compared, with or without
    results.
    """
    config = config or StatisticsConfig()
    place = identity.place()
    rows = []
    for first, second in combinations(comparison.methods, 2):
        for metric, a in comparison.summaries[first].items():
            b = comparison.summaries[second][metric]
            tested = contrasts((a, b), (1.0, -1.0), config.level, config.power)
            mean_a, mean_b = a.mean, b.mean
            for k, (column, found) in enumerate(zip(a.columns, tested, strict=True)):
                rows.append(
                    {
                        **place,
                        "class": column.name,
                        "stratum": column.stratum,
                        "metric": metric,
                        "method_a": first,
                        "method_b": second,
                        "value_a": float(mean_a[k]),
                        "value_b": float(mean_b[k]),
                        "delta": found.value,
                        "low": found.low,
                        "high": found.high,
                        "se": found.se,
                        "df": found.df,
                        "p": found.p,
                        "family": _family(column.name, column.stratum, column.single),
                        "n_seeds_a": a.seeds,
                        "n_seeds_b": b.seeds,
                        "n_pos": column.n_pos,
                        "n_neg": column.n_neg,
                        "n_patients": column.n_patients if comparison.grouped else None,
                        "few": found.few,
                        "undefined": found.undefined,
                        "note": found.note if comparison.grouped else join("image-level", found.note),
                    }
                )
    frame = pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))
    counts = ["n_seeds_a", "n_seeds_b", "n_pos", "n_neg", "n_patients"]
    frame[counts] = frame[counts].astype("Int64")
    frame["few"] = frame["few"].astype(bool)
    return _corrected(frame, config, methods)


def _family(name: str, stratum: str, single: bool) -> str:
    """Hypotheses that are corrected together: single classes; overall averages; averages of strata."""
    if single:
        return "class"
    return name if stratum == "all" else "stratum"


def _corrected(comparisons: pd.DataFrame, config: StatisticsConfig, methods: int) -> pd.DataFrame:
    """Holm and Benjamini-Hochberg over the classes (or averages) and pairs of one metric and family.

    The pairs of all `methods` count in the size of a family, as if the p of those that are not here were 1.
    mde: of each row at the level that Holm's correction sets for it, so that it belongs to `p_holm`.
    """
    frame = comparisons.copy()
    for column in ("p_holm", "p_bh", "mde"):
        frame[column] = np.nan
    frame["mde_undefined"] = ""
    present = len({*frame.method_a, *frame.method_b})
    pairs = comb(max(methods, present), 2)
    for _, tests in frame.groupby(["metric", "family"], sort=False):
        p = tests["p"].to_numpy(dtype=float)
        known = tests[tests["p"].notna()]
        size = pairs * len(known[["class", "stratum"]].drop_duplicates())
        frame.loc[tests.index, "p_holm"] = holm(p, size)
        frame.loc[tests.index, "p_bh"] = np.minimum(benjamini_hochberg(p) * size / max(len(known), 1), 1.0)
        least = _detectable(tests, config.level, config.power, size)
        for name in ("mde", "mde_undefined"):
            frame.loc[tests.index, name] = least[name].to_numpy()
    return frame


def _detectable(tests: pd.DataFrame, level: float, power: float, size: int | None = None) -> pd.DataFrame:
    """mde: (K,) minimum detectable effect of each of these tests in a family of `size` (default: just these),
    NaN where there is none; mde_undefined: why a test has none."""
    p, se, df = (tests[k].to_numpy(dtype=float) for k in ("p", "se", "df"))
    least = minimum_detectable(se, df, 1 - holm_levels(p, 1 - level, size), power)
    found = within_reach(least, tests[["value_a", "value_b"]].to_numpy(dtype=float).min(axis=1))
    withheld = np.isnan(found) & ~np.isnan(least)
    return pd.DataFrame({"mde": found, "mde_undefined": np.where(withheld, WITHHELD, "")})


Macro = tuple[str, str, str, str]
"""(method, dataset, stratum, metric) of a macro value."""


def trainings_of(comparison: Comparison, dataset: str) -> dict[Macro, Trainings]:
    """The macro values of every training on an evaluation set."""
    return {
        (method, dataset, column.stratum, metric): Trainings(summary.values[:, k])
        for method, metrics in comparison.summaries.items()
        for metric, summary in metrics.items()
        for k, column in enumerate(summary.columns)
        if column.name == "macro"
    }


def ranking(
    comparisons: pd.DataFrame,
    *,
    level: float = 0.95,
    power: float = 0.8,
    pairs: int | None = None,
    trainings: Mapping[Macro, Trainings] | None = None,
) -> pd.DataFrame:
    """RANK_COLUMNS: methods, best first, per dataset, stratum and metric, from the macro rows.

    Tests are Holm-corrected within each ranking. pairs: how many a ranking was declared to have. mde: the
    true difference to the best other method that this ranking would find with this power; mde_undefined: why
    there is none. stability: share of drawn sets of seeds in which the method's rank and letters stay, null
    where `trainings` does not know the seeds or all have one. Where no pair could be tested, rank, limits and
    groups are null and `undefined` says why. Rankings with an undefined value are left out.
    """
    rows: list[dict[str, Any]] = []
    macro = comparisons[comparisons["class"] == "macro"]
    for key, part in macro.groupby([*PLACE, "stratum", "metric"], sort=False, dropna=False):
        head = dict(zip((*PLACE, "stratum", "metric"), key, strict=True))
        where = (str(head["dataset"]), str(head["stratum"]), str(head["metric"]))
        names = dict.fromkeys([*part.method_a, *part.method_b])
        seeds = {n: (trainings or {}).get((str(n), *where)) for n in names}
        rows += [{**head, **row} for row in _ranked(part, seeds, level, power, pairs)]
    frame = pd.DataFrame(rows, columns=list(RANK_COLUMNS))
    places = ["rank", "rank_low", "rank_high"]
    frame[places] = frame[places].astype("Int64")
    frame["stability"] = frame["stability"].astype(float)
    return frame


def _ranked(
    part: pd.DataFrame,
    seeds: Mapping[str, Trainings | None],
    level: float,
    power: float,
    size: int | None,
) -> list[dict[str, Any]]:
    """Rows of one ranking without its place."""
    values = dict(zip(part.method_a, part.value_a, strict=True))
    values |= dict(zip(part.method_b, part.value_b, strict=True))
    methods = list(values)
    scores = np.array([values[m] for m in methods], dtype=float)
    if np.isnan(scores).any():
        return []
    few = bool(part.few.any())
    place = {m: i for i, m in enumerate(methods)}
    first, second = (part[k].map(place).to_numpy() for k in ("method_a", "method_b"))
    p, se, df = (part[k].to_numpy(dtype=float) for k in ("p", "se", "df"))
    tests = PairTests(first, second, p, se, df, 1 - level, size)
    if np.isnan(p).all():
        blank = dict.fromkeys(("rank", "rank_low", "rank_high", "groups", "stability", "mde"))
        why = str(part.undefined.iloc[0])
        return [
            {
                "method": methods[i],
                "value": scores[i],
                **blank,
                "mde_undefined": "",
                "few": few,
                "undefined": why,
            }
            for i in np.argsort(-scores, kind="stable")
        ]
    least: dict[tuple[str, str], dict[Any, Any]] = {}
    effects = _detectable(part, level, power, size).to_dict("records")
    for a, b, found in zip(part.method_a, part.method_b, effects, strict=True):
        least[a, b] = least[b, a] = found
    known = [seeds[m] for m in methods]
    kept = None
    if all(own is not None for own in known):
        kept = rank_stability(scores, tests, [own for own in known if own is not None])
    ranks = rank_methods(methods, scores, tests.different(len(methods)))
    best = [r.method for r in ranks[:2]]
    return [
        {
            "method": r.method,
            "value": r.value,
            "rank": r.rank,
            "rank_low": r.low,
            "rank_high": r.high,
            "groups": r.groups,
            "stability": None if kept is None else float(kept[place[r.method]]),
            **least.get((r.method, best[r.method == best[0]]), {"mde": np.nan, "mde_undefined": ""}),
            "few": few,
            "undefined": "",
        }
        for r in ranks
    ]
