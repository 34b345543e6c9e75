"""What weights have seen stands in every committed table, or the table is declared to be about no weights."""

from __future__ import annotations

import csv
import re
import subprocess
from pathlib import Path

import pytest

from benchmark.reporting.evidence import CellInfo, Evidence
from benchmark.reporting.seen import WITHOUT

LEVELS = re.compile(r"zero-shot|unknown|seen (images|reports|labels)|–")


def committed(root: Path, suffix: str) -> list[Path]:
    """The generated tables of reports/; `tuning` and the ledgers are sources in YAML."""
    listed = subprocess.run(
        ["git", "ls-files", f"reports/**/*{suffix}", f"reports/*{suffix}"],
        cwd=root, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return [root / line for line in dict.fromkeys(listed.splitlines())]


def tables_of(path: Path) -> list[str]:
    """Every Markdown table of a page: its first column, headings first, then the headings themselves."""
    text = path.read_text(encoding="utf-8")
    return re.findall(r"(?:^\|.*\|\n)+", text + "\n", re.MULTILINE)


def test_every_committed_table_has_its_column(root: Path) -> None:
    paths = committed(root, ".csv")
    assert len(paths) > 30
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        if path.stem in WITHOUT:
            assert "seen" not in rows[0], path
            continue
        assert "seen" in rows[0], f"{path}: no column `seen`; add it, or say why in reporting/seen.py"
        assert all(LEVELS.match(row["seen"]) or not row["seen"] for row in rows), path
        assert any(row["seen"] for row in rows), path


def test_every_committed_page_says_it_beside_each_table(root: Path) -> None:
    paths = committed(root, ".md")
    assert len(paths) > 30
    for path in paths:
        if path.stem in WITHOUT:
            continue
        for table in tables_of(path):
            head, first = table.splitlines()[0].lower(), table.lower()
            above = path.read_text(encoding="utf-8").split(table)[0].splitlines()[-2].lower()
            said = " seen " in head or "\n| seen |" in first or "seen by the weights" in above
            assert said, f"{path}: {head}"


@pytest.mark.parametrize(
    ("names", "datasets", "expected"),
    [
        (["clip-main"], ["padchest"], "seen reports (train)"),
        (["clip-main", "carzero-main"], ["openi"], "zero-shot"),
        (["clip-main"], ["openi", "padchest"], "zero-shot: openi; seen reports (train): padchest"),
        (["clip-main", "x-model"], ["openi"], "zero-shot: CLIP; unknown: X"),
        (
            ["clip-main", "x-model"],
            ["openi", "padchest"],
            "zero-shot: CLIP on openi; seen reports (train): CLIP on padchest; "
            "unknown: X on openi, X on padchest",
        ),
        (
            ["clip-main", "carzero-main"],
            ["openi", "padchest"],
            "zero-shot: openi; seen reports (train): padchest",
        ),
        (["clip-main · name"], ["padchest"], "seen reports (train)"),
        ([], ["padchest"], ""),
    ],
)
def test_rows_about_several_cells_and_sets(names: list[str], datasets: list[str], expected: str) -> None:
    import pandas as pd

    from benchmark.encoders.exposure import NOT_SAID, trained_on

    nothing = pd.DataFrame()
    cells = {
        "clip-main": CellInfo("clip-main", "clip", "CLIP", "main", "", ""),
        "carzero-main": CellInfo("carzero-main", "carzero", "CARZero", "main", "", ""),
        "x-model": CellInfo("x-model", "clip", "CLIP", "model", "", "X"),
    }
    evidence = Evidence(
        part="main", metrics=nothing, comparisons=nothing, ranks=nothing, cells=cells, seeds=nothing,
        runs=nothing, sets={d: {"dataset": d, "origin": "twin"} for d in ("openi", "padchest")},
        exposure={"clip-main": trained_on("padchest"), "carzero-main": trained_on("padchest"),
                  "x-model": NOT_SAID},
    )  # fmt: skip
    assert evidence.seen_by(names, datasets) == expected
