"""Tables, figures and the page name the level that their intervals have, whatever `statistics.level` is."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.grid.layout import Project
from benchmark.reporting.numbers import missing, percent
from benchmark.reporting.outputs import PartReport
from benchmark.reporting.site.content import write_site
from benchmark.reporting.table import markdown

REPORTING = Path(__file__).resolve().parents[2] / "benchmark" / "reporting"
FIXED = {"paper.py", "gains.py"}
"""Their limits have 95% whatever the parameters say: those of a paper's table, and of Spearman's ρ."""


@pytest.fixture(scope="module")
def at_ninety(project):
    report = PartReport(Project(project), "all")
    vars(report.gathered)["evidence"] = replace(report.gathered.evidence, level=0.9, power=0.7)
    return report


def test_tables_name_their_level(at_ninety):
    shown = {table.name: markdown(table) for table in at_ninety.tables}
    assert "brackets hold 90% intervals" in shown["overview"]
    assert "finds with 70% power" in shown["overview"]
    assert "with 90% intervals" in shown["claims"]
    assert not [name for name, text in shown.items() if "95%" in text]


def test_figures_name_their_level(at_ninety):
    said = {d.name: [d.caption, *(text.get_text() for text in d.figure.texts)] for d in at_ninety.drawings}
    assert any("90% intervals" in text for text in said["forest"])
    assert not [name for name, texts in said.items() if any("95%" in text for text in texts)]


def test_the_page_names_its_level(at_ninety):
    page = write_site(at_ninety).read_text(encoding="utf-8")
    assert "{{" not in page.partition("<script")[0]
    assert re.search(r"with 90% (<[^>]*>)*intervals", page)
    assert "90% confidence interval over patients" in page
    assert "test finds with 70% power" in page


def test_no_sentence_of_reporting_takes_a_level_for_granted():
    files = [f for f in sorted(REPORTING.rglob("*")) if f.suffix in (".py", ".html", ".js")]
    fixed = {f.name for f in files if "95%" in f.read_text(encoding="utf-8").replace("`95%`", "")}
    assert fixed <= FIXED


@pytest.mark.parametrize(("share", "text"), [(0.95, "95%"), (0.9, "90%"), (0.999, "99.9%"), (0.975, "97.5%")])
def test_percent(share, text):
    assert percent(share) == text


def test_the_detectable_effect_of_a_ranking_has_the_power_of_params(project):
    """As `ranks.parquet` and the checklist have it."""
    evidence = PartReport(Project(project), "all").gathered.evidence
    names = list(dict.fromkeys([*evidence.comparisons["method_a"], *evidence.comparisons["method_b"]]))
    usual, strict = (replace(evidence, power=power).ranking(names) for power in (0.8, 0.95))
    both = [key for key in usual if not (missing(usual[key]["mde"]) or missing(strict[key]["mde"]))]
    assert both
    assert all(strict[key]["mde"] > usual[key]["mde"] for key in both)
