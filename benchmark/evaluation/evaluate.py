"""Scores and labels → metric rows. The pipeline and `bench score` both call `evaluate`, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmark.core.errors import DataError, UnknownName
from benchmark.core.tables import METRIC_COLUMNS, metric_frame
from benchmark.evaluation.statistics.config import RANK_METRICS, StatisticsConfig
from benchmark.evaluation.statistics.influence import InfluenceTable, influence_table, patient_codes, pooled
from benchmark.evaluation.statistics.intervals import (
    Interval,
    class_intervals,
    combination_interval,
    combine,
    macro_weights,
)
from benchmark.evaluation.statistics.strata import long_tail

__all__ = ["StatisticsConfig", "evaluate"]

IDENTITY = METRIC_COLUMNS[: METRIC_COLUMNS.index("class")]


def check_arrays(scores: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> None:
    """Raises DataError where shapes disagree, a score is not finite or a label is none of 1, 0, -1."""
    if scores.ndim != 2 or scores.shape != labels.shape or scores.shape[1] != len(classes):
        raise DataError(
            f"scores {scores.shape}, labels {labels.shape} and {len(classes)} classes do not fit; "
            "give (images, classes) twice and one name a column."
        )
    if len(set(classes)) != len(classes):
        twice = next(c for i, c in enumerate(classes) if c in classes[:i])
        raise DataError(f"class '{twice}' appears twice; give every class one column.")
    finite = np.isfinite(scores)
    if not finite.all():
        row, column = map(int, np.argwhere(~finite)[0])
        bad = int((~finite).sum())
        raise DataError(
            f"{bad:,} scores are not finite, the first in row {row + 1}, class '{classes[column]}'."
            " Score those images again."
        )
    valid = (labels == 1) | (labels == 0) | (labels == -1)
    if not valid.all():
        row, column = map(int, np.argwhere(~valid)[0])
        raise DataError(
            f"label {labels[row, column]} in row {row + 1}, class '{classes[column]}' is none of 1, 0, -1."
        )


def evaluate(
    scores: np.ndarray,
    labels: np.ndarray,
    patients: np.ndarray | None,
    classes: Sequence[str],
    *,
    strata: Mapping[str, Sequence[str]] | None = None,
    subgroups: Mapping[str, np.ndarray] | None = None,
    identity: Mapping[str, Any] | None = None,
    config: StatisticsConfig | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Metric rows (METRIC_COLUMNS) of one set of scores on one evaluation set.

    scores: (N, C) finite, higher = more positive, any scale. labels: (N, C) in {1, 0, -1 ignored}.
    patients: (N,) ids; None or all empty gives image-level intervals, and every row says so.
    strata: name → classes, beside head, medium and tail, which follow the official rule on `labels`
    unless given here. subgroups: name → (N,) level of each image; empty levels are left out.
    identity: values of the columns before `class`. seed: of the bootstrap.

    Rows: one a class and metric (stratum `all`); `macro`, `micro`, `weighted` over all classes; `macro`
    for each stratum; `macro` for each level (`sex=F`) and the gap between the best and the worst level
    (`sex`). The macro counts are sums over its classes. Undefined values are null and `note` says why.
    Raises DataError on malformed arrays, UnknownName on a stratum that names an unknown class.
    """
    config = config or StatisticsConfig()
    classes = list(classes)
    scores, labels = np.asarray(scores), np.asarray(labels)
    check_arrays(scores, labels, classes)
    codes, clusters, grouped = patient_codes(patients, len(scores))
    table = influence_table(scores, labels, codes, clusters)
    groups = resolve_strata(table, classes, strata)

    rows: list[dict[str, Any]] = []
    for metric in RANK_METRICS:
        for j, (name, interval) in enumerate(
            zip(classes, class_intervals(table, metric, config.level), strict=True)
        ):
            rows.append(_row(name, "all", metric, interval, table, np.array([j])))
        everything = np.arange(len(classes))
        for stratum, columns in {"all": everything, **groups}.items():
            combination = combine(table, metric, macro_weights(table, columns))
            interval = combination_interval(combination, config.level)
            rows.append(_row("macro", stratum, metric, interval, table, columns))
        weighted = combination_interval(combine(table, metric, table.n_pos.astype(float)), config.level)
        rows.append(_row("weighted", "all", metric, weighted, table, everything))
    rows += _micro(scores, labels, codes, clusters, config)
    return _finish(rows, identity, grouped)


def resolve_strata(
    table: InfluenceTable, classes: Sequence[str], strata: Mapping[str, Sequence[str]] | None
) -> dict[str, np.ndarray]:
    """Stratum → columns; head, medium and tail are added where the caller has not frozen them."""
    known = {name: i for i, name in enumerate(classes)}
    named = {**long_tail(table.n_pos, classes), **(strata or {})}
    columns = {}
    for stratum, members in named.items():
        for member in members:
            if member not in known:
                raise UnknownName("class", member, classes, f"Stratum '{stratum}' names it.")
        columns[stratum] = np.array([known[m] for m in members], dtype=int)
    return columns


def _micro(
    scores: np.ndarray, labels: np.ndarray, codes: np.ndarray, clusters: int, config: StatisticsConfig
) -> list[dict[str, Any]]:
    table = pooled(scores, labels, codes, clusters)
    rows = []
    for metric in RANK_METRICS:
        interval = combination_interval(combine(table, metric, np.ones(1)), config.level)
        if reason := table.reason(0):
            interval = Interval(np.nan, np.nan, np.nan, reason)
        rows.append(_row("micro", "all", metric, interval, table, np.array([0])))
    return rows


def _row(
    name: str, stratum: str, metric: str, interval: Interval, table: InfluenceTable, columns: np.ndarray
) -> dict[str, Any]:
    return {
        "class": name,
        "stratum": stratum,
        "metric": metric,
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        "n_pos": int(table.n_pos[columns].sum()),
        "n_neg": int(table.n_neg[columns].sum()),
        "n_ignored": int(table.n_ignored[columns].sum()),
        "n_patients": int(table.n_patients[columns].max(initial=0)),
        "note": interval.note,
    }


def _finish(rows: list[dict[str, Any]], identity: Mapping[str, Any] | None, grouped: bool) -> pd.DataFrame:
    """Identity columns, image-level notes and stable types."""
    head = dict.fromkeys(IDENTITY) | dict(identity or {})
    unknown = set(head) - set(IDENTITY)
    if unknown:
        raise KeyError(f"not identity columns: {sorted(unknown)}")
    for row in rows:
        if not grouped:
            row["n_patients"] = None
            row["note"] = "; ".join(filter(None, ["image-level", row["note"]]))
    frame = metric_frame([{**head, **row} for row in rows])
    counts = ["n_pos", "n_neg", "n_ignored", "n_patients"]
    frame[counts] = frame[counts].astype("Int64")
    frame[["value", "low", "high"]] = frame[["value", "low", "high"]].astype(float)
    return frame
