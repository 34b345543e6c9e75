"""Scores and labels → the rows of a bundle, by the project's own scoring; how two tables of rows differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.errors import DataError
from benchmark.core.settings import StatisticsConfig
from benchmark.evaluation.statistics.metric_values import RowIdentity
from benchmark.evaluation.statistics.metrics import RANK_METRICS
from benchmark.exchange.bundle import BundleRecord
from benchmark.exchange.truth import Labelled

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 1e-6
"""What two computations of one value may differ by."""
CONFIG = StatisticsConfig()
"""Of every bundle, whatever a project's parameters say: intervals of 95%, by influence functions."""
KEYS = ("seed", "class", "stratum", "metric")
VALUES = ("value", "low", "high")
COUNTS = ("n_pos", "n_neg", "n_ignored", "n_patients")


@dataclass(frozen=True)
class Deviation:
    """The largest difference between two tables of rows. what: the row; here, there: the two numbers."""

    what: str
    there: float
    here: float
    rows: int

    @property
    def size(self) -> float:
        return abs(self.there - self.here)

    def __str__(self) -> str:
        more = f" ({self.rows:,} rows differ)" if self.rows > 1 else ""
        return f"{self.what}: {self.there:.6f} against {self.here:.6f}, by {self.size:.2g}{more}"


def metric_rows(
    scores: Mapping[int, pd.DataFrame],
    labels: Labelled,
    strata: Mapping[str, tuple[str, ...]],
    identity: RowIdentity,
) -> pd.DataFrame:
    """METRIC_COLUMNS of every seed, and of the mean over seeds with an empty seed.

    scores: seed → image_id and one column a class. Raises DataError where scores lack an image.
    """
    import pandas as pd

    from benchmark.evaluation.comparison import Run, over_seeds, summarise_runs
    from benchmark.evaluation.evaluate import evaluate

    name = str(identity.run_id)
    shared = {"strata": strata, "subgroups": labels.subgroups, "config": CONFIG}
    frames, runs = [], []
    for seed, frame in scores.items():
        array = frame.set_index("image_id").loc[list(labels.ids), list(labels.classes)].to_numpy(np.float64)
        rows = evaluate(
            array, labels.labels, labels.patients, labels.classes,
            identity=replace(identity, seed=seed), **shared,  # type: ignore[arg-type]
        )  # fmt: skip
        frames.append(rows)
        runs.append(Run(name, seed, array))
    summary = summarise_runs(runs, labels.labels, labels.patients, labels.classes, **shared)  # type: ignore[arg-type]
    means = over_seeds(summary, identity={name: identity}, config=CONFIG)
    frames.append(means)
    whole = pd.concat([f.assign(seed=f["seed"].astype("Int64")) for f in frames], ignore_index=True)
    return whole.assign(note=whole["note"].astype("string").fillna("").astype(object))


def check_scores(path: Path, frame: pd.DataFrame, labels: Labelled, whose: str) -> None:
    """Raises DataError where the images are not those of the labels, or the scores are the labels."""
    known, given = set(labels.ids), set(frame["image_id"])
    for lost, what in ((known - given, "no scores for"), (given - known, "scores for unknown")):
        if lost:
            raise DataError(
                f"{path}: {what} {len(lost):,} images of {whose}, the first '{min(lost)}'. "
                "Score the protocol's images, and no others."
            )
    array = frame.set_index("image_id").loc[list(labels.ids), list(labels.classes)].to_numpy(np.float64)
    told = labels.labels >= 0
    if told.any() and (labels.labels == 1).any() and np.array_equal(array[told], labels.labels[told]):
        raise DataError(f"{path}: the scores are the labels themselves. Give a model's scores.")


def difference(there: pd.DataFrame, here: pd.DataFrame, tolerance: float = TOLERANCE) -> Deviation | None:
    """The largest difference of a value, limit or count between rows of the same seed, class, stratum and
    metric; None within `tolerance`. A value against none counts as the value itself.

    Raises DataError where one table has rows that the other lacks.
    """
    a, b = (_indexed(frame) for frame in (there, here))
    lost = a.index.symmetric_difference(b.index)
    if len(lost):
        side = "recomputed" if lost[0] in b.index else "the bundle"
        raise DataError(
            f"{len(lost):,} rows are in {side} alone, the first {_named(lost[0])}. Export it again."
        )
    b = b.loc[a.index]
    worst: Deviation | None = None
    rows = np.zeros(len(a), dtype=bool)
    for column in (*VALUES, *COUNTS):
        one, two = (f[column].astype("Float64").to_numpy(dtype=float, na_value=np.nan) for f in (a, b))
        both = np.isnan(one) & np.isnan(two)
        gap = np.where(both, 0.0, np.abs(np.nan_to_num(one) - np.nan_to_num(two)))
        gap = np.where(np.isnan(one) != np.isnan(two), np.maximum(gap, 2 * tolerance), gap)
        rows |= gap > tolerance
        k = int(gap.argmax())
        if gap[k] > tolerance and (worst is None or gap[k] > worst.size):
            named = f"{_named(a.index[k])}, {column}" if column != "value" else _named(a.index[k])
            worst = Deviation(named, float(np.nan_to_num(one[k])), float(np.nan_to_num(two[k])), 0)
    return None if worst is None else Deviation(worst.what, worst.there, worst.here, int(rows.sum()))


def check_possible(metrics: pd.DataFrame) -> None:
    """Raises DataError for rows that no result can have, where nothing recomputes them: ranking metrics
    beside 0 to 1, limits in the wrong order, a headline without a value."""
    import pandas as pd

    own = _indexed(metrics)
    for column in VALUES:
        if not pd.api.types.is_numeric_dtype(own[column]):
            raise DataError(f"column '{column}' holds no numbers. Export the bundle again.")
    value, low, high = (own[c].to_numpy(dtype=float, na_value=np.nan) for c in VALUES)
    ranks = own.index.get_level_values("metric").isin(RANK_METRICS)
    outside = ranks & np.any([(v < 0) | (v > 1) for v in (value, low, high)], axis=0)
    headline = np.array([key[:3] == (-1, "macro", "all") for key in own.index])
    odd = outside | (low > high) | (headline & ~np.isfinite(value))
    if odd.any():
        k = int(odd.argmax())
        raise DataError(
            f"{_named(own.index[k])}: {value[k]:g} [{low[k]:g}, {high[k]:g}], which no result can have. "
            "Export the bundle again."
        )


def _indexed(frame: pd.DataFrame) -> pd.DataFrame:
    """By KEYS, the empty seed of means as -1. Raises DataError for rows that stand twice."""
    own = frame.assign(seed=frame["seed"].astype("Int64").fillna(-1))
    found = own.set_index(list(KEYS)).sort_index()
    if found.index.has_duplicates:
        twice = found.index[found.index.duplicated()][0]
        raise DataError(f"two rows for {_named(twice)}. Export the bundle again.")
    return found


def _named(key: tuple[int, str, str, str]) -> str:
    seed, cls, stratum, metric = key
    return f"{metric} of '{cls}' on {stratum}, {'mean over seeds' if seed == -1 else f'seed {seed}'}"


def headline(record: BundleRecord, metrics: pd.DataFrame, metric: str = "auroc") -> dict[str, float]:
    """value, low and high of the macro mean over seeds."""
    own = metrics[
        (metrics["class"] == "macro")
        & (metrics["stratum"] == "all")
        & (metrics["metric"] == metric)
        & metrics["seed"].isna()
    ]
    if len(own) != 1:
        raise DataError(f"bundle '{record.name}': no macro {metric} over seeds. Export the bundle again.")
    return {name: float(own[name].iloc[0]) for name in VALUES}
