"""Differences between two rows, on one dataset or averaged over several, with seeds and patients apart.

Datasets have different patients, so the patients' parts of the variance add; but the same trained models
are evaluated on all of them, so the seeds' part is taken from the seeds' averages over the datasets, never
added as if it were independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from benchmark.reporting.evidence import Evidence
from benchmark.reporting.numbers import known, missing


@dataclass(frozen=True)
class Effect:
    """value ± interval of a contrast. p: two-sided, against no difference. datasets: what it averages."""

    value: float
    low: float
    high: float
    se: float
    df: float
    datasets: tuple[str, ...]
    note: str = ""

    def p_against(self, margin: float) -> float:
        """Two-sided p of the hypothesis that the effect equals `margin`."""
        if self.se == 0:
            return 1.0 if self.value == margin else 0.0
        if missing(self.se):
            return float("nan")
        return float(2 * stats.t.sf(abs(self.value - margin) / self.se, self.df))


def effect_of(
    value: float, variance: float, df: float, level: float, datasets: Sequence[str], note: str = ""
) -> Effect:
    """With a t interval. variance: of the value; df: its degrees of freedom."""
    se = float(np.sqrt(variance))
    half = float(stats.t.ppf(0.5 + level / 2, max(df, 1.0))) * se
    return Effect(value, value - half, value + half, se, max(df, 1.0), tuple(datasets), note)


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


def mean_effect(
    evidence: Evidence, a: str, b: str, datasets: Sequence[str], stratum: str = "all", metric: str = "auroc"
) -> Effect | None:
    """a - b averaged over the datasets where both were evaluated; None where there is none.

    Var = Σ case_d / D² + MS(seed averages) (1/S_a + 1/S_b); case_d is what the dataset's own variance holds
    beside its seeds' part. Without the seeds' own values the datasets' variances are added.
    """
    found = {d: e for d in datasets if (e := dataset_effect(evidence, a, b, d, stratum, metric)) is not None}
    if not found:
        return None
    if len(found) == 1:
        return next(iter(found.values()))
    count = len(found)
    value = float(np.mean([e.value for e in found.values()]))
    note = "; ".join(dict.fromkeys(e.note for e in found.values() if e.note))
    seeds = {n: seed_values(evidence, n, list(found), stratum, metric) for n in (a, b)}
    if min(len(v) for v in seeds.values()) == 0:
        parts = [(e.se**2 / count**2, e.df) for e in found.values()]
    else:
        parts = []
        for k, (_, e) in enumerate(found.items()):
            own, free = _seed_part([v[:, k] for v in seeds.values()])
            case = max(e.se**2 - own, 0.0)
            below = e.se**4 / e.df - (own**2 / free if free else 0.0)
            df = case**2 / below if below > 0 and case > 0 else e.df
            parts.append((case / count**2, max(df, 1.0)))
        own, free = _seed_part([v.mean(axis=1) for v in seeds.values()])
        if free:
            parts.append((own, float(free)))
    total = sum(v for v, _ in parts)
    below = sum(v**2 / df for v, df in parts if v > 0)
    return effect_of(value, total, total**2 / below if below > 0 else 1.0, evidence.level, list(found), note)


def seed_values(
    evidence: Evidence, name: str, datasets: Sequence[str], stratum: str, metric: str
) -> np.ndarray:
    """(S, D) macro values of the seeds that have all of these datasets."""
    frame = evidence.seeds
    own = frame[
        (frame["name"] == name)
        & (frame["class"] == "macro")
        & (frame["stratum"] == stratum)
        & (frame["metric"] == metric)
        & frame["dataset"].isin(list(datasets))
    ]
    if own.empty:
        return np.empty((0, len(datasets)))
    wide = own.pivot_table(index="seed", columns="dataset", values="value", aggfunc="first")
    return wide.reindex(columns=list(datasets)).dropna().to_numpy(dtype=float)


def seed_mean(rows: Sequence[Mapping[Any, Any]], level: float) -> dict[str, Any]:
    """Mean over seeds of one quantity from rows that carry one seed's interval each.

    Var = mean of the seeds' own variances (their patients are the same) + spread of the seeds / S.
    """
    values = np.array([r["value"] for r in rows], dtype=float)
    first = rows[0]
    if np.isnan(values).any():
        return {**first, "value": None, "low": None, "high": None}
    half = np.array([(r["high"] - r["low"]) / 2 for r in rows], dtype=float)
    value = float(values.mean())
    if len(rows) == 1:
        return {**first, "low": known(first["low"]), "high": known(first["high"])}
    quantile = float(stats.norm.ppf(0.5 + level / 2))
    patients = float(np.nanmean(np.square(half / quantile))) if not np.isnan(half).all() else 0.0
    spread = float(values.var(ddof=1)) / len(values)
    total = patients + spread
    df = total**2 / (spread**2 / (len(values) - 1)) if spread > 0 else np.inf
    reach = float(stats.t.ppf(0.5 + level / 2, df)) * float(np.sqrt(total))
    return {**first, "value": value, "low": value - reach, "high": value + reach}


def _seed_part(values: Sequence[np.ndarray]) -> tuple[float, int]:
    """Variance of a difference of means through seeds, pooled over the two, and its degrees of freedom."""
    repeats = [v for v in values if len(v) > 1]
    free = sum(len(v) - 1 for v in repeats)
    if not free:
        return 0.0, 0
    pooled = sum((len(v) - 1) * float(v.var(ddof=1)) for v in repeats) / free
    return pooled * sum(1 / len(v) for v in values), free
