"""The parity table: fixture, output, largest difference, tolerance, verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from benchmark.official.parity.check import ParityRow, Verdict

_FOLDED = ("grad_state/", "json/stats/", "out/bootstrap/", "out/summary/")
_VERDICTS: tuple[Verdict, ...] = ("ok", "off", "unchecked")
_HEADER = ("fixture", "output", "max abs difference", "tolerance", "verdict", "note")


def as_object(rows: Sequence[ParityRow]) -> dict[str, Any]:
    """The whole table as one JSON object; infinite and undefined numbers become null."""
    return {
        "verdict": "off" if any(row.verdict == "off" for row in rows) else "ok",
        "fixtures": len({row.fixture for row in rows}),
        **_counts(rows),
        "worst_ratio": _finite(max((r.ratio for r in rows if r.verdict != "unchecked"), default=0.0)),
        "rows": [
            {
                "fixture": row.fixture,
                "output": row.output,
                "max_abs_difference": _finite(row.difference),
                "tolerance": _finite(row.tolerance),
                "verdict": row.verdict,
                "note": row.note,
            }
            for row in rows
        ],
    }


def as_text(rows: Sequence[ParityRow], everything: bool = False) -> str:
    """A plain table. Without `everything`, groups of like outputs fold into their worst row; rows that are
    off are always listed."""
    groups: dict[tuple[str, str], list[ParityRow]] = {}
    for row in rows:
        groups.setdefault(_group(row), []).append(row)
    shown = rows if everything else [row for group in groups.values() for row in _fold(group)]
    cells = [_HEADER, *(_cells(row) for row in shown)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(_HEADER))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    counts = _counts(rows)
    lines.append("")
    lines.append(
        f"{len({row.fixture for row in rows})} fixtures, {counts['ok']} outputs within tolerance, "
        f"{counts['off']} off, {counts['unchecked']} not checked (with reasons)."
    )
    return "\n".join(lines)


def _group(row: ParityRow) -> tuple[str, str]:
    folded = next((prefix for prefix in _FOLDED if row.output.startswith(prefix)), None)
    return row.fixture, f"{folded}{row.verdict}" if folded else row.output


def _fold(group: list[ParityRow]) -> list[ParityRow]:
    if len(group) == 1 or group[0].verdict == "off":
        return group
    worst = max(group, key=lambda row: 0.0 if math.isnan(row.ratio) else row.ratio)
    prefix = next(p for p in _FOLDED if worst.output.startswith(p))
    rest = f"worst of {len(group)}: {worst.output.removeprefix(prefix)}"
    if worst.verdict == "unchecked":
        rest = f"{len(group)}: {worst.note}"
    return [ParityRow(worst.fixture, f"{prefix}…", worst.difference, worst.tolerance, worst.verdict, rest)]


def _cells(row: ParityRow) -> tuple[str, ...]:
    return (
        row.fixture,
        row.output,
        _number(row.difference),
        _number(row.tolerance),
        row.verdict,
        row.note,
    )


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:g}" if value == 0 or math.isinf(value) or float(value).is_integer() else f"{value:.1e}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _counts(rows: Iterable[ParityRow]) -> dict[str, int]:
    verdicts = [row.verdict for row in rows]
    return {kind: verdicts.count(kind) for kind in _VERDICTS}
