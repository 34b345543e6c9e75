"""Scores and labels → metric rows. The pipeline and `bench score` both call `evaluate`, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmark.core.errors import DataError
from benchmark.core.settings import StatisticsConfig
from benchmark.core.tables import metric_frame
from benchmark.evaluation.statistics.influence import patient_codes
from benchmark.evaluation.statistics.intervals import Interval, join
from benchmark.evaluation.statistics.metric_values import MetricValue, RowIdentity, metric_value
from benchmark.evaluation.statistics.metrics import RANK_METRICS
from benchmark.evaluation.statistics.panel import Panel, build_panels, resolve_strata
from benchmark.evaluation.statistics.subgroups import gaps
from benchmark.evaluation.statistics.thresholds import Thresholds

if TYPE_CHECKING:
    from benchmark.evaluation.statistics.bootstrap import Draws

__all__ = ["StatisticsConfig", "evaluate"]

NO_THRESHOLDS = Thresholds({}, "no validation data")


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
    identity: RowIdentity = RowIdentity(),
    config: StatisticsConfig | None = None,
    thresholds: Thresholds = NO_THRESHOLDS,
    seed: int = 0,
) -> pd.DataFrame:
    """Metric rows (METRIC_COLUMNS) of one set of scores on one evaluation set.

    scores: (N, C) finite, higher = more positive, any scale. labels: (N, C) in {1, 0, -1 ignored}.
    patients: (N,) ids; None or all empty gives image-level intervals, and every row says so.
    strata: name → classes, beside head, medium and tail, which follow the official rule on `labels`
    unless given here. subgroups: name → (N,) level of each image; empty levels are left out.
    identity: what the rows are of. seed: of the bootstrap.
    thresholds: from validation data (`thresholds.fit_thresholds`); with `config.thresholded`, F1, MCC and
    sensitivity use them, beside the named variants that pick them on these very images.

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
    groups = resolve_strata((labels == 1).sum(axis=0), classes, strata)
    panels = build_panels(
        scores,
        labels,
        codes,
        clusters,
        classes,
        groups,
        subgroups,
        minimum=config.subgroup_positives,
        dtype=np.float32,
    )
    rows = []
    draws = pool = None
    if config.interval != "analytic":
        from benchmark.evaluation.statistics.bootstrap import bootstrap  # the only use of torch

        draws = bootstrap(scores, labels, codes, clusters, draws=config.draws, seed=seed)
        repeated = np.repeat(codes.astype(np.int32), len(classes))
        flat = scores.reshape(-1, 1), labels.reshape(-1, 1), repeated
        pool = bootstrap(*flat, clusters, draws=config.draws, seed=seed)
    for metric in RANK_METRICS:
        panel = panels[metric]
        for k, column in enumerate(panel.columns):
            interval = panel.interval(k, config.level)
            if draws is not None and pool is not None:
                interval = _resampled(panel, k, draws, pool, interval, config)
            rows.append(metric_value(column, metric, interval))
        rows += [metric_value(c, f"{metric}_gap", i) for c, i in gaps(panel, subgroups or {}, config.level)]
    if config.thresholded:
        from benchmark.evaluation.statistics.thresholded import thresholded_rows

        rows += thresholded_rows(scores, labels, codes, clusters, classes, thresholds, config, seed)
    return finish(rows, grouped, identity)


def _resampled(
    panel: Panel, k: int, draws: Draws, pool: Draws, analytic: Interval, config: StatisticsConfig
) -> Interval:
    """The bootstrap's interval where it has draws of this column; the analytic one for subgroups."""
    column, value = panel.columns[k], float(panel.values[k])
    if np.isnan(value):
        return analytic
    if column.single:
        sample = draws.of(panel.metric)[:, k]
    elif column.weights is not None:
        sample = _average(draws.of(panel.metric), column.weights)
    elif column.name == "micro":
        sample = pool.of(panel.metric)[:, 0]
    else:
        return analytic
    from benchmark.evaluation.statistics.bootstrap import bca_interval, percentile_interval

    if config.interval == "bca":
        low, high = bca_interval(sample, value, panel.influence[:, k], config.level)
    else:
        low, high = percentile_interval(sample, config.level)
    lost = int(np.isnan(sample).sum())
    note = f"{lost} of {len(sample)} draws without positives or negatives" if lost else ""
    none = "interval undefined: the draws do not determine it" if np.isnan(low) else ""
    return Interval(value, low, high, join(analytic.note, note, none))


def _average(sample: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(B, C) draws → (B,) weighted mean over the classes that each draw defines."""
    known = ~np.isnan(sample)
    total = known @ weights
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, sample, 0.0) @ weights / total)


def finish(
    values: Iterable[MetricValue], grouped: bool, identity: RowIdentity = RowIdentity()
) -> pd.DataFrame:
    """Rows of METRIC_COLUMNS: identity columns, image-level notes and stable types."""
    if not grouped:
        values = [replace(v, n_patients=None, note=join("image-level", v.note)) for v in values]
    frame = metric_frame([{**identity.columns(), **value.columns()} for value in values])
    counts = ["n_pos", "n_neg", "n_ignored", "n_patients"]
    frame[counts] = frame[counts].astype("Int64")
    frame[["value", "low", "high"]] = frame[["value", "low", "high"]].astype(float)
    return frame
