"""Values of metrics as rows of a table: what tasks give and `evaluate.finish` makes a frame of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.core.tables import METRIC_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.evaluation.statistics.intervals import Interval
    from benchmark.evaluation.statistics.panel import Column


@dataclass(frozen=True)
class RowIdentity:
    """What a metric row is of: the columns of METRIC_COLUMNS before `class`, in their order. None: unknown,
    or for `seed` the mean over seeds. split: the protocol's name."""

    run_id: str | None = None
    method: str | None = None
    variant: str | None = None
    encoder: str | None = None
    dataset: str | None = None
    origin: str | None = None
    split: str | None = None
    prompts: str | None = None
    seed: int | None = None
    task: str | None = None

    def columns(self) -> dict[str, str | int | None]:
        """Column → value."""
        return dict(vars(self))

    def place(self) -> dict[str, str | None]:
        """The evaluation set alone."""
        return {"dataset": self.dataset, "origin": self.origin, "split": self.split}


IDENTITY = tuple(RowIdentity.__dataclass_fields__)
VALUE = METRIC_COLUMNS[len(IDENTITY) :]


@dataclass(frozen=True)
class MetricValue:
    """The columns VALUE of METRIC_COLUMNS, in their order. cls: a class, or `macro`, `micro`, `weighted`.
    value, low, high: NaN where undefined. n_patients: None where intervals are of images."""

    cls: str
    stratum: str
    metric: str
    value: float
    low: float
    high: float
    n_pos: int
    n_neg: int
    n_ignored: int
    n_patients: int | None
    note: str

    def columns(self) -> dict[str, str | float | None]:
        """Column → value."""
        return dict(zip(VALUE, vars(self).values(), strict=True))


def metric_value(column: Column, metric: str, interval: Interval) -> MetricValue:
    """The value of one column of a panel, with its interval."""
    return MetricValue(
        column.name, column.stratum, metric, interval.value, interval.low, interval.high, column.n_pos,
        column.n_neg, column.n_ignored, column.n_patients, interval.note,
    )  # fmt: skip


def values_of(rows: pd.DataFrame) -> list[MetricValue]:
    """Metric rows without their identity."""
    return [MetricValue(*row) for row in rows[list(VALUE)].itertuples(index=False, name=None)]
