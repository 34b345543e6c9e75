"""The rows that reporting reads, typed: what an evaluation, a comparison and a ranking recorded.

A row is a plain mapping, as a table of the stages holds it; numbers that are undefined are NaN or null there
(`reporting.numbers.missing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Required, TypedDict

from benchmark.reporting.numbers import missing, says_few

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.evaluation.comparison import Macro

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


def is_few(row: MetricRow | None) -> bool:
    """Whether a row says that too few positive patients carry it for its interval to be sure."""
    return row is not None and not missing(row.get("note")) and says_few(str(row["note"]))


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
    dictionary of each of thousands of rows takes longer than what is said of the few that are read. Those of
    macro means stand apart, as most questions are about them alone."""

    def __init__(self, frame: pd.DataFrame, keys: Sequence[str]) -> None:
        self._frame, self._keys = frame, keys
        self._cls = list(keys).index("class")

    @cached_property
    def means(self) -> NumberedRows:
        return NumberedRows(self._frame[self._frame["class"] == "macro"], self._keys)

    @cached_property
    def _others(self) -> NumberedRows:
        return NumberedRows(self._frame[self._frame["class"] != "macro"], self._keys)

    def get(self, *key: str) -> dict[str, Any] | None:
        """A row; None where there is none."""
        rows = self.means if key[self._cls] == "macro" else self._others
        n = rows.numbers.get(key)
        return None if n is None else {name: values[n] for name, values in rows.columns.items()}


class NumberedRows:
    """columns: name → values. numbers: key → number of its row."""

    def __init__(self, frame: pd.DataFrame, keys: Sequence[str]) -> None:
        self.columns: dict[str, list[Any]] = {str(name): frame[name].tolist() for name in frame.columns}
        self.numbers: dict[tuple[str, ...], int] = {}
        for n, key in enumerate(zip(*(self.columns[k] for k in keys), strict=True)):
            self.numbers.setdefault(key, n)


class SeedMean(NamedTuple):
    """An average of one seed with its limits."""

    seed: int
    value: float
    low: float
    high: float


class SeedRows:
    """The averages of every seed, found by what they are of: to look through thousands of rows at each
    question takes longer than to sort all of them once.

    macros: (name, dataset, stratum, metric) → its macro means, in the order of the rows. seeds: (name,
    dataset) → those with rows. tasks: metric → the task that it is of.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self.macros: dict[Macro, list[SeedMean]] = {}
        self.seeds: dict[tuple[str, str], set[int]] = {}
        self.tasks: dict[str, str] = {}
        keys = ("name", "dataset", "stratum", "metric", "class", "task", *SeedMean._fields)
        columns = (frame[key].tolist() for key in keys)
        for name, dataset, stratum, metric, cls, task, *value in zip(*columns, strict=True):
            own = SeedMean(*value)
            if not missing(own.seed):
                self.seeds.setdefault((name, dataset), set()).add(own.seed)
            if not missing(task):
                self.tasks.setdefault(metric, task)
            if cls == "macro":
                self.macros.setdefault((name, dataset, stratum, metric), []).append(own)
