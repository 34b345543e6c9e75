"""One table is one list of rows of values; each column knows how to show its value to people and to machines.

Every form escapes what is text: Markdown and LaTeX against their markup, CSV against cells that a spreadsheet
would run as a formula. The page (HTML) shows `Table.shown` through a template that escapes everything.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.core.files import formula_free, write_text
from benchmark.core.tables import TWIN_NOTICE
from benchmark.reporting.numbers import (
    count_text,
    interval_text,
    known,
    missing,
    p_text,
    says_few,
    signed_text,
)

LATEX_ROWS = 40


@dataclass(frozen=True)
class Measured:
    """A value with its limits and what stands beside it: letters of its group, the notes that concern it, and
    whether it is separable from every other one of its ranking."""

    value: float | None
    low: float | None = None
    high: float | None = None
    letters: str = ""
    notes: tuple[str, ...] = ()
    best: bool = False

    @property
    def limits(self) -> tuple[float | None, float | None, float | None]:
        return known(self.value), known(self.low), known(self.high)

    @property
    def few(self) -> str | None:
        """The mark of few positive patients, for machines."""
        return "few" if any(map(says_few, self.notes)) else None


Value = str | int | float | None | Measured | tuple[float | None, ...]
Row = Mapping[str, Value]


def _plain(value: Any) -> str:
    return "–" if missing(value) else str(value)


@dataclass(frozen=True)
class TableColumn:
    """key: of the rows. title: for people; a column without one stands in the CSV only. show: value → text.
    names: headers of the CSV, one a part of the value; none: for people only."""

    key: str
    title: str = ""
    show: Callable[[Any], str] = _plain
    names: tuple[str, ...] = ()
    left: bool = False

    def text(self, value: Value, escape: Callable[[str], str] = str) -> str:
        """For people, without footnotes. escape: applied to what is text and not a number."""
        if isinstance(value, str):
            return escape(self.show(value))
        if not isinstance(value, Measured):
            return self.show(value)
        found = self.show(value.limits)
        return f"{found} {value.letters}" if value.letters else found

    def record(self, value: Value) -> dict[str, object]:
        """For machines: unrounded, header → part of the value."""
        parts: tuple[Any, ...]
        if isinstance(value, Measured):
            parts = (*value.limits, value.few)
        else:
            parts = value if isinstance(value, tuple) else (value,)
        filled = [*parts, *[None] * len(self.names)]
        return {name: formula_free(known(part)) for name, part in zip(self.names, filled, strict=False)}


def words(key: str, title: str = "", *, csv: bool = True) -> TableColumn:
    """Text. Without a title for the CSV only, with `csv=False` for people only."""
    return TableColumn(key, title, names=(key,) if csv else (), left=True)


def count(key: str, title: str = "") -> TableColumn:
    """A whole number: `1,234`."""
    return TableColumn(key, title, count_text, (key,))


def real(key: str, title: str = "", digits: int = 3) -> TableColumn:
    """A number of a fixed precision."""
    return TableColumn(key, title, lambda v: "–" if missing(v) else f"{v:,.{digits}f}", (key,))


def probability(key: str, title: str = "") -> TableColumn:
    """A p value."""
    return TableColumn(key, title, p_text, (key,))


def estimate(key: str, title: str = "", prefix: str = "", *, marked: bool = True) -> TableColumn:
    """`0.731 [0.702, 0.758]`; CSV: value, low and high behind `prefix`, and the mark of few positive patients
    unless a column of the table's own says it."""
    names = tuple(f"{prefix}{part}" for part in ("value", "low", "high", *(("few",) if marked else ())))
    return TableColumn(key, title, lambda v: interval_text(*_three(v)), names)


def change(key: str, title: str = "", names: tuple[str, ...] = ()) -> TableColumn:
    """`+0.012 [-0.003, +0.027]`; CSV: the key, with `_low` and `_high`, unless `names` says otherwise."""
    names = names or (key, f"{key}_low", f"{key}_high")
    return TableColumn(key, title, lambda v: signed_text(*_three(v)), names)


def _three(value: Any) -> Sequence[float | None]:
    return value if isinstance(value, tuple) else (value,)


@dataclass(frozen=True)
class Table:
    """rows: column key → value. notes: before the footnotes of the cells. family: what its p values are
    corrected over. synthetic: whether any value was made on a twin; then every form says so. measured_on: the
    labels of others, where they are neither of a twin nor of a card's official files."""

    name: str
    title: str
    columns: tuple[TableColumn, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    family: str = ""
    synthetic: bool = True
    command: str = ""
    commit: str = ""
    measured_on: str = ""

    @property
    def banner(self) -> str:
        if self.measured_on:
            return f"Measured on {self.measured_on}."
        if not self.synthetic:
            return "Measured on official data."
        return f"{TWIN_NOTICE}: measured on synthetic images, not on patients; no paper result."

    @property
    def shown_columns(self) -> tuple[TableColumn, ...]:
        return tuple(column for column in self.columns if column.title)

    @cached_property
    def _footnotes(self) -> list[str]:
        """Notes of cells in the order in which a reader meets them."""
        cells = (row.get(column.key) for row in self.rows for column in self.shown_columns)
        return list(
            dict.fromkeys(note for cell in cells if isinstance(cell, Measured) for note in cell.notes)
        )

    @property
    def plain_notes(self) -> list[str]:
        """The notes and the declared family."""
        return [*self.notes, *([f"Family of the correction: {self.family}"] if self.family else [])]

    @property
    def footnotes(self) -> list[str]:
        """Notes of cells with their numbers."""
        return [f"[{i}] {text}" for i, text in enumerate(self._footnotes, 1)]

    @property
    def all_notes(self) -> list[str]:
        """The notes, the declared family and the footnotes."""
        return [*self.plain_notes, *self.footnotes]

    def cell(self, row: Row, column: TableColumn, escape: Callable[[str], str] = str) -> str:
        """Text of one cell with its footnote numbers."""
        text = column.text(row.get(column.key), escape)
        numbers = [str(number) for number in self.numbers(row, column)]
        return f"{text} [{', '.join(numbers)}]" if numbers else text

    def numbers(self, row: Row, column: TableColumn) -> list[int]:
        """The footnotes of one cell, from 1."""
        value = row.get(column.key)
        notes = value.notes if isinstance(value, Measured) else ()
        return [self._footnotes.index(note) + 1 for note in notes]

    def shown(self) -> list[list[tuple[str, bool]]]:
        """Rows of (text, whether it is the separable best), as people read them."""
        return [
            [(self.cell(row, c), is_best(row.get(c.key))) for c in self.shown_columns] for row in self.rows
        ]

    def records(self) -> list[dict[str, object]]:
        """Rows of unrounded values, as the CSV holds them."""
        found = []
        for row in self.rows:
            record: dict[str, object] = {}
            for column in self.columns:
                record |= column.record(row.get(column.key))
            found.append(record)
        return found


def is_best(value: Value) -> bool:
    return isinstance(value, Measured) and value.best


def markdown(table: Table) -> str:
    """GitHub Markdown with the banner above and notes, command and commit below."""
    columns = table.shown_columns
    lines = [f"# {escape_markdown(table.title)}", "", f"**{table.banner}**", ""]
    lines += [_md_row([escape_markdown(c.title) for c in columns])]
    lines += [_md_row([":---" if c.left else "---:" for c in columns])]
    for row in table.rows:
        cells = [(table.cell(row, c, escape_markdown), is_best(row.get(c.key))) for c in columns]
        lines.append(_md_row([f"**{text}**" if best else text for text, best in cells]))
    lines += ["", *[f"- {_md_note(note)}" for note in table.all_notes]]
    if table.command:
        commit = f" at commit `{table.commit}`" if table.commit else ""
        lines += ["", f"Reproduce: `{table.command}`{commit}"]
    return "\n".join(lines) + "\n"


def comma_separated(table: Table) -> str:
    """RFC 4180 with unrounded values and a column `evidence`; text that reads as a formula starts with '."""
    buffer = io.StringIO()
    keys = list(dict.fromkeys(name for column in table.columns for name in column.names))
    writer = csv.DictWriter(buffer, [*map(formula_free, keys), "evidence"], lineterminator="\n")
    writer.writeheader()
    for record in table.records():
        fields = {formula_free(name): value for name, value in record.items()}
        evidence = table.measured_on or (TWIN_NOTICE if table.synthetic else "official")
        writer.writerow({**fields, "evidence": formula_free(evidence)})
    return buffer.getvalue()


def latex(table: Table) -> str:
    """Floats for \\usepackage{booktabs,graphicx}, shrunk to the line where they are wider.

    Long tables become several floats of LATEX_ROWS rows; the notes stand under the last.
    """
    columns = table.shown_columns
    spec = "".join("l" if c.left else "r" for c in columns)
    label = f"\\label{{tab:{table.name.replace('_', '-')}}}"
    head = " & ".join(escape_latex(c.title) for c in columns) + " \\\\"
    lines = [f"% {table.banner}"]
    starts = range(0, max(len(table.rows), 1), LATEX_ROWS)
    for start in starts:
        more = "" if start == 0 else " (continued)"
        lines += [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{escape_latex(f'{table.title}{more}. {table.banner}')}}}",
            *([label] if start == 0 else []),
            "\\footnotesize",
            "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
            f"\\begin{{tabular}}{{{spec}}}",
            "\\toprule",
            head,
            "\\midrule",
        ]
        for row in table.rows[start : start + LATEX_ROWS]:
            cells = [(escape_latex(table.cell(row, c)), is_best(row.get(c.key))) for c in columns]
            lines.append(" & ".join(f"\\textbf{{{t}}}" if best else t for t, best in cells) + " \\\\")
        lines += ["\\bottomrule", "\\end{tabular}}"]
        if table.all_notes and start == starts[-1]:
            notes = "\\par ".join(escape_latex(note) for note in table.all_notes)
            lines.append("\\par\\smallskip\\raggedright\\scriptsize " + notes)
        lines.append("\\end{table}")
    return "\n".join([*lines, ""])


def save(table: Table, folder: Path) -> list[Path]:
    """Write <name>.md, .csv and .tex; returns the paths."""
    paths = []
    for suffix, form in FORMS.items():
        path = folder / f"{table.name}{suffix}"
        write_text(path, form(table))
        paths.append(path)
    return paths


FORMS = {".md": markdown, ".csv": comma_separated, ".tex": latex}
"""What a table is written as: ending → text."""

_MARKDOWN = re.compile(r"([\\`*\[\]~|]|(?<![^\W_])_|_(?![^\W_])|(?<=www)\.|:(?=//))")


def escape_markdown(text: str) -> str:
    """Plain text → one line of GitHub Markdown that shows it as it is: no markup, HTML or link."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", text)


_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "—": "---",
    "−": "$-$",
    "±": r"$\pm$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "Δ": r"$\Delta$",
    "×": r"$\times$",
    "…": r"\dots{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    "→": r"$\to$",
    "·": r"$\cdot$",
    "“": "``",
    "”": "''",
}


def escape_latex(text: str) -> str:
    """Plain text → one line of LaTeX."""
    return "".join(_TEX.get(character, character) for character in " ".join(text.split()))


def _md_note(note: str) -> str:
    """A note, whose own number stays as the cells refer to it."""
    number, text = re.fullmatch(r"(\[\d+\] )?(.*)", note, re.S).groups()  # type: ignore[union-attr]
    return (number or "") + escape_markdown(text)


def _md_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
