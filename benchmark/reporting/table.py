"""One table, three forms: Markdown, CSV and LaTeX (booktabs)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmark.core.files import write_text
from benchmark.core.tables import TWIN_NOTICE

Align = Literal["left", "right"]
LATEX_ROWS = 40


@dataclass(frozen=True)
class Column:
    """title: as printed. key: of the row mapping and of the CSV header. unit: printed after the title."""

    key: str
    title: str
    align: Align = "right"


@dataclass(frozen=True)
class Table:
    """rows: key → text for people. raw: key → value for machines (CSV), same length as rows, or empty.

    best: (row, key) cells that are separable from the next best. notes: footnotes in order.
    synthetic: whether any value was made on a twin; then every form says so.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[dict[str, str], ...]
    raw: tuple[dict[str, object], ...] = ()
    best: frozenset[tuple[int, str]] = frozenset()
    notes: tuple[str, ...] = ()
    synthetic: bool = True
    command: str = ""
    commit: str = ""
    headline: str = field(default="")

    @property
    def banner(self) -> str:
        if not self.synthetic:
            return "Measured on official data."
        return f"{TWIN_NOTICE}: measured on synthetic images, not on patients; no paper result."


def markdown(table: Table) -> str:
    """GitHub Markdown with the banner above and notes, command and commit below."""
    header = [c.title for c in table.columns]
    rule = ["---:" if c.align == "right" else ":---" for c in table.columns]
    lines = [f"# {table.title}", "", f"**{table.banner}**", ""]
    if table.headline:
        lines += [table.headline, ""]
    lines += [_md_row(header), _md_row(rule)]
    for index, row in enumerate(table.rows):
        cells = []
        for column in table.columns:
            text = row.get(column.key, "").replace("|", "\\|")
            cells.append(f"**{text}**" if (index, column.key) in table.best else text)
        lines.append(_md_row(cells))
    lines += ["", *[f"- {note}" for note in table.notes]]
    if table.command:
        lines += [
            "",
            f"Reproduce: `{table.command}`" + (f" at commit `{table.commit}`" if table.commit else ""),
        ]
    return "\n".join(lines) + "\n"


def comma_separated(table: Table) -> str:
    """RFC 4180 with unrounded values and an `origin` column."""
    buffer = io.StringIO()
    source: Sequence[dict[str, object]] = table.raw or [dict(r) for r in table.rows]
    keys = list(dict.fromkeys(key for row in source for key in row))
    writer = csv.DictWriter(buffer, [*keys, "evidence"], lineterminator="\n")
    writer.writeheader()
    for row in source:
        writer.writerow({**row, "evidence": TWIN_NOTICE if table.synthetic else "official"})
    return buffer.getvalue()


def latex(table: Table) -> str:
    """Floats for \\usepackage{booktabs,graphicx}, shrunk to the line where they are wider.

    Long tables become several floats of LATEX_ROWS rows; the notes stand under the last.
    """
    spec = "".join("r" if c.align == "right" else "l" for c in table.columns)
    label = f"\\label{{tab:{table.name.replace('_', '-')}}}"
    head = " & ".join(escape(c.title) for c in table.columns) + " \\\\"
    lines = [f"% {table.banner}"]
    starts = range(0, max(len(table.rows), 1), LATEX_ROWS)
    for start in starts:
        caption = (
            f"{table.title}. {table.banner}" if start == 0 else f"{table.title} (continued). {table.banner}"
        )
        lines += [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{escape(caption)}}}",
            *([label] if start == 0 else []),
            "\\footnotesize",
            "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
            f"\\begin{{tabular}}{{{spec}}}",
            "\\toprule",
            head,
            "\\midrule",
        ]
        for index in range(start, min(start + LATEX_ROWS, len(table.rows))):
            cells = []
            for column in table.columns:
                text = escape(table.rows[index].get(column.key, ""))
                cells.append(f"\\textbf{{{text}}}" if (index, column.key) in table.best else text)
            lines.append(" & ".join(cells) + " \\\\")
        lines += ["\\bottomrule", "\\end{tabular}}"]
        if table.notes and start == starts[-1]:
            lines.append(
                "\\par\\smallskip\\raggedright\\scriptsize " + "\\par ".join(escape(n) for n in table.notes)
            )
        lines.append("\\end{table}")
    return "\n".join([*lines, ""])


def save(table: Table, folder: Path) -> list[Path]:
    """Write <name>.md, .csv and .tex; returns the paths."""
    forms = {".md": markdown, ".csv": comma_separated, ".tex": latex}
    paths = []
    for suffix, form in forms.items():
        path = folder / f"{table.name}{suffix}"
        write_text(path, form(table))
        paths.append(path)
    return paths


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


def escape(text: str) -> str:
    """Plain text → LaTeX."""
    return "".join(_TEX.get(character, character) for character in text)


def _md_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
