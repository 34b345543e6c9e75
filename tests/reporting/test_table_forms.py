"""A table as Markdown, CSV and LaTeX: escapes, footnotes and marks."""

from __future__ import annotations

import csv
import io
import re
from html import escape as html_escape

import pytest
from evidence_case import shown

from benchmark.reporting.table import (
    Measured,
    Table,
    comma_separated,
    count,
    estimate,
    latex,
    markdown,
    words,
)


def test_latex_escapes_and_splits_long_tables():
    rows = tuple({"a": f"50% & <x|y>_{i}"} for i in range(95))
    text = latex(Table("long", "Long", (words("a", "A"),), rows, notes=("note #1",)))
    assert text.count("\\begin{table}") == text.count("\\end{table}") == 3
    assert "50\\% \\& $<$x$|$y$>$\\_94" in text
    assert text.count("note \\#1") == 1


HOSTILE = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1")


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_runs_as_a_formula_and_numbers_stay_numbers(text):
    columns = (words("class", "Class"), estimate("ours", "Ours"), count("n", "N"), words("empty", "E"))
    row = {"class": text, "ours": Measured(-0.5, -1.0, -0.25), "n": -3}
    (found,) = csv.DictReader(io.StringIO(comma_separated(Table("t", "T", columns, (row,))), newline=""))
    assert found["class"] == "'" + text.replace("\r", "\n")
    assert (found["value"], found["low"], found["n"], found["empty"]) == ("-0.5", "-1.0", "-3", "")
    dynamic = Table("t", "T", (estimate(text, text, f"{text} "),), ({text: Measured(1.0)},))
    header = next(csv.reader(io.StringIO(comma_separated(dynamic), newline="")))
    assert all(name.startswith("'") for name in header[:3])


def test_the_mark_of_few_positive_patients_stands_in_the_csv_of_macro_strata_and_subsets():
    notes = ("few positive patients (20, worth 12): coverage not assured",)
    columns = (
        estimate("all", "All"),
        estimate("tail", "Tail", "tail "),
        estimate("n", "N", "n ", marked=False),
    )
    row = {"all": Measured(0.5, 0.4, 0.6, notes=notes), "tail": Measured(0.5, 0.4, 0.6), "n": Measured(0.5)}
    (found,) = csv.DictReader(io.StringIO(comma_separated(Table("t", "T", columns, (row,)))))
    assert (found["few"], found["tail few"], "n few" in found) == ("few", "", False)


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "**b** `c` _d_",
        "https://example.org",
        "a|b\nc",
    ],
)
def test_no_text_is_markup_in_markdown(text):
    import markdown_it

    own = Table("t", text, (words("a", text),), ({"a": text},), notes=(text,), synthetic=False)
    html = markdown_it.MarkdownIt().enable(["table", "strikethrough"]).render(markdown(own))
    tags = set(re.findall(r"</?([a-z0-9]+)", html))
    assert tags <= {"h1", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}
    assert html.count("<strong>") == 1, "the banner"
    assert "https://" not in markdown(own), "GitHub makes links of bare addresses"
    flat = " ".join(text.split())
    assert html.count(html_escape(flat, quote=False)) >= 3


def test_footnotes_are_numbered_as_a_reader_meets_them():
    columns = (words("m", "M"), estimate("b", "B"), estimate("a", "A", "a "))
    rows = (
        {"m": "x", "a": Measured(0.5, notes=("second",)), "b": Measured(0.5, notes=("first",))},
        {"m": "y", "a": Measured(0.6, notes=("first", "third")), "b": None},
    )
    table = Table("t", "T", columns, rows, notes=("before",), family="pairs.")
    assert table.all_notes == [
        "before", "Family of the correction: pairs.", "[1] first", "[2] second", "[3] third",
    ]  # fmt: skip
    assert shown(table)[1] == {"m": "y", "a": "0.600 [1, 3]", "b": "–"}
