"""What a run reproduced: tables now against tables as committed, conclusions first.

A conclusion is what a reader takes from a table: the letters and ranks of a row, the verdict on a claim or
on a published value, on which side of one half an interval lies, and whether a corrected p is below 0.05.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from benchmark.reporting.table import escape_markdown

State = Literal["identical", "changed", "new", "missing"]
Outcome = Literal["byte-equal", "same conclusions", "conclusions differ", "nothing committed"]
MEASURED = frozenset(
    {"seconds", "seconds_min", "seconds_max", "peak_memory_bytes", "images_per_second", "device"}
)
"""Columns of the machine and the day, never of the method: left out of the comparison."""
CONCLUSIONS = frozenset(
    {"group", "rank", "rank_low", "rank_high", "verdict", "answer", "evidence_level", "chance"}
)
CORRECTED = frozenset({"p_holm", "p_corrected"})
KEYS = (
    "dataset", "stratum", "cell", "class", "metric", "subgroup", "method", "row", "variant", "prompts",
    "factor", "kind",
)  # fmt: skip
"""Columns that say which row it is; rows join by them, never by position."""
SHOWN = 20
"""Lines of each kind that people get; `--json` holds all."""


@dataclass(frozen=True)
class CellDifference:
    """One value of a table that differs. row: its keys; before, now: as the CSV holds them."""

    table: str
    row: str
    column: str
    before: str
    now: str

    @property
    def text(self) -> str:
        before, now = (_short(value) for value in (self.before, self.now))
        return f"{self.table}: {self.row}, {self.column}: {before} → {now}"


@dataclass(frozen=True)
class Change:
    """One table. cells: values compared; differing: how many differ; largest: biggest difference of numbers,
    at row and column `where`. conclusions: those that changed; left: values outside the interval that they
    had. rows: added and removed. columns: those that only one of the two has."""

    table: str
    state: State
    cells: int = 0
    differing: int = 0
    largest: float = 0.0
    where: str = ""
    added: int = 0
    removed: int = 0
    columns: tuple[str, ...] = ()
    conclusions: tuple[CellDifference, ...] = ()
    left: tuple[CellDifference, ...] = ()

    @property
    def concludes_otherwise(self) -> bool:
        """Whether a conclusion changed, or one that was committed is not there any more."""
        return bool(self.conclusions or self.removed) or self.state == "missing"

    @property
    def text(self) -> str:
        if self.state == "identical":
            return f"{self.table}: identical ({self.cells:,} values)"
        if self.state == "new":
            return f"{self.table}: new (not committed)"
        if self.state == "missing":
            return f"{self.table}: missing (committed, not made)"
        rows = f", {self.added} rows added, {self.removed} removed" if self.added or self.removed else ""
        columns = f", columns added or removed: {', '.join(self.columns)}" if self.columns else ""
        largest = f", largest change {self.largest:.2g} at {self.where}" if self.where else ""
        return f"{self.table}: {self.differing:,} of {self.cells:,} values changed{largest}{rows}{columns}"


def compare_tables(before: Mapping[str, str], now: Mapping[str, str]) -> list[Change]:
    """File name → CSV text, then and now. Rows join by their text columns, never by position."""
    found = []
    for name in sorted({*before, *now}):
        table = name.removesuffix(".csv")
        if name not in before or name not in now:
            found.append(Change(table, "new" if name in now else "missing"))
        else:
            found.append(_compare(table, _rows(before[name]), _rows(now[name])))
    return found


@dataclass(frozen=True)
class Stages:
    """Stages of dvc.lock by what they made: same hashes as committed, others, not committed, not made."""

    identical: tuple[str, ...]
    changed: tuple[str, ...]
    new: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def text(self) -> str:
        total = len(self.identical) + len(self.changed) + len(self.missing)
        parts = [f"dvc.lock: {len(self.identical)} of {total} committed stages have the same outputs"]
        for title in ("changed", "new", "missing"):
            names = getattr(self, title)
            if names:
                more = f" and {len(names) - 8} more" if len(names) > 8 else ""
                parts.append(f"{title}: {', '.join(names[:8])}{more}")
        return "; ".join(parts)


@dataclass(frozen=True)
class Reproduced:
    """commit: what was compared with. parts: folder of tables → its changes. stages: None without
    dvc.lock."""

    commit: str
    parts: dict[str, list[Change]]
    stages: Stages | None

    @property
    def changes(self) -> list[Change]:
        return [change for found in self.parts.values() for change in found]

    @property
    def outcome(self) -> Outcome:
        compared = [change for change in self.changes if change.state != "new"]
        if not compared:
            return "nothing committed"
        if any(change.concludes_otherwise for change in compared):
            return "conclusions differ"
        return "byte-equal" if all(c.state == "identical" for c in compared) else "same conclusions"

    @property
    def sentence(self) -> str:
        """The last line: what a reader must know."""
        if self.outcome == "nothing committed":
            return f"Nothing to compare: no table is committed at {self.commit}."
        if self.outcome == "byte-equal":
            return f"Byte-equal: every committed table is that of {self.commit}, but for times and memory."
        if self.outcome == "same conclusions":
            widest = max(self.changes, key=lambda change: change.largest)
            where = f" ({widest.table}, {widest.where})" if widest.where else ""
            return f"Same conclusions: values differ by at most {widest.largest:.2g}{where}."
        said = [
            f"{d.table} {d.row} {d.column} {_short(d.before)} → {_short(d.now)}"
            for c in self.changes
            for d in c.conclusions
        ]
        said += [f"{c.table} is missing" for c in self.changes if c.state == "missing"]
        said += [f"{c.table} lacks {c.removed} rows" for c in self.changes if c.removed]
        more = f"; and {len(said) - 5} more" if len(said) > 5 else ""
        return f"Conclusions differ: {'; '.join(said[:5])}{more}."

    @property
    def differs(self) -> bool:
        """Whether a conclusion of a committed table changed or is not there any more."""
        return self.outcome == "conclusions differ"

    @property
    def text(self) -> str:
        """For people: conclusions that changed, values that left their interval, a line a table, the stages,
        and what it comes to. A folder of which nothing is committed is one line."""
        lines = _listed("Conclusions that changed", [d for c in self.changes for d in c.conclusions])
        lines += _listed("Values outside the interval they had", [d for c in self.changes for d in c.left])
        for folder, found in self.parts.items():
            if all(change.state == "new" for change in found):
                lines.append(f"{folder}: {len(found)} tables, none of them committed at {self.commit}")
                continue
            same = sum(change.state == "identical" for change in found)
            lines.append(f"{folder}: {same} of {len(found)} tables identical to commit {self.commit}")
            lines += [f"  {change.text}" for change in found]
        if self.stages is not None:
            lines.append(self.stages.text)
        return "\n".join([*lines, self.sentence])

    @property
    def markdown(self) -> str:
        """Every conclusion that changed, a table a folder; then tables new, gone or of other rows."""
        lines = []
        for folder, found in self.parts.items():
            lines += [f"### {folder}, since {self.commit}", ""]
            rows = [d for change in found for d in change.conclusions]
            if rows:
                lines += ["| table | row | what | before | now |", "|---|---|---|---|---|"]
                lines += [
                    "| " + " | ".join(map(escape_markdown, cells)) + " |"
                    for d in rows
                    for cells in [(d.table, d.row, d.column, _short(d.before), _short(d.now))]
                ]
            else:
                lines.append("No letter, rank or verdict changed.")
            others = [c for c in found if c.state in ("new", "missing") or c.added or c.removed]
            lines += ["", *(f"- {escape_markdown(c.text)}" for c in others), ""]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """One object."""
        return {
            "compared": True,
            "commit": self.commit,
            "outcome": self.outcome,
            "sentence": self.sentence,
            "differs": self.differs,
            "tables": {folder: [asdict(c) for c in found] for folder, found in self.parts.items()},
            "stages": None if self.stages is None else asdict(self.stages),
        }


def _listed(title: str, found: list[CellDifference]) -> list[str]:
    more = [f"  and {len(found) - SHOWN} more (--json has all)"] if len(found) > SHOWN else []
    return [f"{title}:", *(f"  {d.text}" for d in found[:SHOWN]), *more] if found else []


def compare_locks(before: Mapping[str, Any], now: Mapping[str, Any]) -> Stages:
    """dvc.lock as parsed YAML, then and now; stages compare by the hashes of their outputs."""
    old, new = (_outputs(lock) for lock in (before, now))
    both = sorted(old.keys() & new.keys())
    return Stages(
        tuple(name for name in both if old[name] == new[name]),
        tuple(name for name in both if old[name] != new[name]),
        tuple(sorted(new.keys() - old.keys())),
        tuple(sorted(old.keys() - new.keys())),
    )


def _outputs(lock: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Stage → hash of each output. Tables are compared value by value instead."""
    found = {}
    for name, stage in (lock.get("stages") or {}).items():
        outs = {out["path"]: str(out.get("md5") or out.get("hash")) for out in stage.get("outs") or []}
        kept = {p: md5 for p, md5 in outs.items() if not p.startswith("reports/")}
        if kept:
            found[name] = kept
    return found


def _rows(text: str) -> dict[tuple[str, ...], dict[str, str]]:
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for row in csv.DictReader(io.StringIO(text)):
        kept = {k: v for k, v in row.items() if k not in MEASURED}
        base = tuple(kept.get(k, "") for k in KEYS)
        repeat = 0
        while (*base, str(repeat)) in rows:
            repeat += 1
        rows[(*base, str(repeat))] = kept
    return rows


def _compare(
    table: str,
    before: Mapping[tuple[str, ...], dict[str, str]],
    now: Mapping[tuple[str, ...], dict[str, str]],
) -> Change:
    cells = differing = 0
    largest, place = 0.0, ""
    conclusions, left = [], []
    for key in (key for key in before if key in now):
        old, new = before[key], now[key]
        label = " / ".join(part for part in key[:-1] if part)
        for column in (column for column in old if column in new):
            cells += 1
            size = _distance(old[column], new[column])
            if old[column] == new[column]:
                continue
            differing += 1
            found = CellDifference(table, label, column, old[column], new[column])
            if size == 0:
                continue
            if _concludes(found):
                conclusions.append(found)
            elif _outside(old, column, new[column]):
                left.append(found)
            if size is not None and size > largest and column not in CONCLUSIONS:
                largest, place = size, f"{label}, {column}"
    added, removed = len(now.keys() - before.keys()), len(before.keys() - now.keys())
    columns = sorted(_columns(before.values()) ^ _columns(now.values()))
    same = [list(row.items()) for row in before.values()] == [list(row.items()) for row in now.values()]
    return Change(
        table, "identical" if same else "changed", cells, differing, largest, place, added, removed,
        tuple(columns), tuple(conclusions), tuple(left),
    )  # fmt: skip


def _columns(rows: Iterable[Mapping[str, str]]) -> set[str]:
    return {column for row in rows for column in row}


def _concludes(found: CellDifference) -> bool:
    """Whether a reader would take something else from the row. A corrected p must cross 0.05."""
    if found.column in CORRECTED:
        before, now = (_number(value) for value in (found.before, found.now))
        return (before is not None and before < 0.05) != (now is not None and now < 0.05)
    return found.column in CONCLUSIONS or found.column.endswith(" group")


def _outside(old: Mapping[str, str], column: str, now: str) -> bool:
    """Whether a value lies outside the interval that it had, or is gone; False for what has no interval."""
    names = _interval_of(column)
    if names is None:
        return False
    low, high = (_number(old.get(name, "")) for name in names)
    if low is None or high is None:
        return False
    value = _number(now)
    return value is None or not low <= value <= high


def _interval_of(column: str) -> tuple[str, str] | None:
    """The columns of a value's limits: `tail value` has `tail low`, `slope` has `slope_low`."""
    if column.endswith("value"):
        stem = column.removesuffix("value")
        return f"{stem}low", f"{stem}high"
    if column == "effect":
        return "low", "high"
    return None if column.endswith(("low", "high")) else (f"{column}_low", f"{column}_high")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _distance(a: str, b: str) -> float | None:
    first, second = _number(a), _number(b)
    return None if first is None or second is None else abs(first - second)


def _short(value: str) -> str:
    number = _number(value)
    return value or "–" if number is None or number == int(number) else f"{number:.3f}"
