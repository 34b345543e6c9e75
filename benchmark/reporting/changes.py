"""What a run reproduced: tables now against tables as committed, cell by cell."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["identical", "changed", "new", "missing"]
MEASURED = frozenset(
    {"seconds", "seconds_min", "seconds_max", "peak_memory_bytes", "images_per_second", "device"}
)
"""Columns of the machine and the day, never of the method: left out of the comparison."""


@dataclass(frozen=True)
class Change:
    """One table. cells: values compared; differing: how many differ; largest: biggest difference of numbers,
    at row and column `where`. rows: added and removed."""

    table: str
    state: State
    cells: int = 0
    differing: int = 0
    largest: float = 0.0
    where: str = ""
    added: int = 0
    removed: int = 0

    @property
    def text(self) -> str:
        if self.state == "identical":
            return f"{self.table}: identical ({self.cells:,} values)"
        if self.state != "changed":
            return f"{self.table}: {self.state}" + (
                " (not committed)" if self.state == "new" else " (committed, not made)"
            )
        rows = f", {self.added} rows added, {self.removed} removed" if self.added or self.removed else ""
        largest = f", largest change {self.largest:.2g} at {self.where}" if self.where else ""
        return f"{self.table}: {self.differing:,} of {self.cells:,} values changed{largest}{rows}"


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
    def differs(self) -> bool:
        """Whether a committed table changed or was not made."""
        return any(c.state in ("changed", "missing") for found in self.parts.values() for c in found)

    @property
    def text(self) -> str:
        """For people: the tables of each folder, then the stages. A folder of which nothing is committed is
        one line."""
        lines = []
        for folder, found in self.parts.items():
            if all(change.state == "new" for change in found):
                lines.append(f"{folder}: {len(found)} tables, none of them committed at {self.commit}")
                continue
            same = sum(change.state == "identical" for change in found)
            lines.append(f"{folder}: {same} of {len(found)} tables identical to commit {self.commit}")
            lines += [f"  {change.text}" for change in found]
        if self.stages is not None:
            lines.append(self.stages.text)
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """One object."""
        return {
            "compared": True,
            "commit": self.commit,
            "differs": self.differs,
            "tables": {folder: [asdict(c) for c in found] for folder, found in self.parts.items()},
            "stages": None if self.stages is None else asdict(self.stages),
        }


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


KEYS = ("dataset", "stratum", "cell", "class", "metric", "subgroup", "method", "row", "variant")


def _compare(
    table: str,
    before: Mapping[tuple[str, ...], dict[str, str]],
    now: Mapping[tuple[str, ...], dict[str, str]],
) -> Change:
    cells = differing = 0
    largest, place = 0.0, ""
    for key in now.keys() & before.keys():
        old, new = before[key], now[key]
        for column in dict.fromkeys([*old, *new]):
            cells += 1
            a, b = old.get(column, ""), new.get(column, "")
            if a == b:
                continue
            differing += 1
            size = _distance(a, b)
            if size is not None and size > largest:
                label = " / ".join(part for part in key[:-1] if part)
                largest, place = size, f"{label}, {column}"
    added, removed = len(now.keys() - before.keys()), len(before.keys() - now.keys())
    same = not (differing or added or removed)
    return Change(table, "identical" if same else "changed", cells, differing, largest, place, added, removed)


def _distance(a: str, b: str) -> float | None:
    try:
        return abs(float(a) - float(b))
    except ValueError:
        return None
