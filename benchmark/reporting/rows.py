"""The rows that reporting reads, typed: what an evaluation, a comparison and a ranking recorded.

A row is a plain mapping, as a table of the stages holds it; numbers that are undefined are NaN or null there
(`reporting.numbers.missing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Required, TypedDict

if TYPE_CHECKING:
    import pandas as pd

MetricRow = TypedDict(
    "MetricRow",
    {
        "run_id": str, "method": str, "variant": str, "encoder": str, "dataset": str, "origin": str,
        "split": str, "prompts": str, "seed": int | None, "task": str, "class": str, "stratum": str,
        "metric": str, "value": float, "low": float, "high": float, "n_pos": int,
        "n_neg": int, "n_ignored": int, "n_patients": int, "note": str | None,
    },
)  # fmt: skip
"""One value: a row of `core.tables.METRIC_COLUMNS`."""

PairRow = TypedDict(
    "PairRow",
    {
        "dataset": str, "origin": str, "split": str, "class": str, "stratum": str, "metric": str,
        "method_a": str, "method_b": str, "value_a": float, "value_b": float, "delta": float, "low": float,
        "high": float, "se": float, "df": float, "p": float, "family": str, "p_holm": float, "p_bh": float,
        "mde": float, "mde_undefined": str, "n_seeds_a": int, "n_seeds_b": int, "n_pos": int, "n_neg": int,
        "n_patients": int, "few": bool, "undefined": str, "note": str | None,
    },
)  # fmt: skip
"""One paired comparison: a row of `evaluation.comparison.COMPARISON_COLUMNS`."""


class RankRow(TypedDict):
    """One method in a ranking: a row of `evaluation.comparison.RANK_COLUMNS`."""

    dataset: str
    origin: str
    split: str
    stratum: str
    metric: str
    method: str
    value: float
    rank: int | None
    rank_low: int | None
    rank_high: int | None
    groups: str | None
    stability: float | None
    mde: float
    mde_undefined: str
    few: bool
    undefined: str


class SetFacts(TypedDict, total=False):
    """What was evaluated of one set; pages that need no more hold its name and origin alone.

    classes: of which there is a value. official_images: how many the card declares. no_positives: classes
    without positives. labels: how they were read. notes: of the protocol.
    """

    origin: Required[str]
    images: int
    patients: int
    classes: int
    official_images: int | None
    no_positives: list[str]
    protocol: str
    labels: dict[str, Any]
    notes: list[str]
    encoder: str
    note: str
    dataset: Required[str]


class RowsByKey:
    """Rows of a table, found by the values of their key columns; the first counts where a key stands twice. A
    dictionary of each of thousands of rows takes longer than what is said of the few that are read.

    columns: name → values. numbers: key → number of its row.
    """

    def __init__(self, frame: pd.DataFrame, keys: Sequence[str]) -> None:
        self.columns: dict[str, list[Any]] = {str(name): frame[name].tolist() for name in frame.columns}
        self.numbers: dict[tuple[str, ...], int] = {}
        for n, key in enumerate(zip(*(self.columns[k] for k in keys), strict=True)):
            self.numbers.setdefault(key, n)

    def get(self, *key: str) -> dict[str, Any] | None:
        """A row; None where there is none."""
        n = self.numbers.get(key)
        return None if n is None else {name: values[n] for name, values in self.columns.items()}
