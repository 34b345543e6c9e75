"""The committed tables: what they print as certain stands with other seeds too; every form has its marks."""

from __future__ import annotations

import csv
import re
from html import unescape
from pathlib import Path

import pytest

FEW = "few positive patients"
PLAIN = "overview", "zero_shot", "rare_disease", "negation", "prompt_alignment"
"""Tables with footnotes; `per_class` has a column that says it, and `subgroups` says it in words."""


def read(root: Path, name: str) -> tuple[list[dict[str, str]], list[str], set[str]]:
    """Rows of the CSV, the same rows of the Markdown, and the numbers of its footnotes on few positives."""
    path = root / "reports" / "tables" / f"{name}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(lines) == len(rows)
    notes = re.findall(r"^- \[(\d+)\] (.*)$", text, re.MULTILINE)
    return rows, lines, {number for number, said in notes if FEW in said}


def marked(line: str, few: set[str]) -> int:
    """Cells of a row that refer to one of these footnotes."""
    cells = re.findall(r"\[(\d+(?:, \d+)*)\](?:\*\*)? \|", line)
    return sum(bool(few & set(cell.split(", "))) for cell in cells)


@pytest.mark.parametrize("name", PLAIN)
def test_what_the_csv_marks_as_few_every_form_marks(root: Path, name: str) -> None:
    rows, lines, few = read(root, name)
    marks = [sum(value == "few" for value in row.values()) for row in rows]
    assert [marked(line, few) for line in lines] == marks
    assert sum(marks) > 0
    latex = (root / "reports" / "tables" / f"{name}.tex").read_text(encoding="utf-8")
    assert len(re.findall(rf"\[\d+\] (?:(?!\\par).)*{FEW}", latex)) == len(few)


def test_tables_without_footnotes_say_it_in_their_rows(root: Path) -> None:
    for name in ("per_class", "subgroups"):
        rows, lines, _ = read(root, name)
        for row, line in zip(rows, lines, strict=True):
            assert ("few" in row.values()) == ("| few |" in line or FEW in line)


def test_every_committed_table_says_that_it_is_of_twins(root: Path) -> None:
    """Where a row says it in a column; published values are the papers' own."""
    tables = [p for p in (root / "reports").rglob("*.csv") if p.stem != "published" or p.parent.name != "ct"]
    assert len(tables) > 40
    for path in tables:
        with path.open(encoding="utf-8", newline="") as file:
            assert all("SYNTHETIC TWIN" in row.values() for row in csv.DictReader(file)), path
    for path in (root / "reports").rglob("*.md"):
        if path.parent.name != "ct" or path.stem != "published":
            assert "SYNTHETIC TWIN" in path.read_text(encoding="utf-8"), path


def test_readme_and_page_carry_the_marks_of_padchest20(root: Path) -> None:
    readme = (root / "README.md").read_text(encoding="utf-8")
    head = next(line for line in readme.splitlines() if line.startswith("| Method | padchest |"))
    place = head.split(" | ").index("padchest (padchest20)")
    few = {n for n, said in re.findall(r"^- \[(\d+)\] (.*)$", readme, re.MULTILINE) if FEW in said}
    table = readme[readme.index(head) :].split("\n\n")[0].splitlines()[2:]
    cells = [row.split(" | ")[place] for row in table]
    assert all(marked(f"{cell} |", few) for cell in cells if cell != "–")
    page = unescape((root / "reports" / "site" / "index.html").read_text(encoding="utf-8"))
    _, _, notes = read(root, "overview")
    assert len(notes) > 1
    assert page.count(FEW) >= len(notes)


def test_nothing_is_bold_supported_or_contradicted_where_other_seeds_say_otherwise(root: Path) -> None:
    rows, lines, _ = read(root, "zero_shot")
    for row, line in zip(rows, lines, strict=True):
        first = (row["rank_low"], row["rank_high"]) == ("1", "1")
        assert ("**" in line) == (first and float(row["stability"] or 0) >= 0.9), line
    claims, verdicts, _ = read(root, "claims")
    for row, line in zip(claims, verdicts, strict=True):
        if re.search(r"\| (supported|contradicted) on", line):
            assert float(row["stability"]) >= 0.9, line
