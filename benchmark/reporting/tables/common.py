"""What the tables share: columns of counts, footnotes, marks for separable bests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.reporting.evidence import Evidence, count_text, interval_text, missing, notice
from benchmark.reporting.table import Column

COUNTS = (
    Column("images", "Images"),
    Column("patients", "Patients"),
    Column("positives", "Positives"),
)
ORIGIN = Column("origin", "Data", "left")
RANK = (Column("rank", "Rank"), Column("group", "Group", "left"))
MDE = Column("mde", "MDE")
READING = (
    "Values are means over seeds; brackets hold 95% intervals over patients (resampled whole) and seeds. "
    "Bold: separable from every other row of its group by Holm-corrected paired tests. "
    "Rows that share a letter are not separable. "
    "MDE: smallest true difference to the best other row that these data find with 80% power."
)


@dataclass
class Footnotes:
    """Notes in the order in which cells first need them."""

    texts: list[str] = field(default_factory=list)

    def mark(self, texts: Sequence[str]) -> str:
        """` [1, 2]` for a cell that these notes concern; empty where there are none."""
        numbers = []
        for text in texts:
            if text not in self.texts:
                self.texts.append(text)
            numbers.append(self.texts.index(text) + 1)
        return f" [{', '.join(map(str, numbers))}]" if numbers else ""

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(f"[{i}] {text}" for i, text in enumerate(self.texts, 1))


def counts(evidence: Evidence, dataset: str, row: Mapping[str, Any] | None) -> dict[str, Any]:
    """images, patients, positives and origin of a row, unrounded."""
    return counts_of(evidence.sets[dataset], row)


def counts_of(about: Mapping[str, Any], row: Mapping[str, Any] | None) -> dict[str, Any]:
    """The same of an evaluation set given as what is known about it."""
    return {
        "images": about.get("images"),
        "patients": about.get("patients") if row is None else known(row.get("n_patients")),
        "positives": None if row is None else known(row.get("n_pos")),
        "origin": about["origin"],
    }


def count_texts(raw: Mapping[str, Any]) -> dict[str, str]:
    own = {key: count_text(raw[key]) for key in ("images", "patients", "positives")}
    return {**own, "origin": notice(raw["origin"])}


def rank_values(row: Mapping[str, Any] | None) -> dict[str, Any]:
    """rank, its limits and letters; None where no ranking was made."""
    keys = {"rank": "rank", "rank_low": "rank_low", "rank_high": "rank_high", "group": "groups"}
    return {ours: None if row is None else row[theirs] for ours, theirs in keys.items()}


def rank_texts(raw: Mapping[str, Any]) -> dict[str, str]:
    if missing(raw["rank"]):
        return {"rank": "–", "group": "–"}
    low, high = int(raw["rank_low"]), int(raw["rank_high"])
    return {"rank": str(low) if low == high else f"{low}–{high}", "group": str(raw["group"])}


def separable(row: Mapping[str, Any] | None) -> bool:
    """Whether the ranking puts this row first and nothing else can be."""
    return row is not None and int(row["rank_low"]) == int(row["rank_high"]) == 1


def mde(
    evidence: Evidence, name: str, names: Sequence[str], dataset: str, stratum: str = "all"
) -> float | None:
    """Minimum detectable difference between `name` and the best of the others."""
    other = evidence.best_other(name, names, dataset, stratum)
    pair = None if other is None else evidence.pair(name, other, dataset, stratum)
    return None if pair is None else known(pair["mde"])


def mde_text(value: float | None) -> str:
    return "–" if missing(value) else f"{value:.3f}"


def value_text(row: Mapping[str, Any] | None) -> str:
    return "–" if row is None else interval_text(row["value"], row["low"], row["high"])


def limits(row: Mapping[str, Any] | None, prefix: str = "") -> dict[str, Any]:
    """value, low, high of a metric row, under prefixed keys."""
    return {f"{prefix}{k}": None if row is None else known(row[k]) for k in ("value", "low", "high")}


def row_notes(row: Mapping[str, Any] | None) -> list[str]:
    note = "" if row is None else row.get("note")
    return [str(note)] if note and not missing(note) else []


def known(value: Any) -> Any:
    return None if missing(value) else value
