"""Differences between two rows as the summary holds them, on one dataset or averaged over several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from benchmark.evaluation.statistics.distributions import norm_ppf
from benchmark.evaluation.statistics.effects import Effect, effect_of, mean_over_seeds, mean_over_sets
from benchmark.evaluation.statistics.intervals import satterthwaite
from benchmark.evaluation.statistics.seeds import seed_parts
from benchmark.reporting.evidence import Evidence
from benchmark.reporting.numbers import known, missing
from benchmark.reporting.rows import MetricRow


def dataset_effect(
    evidence: Evidence, a: str, b: str, dataset: str, stratum: str, metric: str
) -> Effect | None:
    """The paired macro difference a - b on one dataset; None where it was not compared or has no test."""
    row = evidence.pair(a, b, dataset, stratum, metric=metric)
    if row is None or any(missing(row[k]) for k in ("delta", "se", "p")):
        return None
    df = 1.0 if missing(row["df"]) else float(row["df"])
    note = "" if missing(row["note"]) else str(row["note"])
    return Effect(
        float(row["delta"]), float(row["low"]), float(row["high"]), float(row["se"]), df, (dataset,), note
    )


def paired_effects(
    evidence: Evidence, a: str, b: str, datasets: Sequence[str], stratum: str = "all", metric: str = "auroc"
) -> list[Effect]:
    """a - b on each of the datasets where both were evaluated and tested, with the seeds' values where all of
    these have the same."""
    found = {d: e for d in datasets if (e := dataset_effect(evidence, a, b, d, stratum, metric)) is not None}
    seeds = [seed_values(evidence, n, list(found), stratum, metric) for n in (a, b)]
    if not found or min(len(v) for v in seeds) == 0:
        return list(found.values())
    return [
        replace(
            e,
            seeds=tuple(v[:, k] for v in seeds),
            rounding=tuple(evidence.rounding.get((n, d, stratum, metric), np.zeros(0)) for n in (a, b)),
        )
        for k, (d, e) in enumerate(found.items())
    ]


def mean_effect(
    evidence: Evidence, a: str, b: str, datasets: Sequence[str], stratum: str = "all", metric: str = "auroc"
) -> Effect | None:
    """a - b averaged over the datasets where both were evaluated; None where there is none."""
    found = paired_effects(evidence, a, b, datasets, stratum, metric)
    return mean_over_sets(found, evidence.level) if found else None


def seed_values(
    evidence: Evidence, name: str, datasets: Sequence[str], stratum: str, metric: str
) -> np.ndarray:
    """(S, D) macro values of the seeds that have all of these datasets."""
    nothing: dict[int, float] = {}
    columns = [evidence.of_seeds.get((name, dataset, stratum, metric), nothing) for dataset in datasets]
    seeds = sorted(set.intersection(*map(set, columns))) if columns else []
    return np.array([[own[seed] for own in columns] for seed in seeds]).reshape(len(seeds), len(datasets))


def task_effect(
    evidence: Evidence, names: tuple[str, str], metrics: tuple[str, str], dataset: str, stratum: str
) -> Effect | None:
    """The first row's metric minus the second's on one dataset; None where a row has no value or interval.

    Of each row only the seeds' intervals are known, so the patients' parts of both are added, as if they
    were others: too wide where both rows are right on the same images. Two metrics of one row are paired
    seed by seed.
    """
    values, patients = [], 0.0
    quantile = float(norm_ppf(0.5 + evidence.level / 2))
    for name, metric in zip(names, metrics, strict=True):
        own = sorted(
            evidence.by_seed.macros.get((name, dataset, stratum, metric), ()), key=lambda mean: mean.seed
        )
        half = np.array([mean.high - mean.low for mean in own]) / 2
        half = half[np.isfinite(half)]
        if not len(half):
            return None
        values.append(np.array([mean.value for mean in own]))
        patients += float(np.square(half / quantile).mean())
    value = float(values[0].mean() - values[1].mean())
    if names[0] == names[1] and len(values[0]) == len(values[1]):
        values = [values[0] - values[1]]
    between = [float(np.var(v, ddof=1)) if len(v) > 1 else np.nan for v in values]
    parts = seed_parts([1.0] * len(values), between, [len(v) for v in values])
    variance, df = satterthwaite([(patients, np.inf), *parts])
    note = "patients of both rows counted as if they were others"
    found = effect_of(value, float(variance), float(df), evidence.level, [dataset], note)
    return replace(found, seeds=tuple(values))


def seed_mean(rows: Sequence[Mapping[Any, Any]], level: float, *, share: bool) -> MetricRow:
    """Mean over seeds of one quantity from rows that carry one seed's interval each. share: see
    `mean_over_seeds`."""
    first = rows[0]
    value, low, high = (np.array([r[k] for r in rows], dtype=float) for k in ("value", "low", "high"))
    mean = mean_over_seeds(value, low, high, level, share=share)
    own = {"value": known(mean.value), "low": known(mean.low), "high": known(mean.high)}
    return cast("MetricRow", {**first, **own})
