"""What each ingredient gives of a difference, as the tables show it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from benchmark.cli import main
from benchmark.evaluation.statistics.seeds import summarise
from benchmark.grid.layout import Project
from benchmark.grid.params import AttributionParams
from benchmark.grid.params_file import load_params
from benchmark.reporting.attribution import contributions, family_size, lacking
from benchmark.reporting.factor_effects import MACRO
from benchmark.reporting.figures.attribution import attribution as figure
from benchmark.reporting.gather import Gathered
from benchmark.reporting.tables.attribution import attribution as table

CELLS = {"none": "clip-main", "a": "carzero-global", "b": "clip-main", "b + a": "carzero-main"}


@pytest.fixture
def gathered(project):
    return Gathered(Project(project), load_params(project / "params.yaml"), "all")


def macro(gathered, name, dataset):
    own = summarise(gathered.panels(name, dataset))
    return own.mean[[(c.name, c.stratum) for c in own.columns].index(MACRO)]


def test_contributions_sum_to_the_paired_difference(gathered):
    declared = {"x": AttributionParams(label="CARZero against CLIP", factors=("a", "b"), cells=CELLS)}
    evidence = gathered.evidence
    found = tuple(contributions(declared, evidence.datasets, gathered.panels, gathered.config))
    assert {c.dataset for c in found} == {"chestxray14", "chexpert"}
    for dataset in evidence.datasets:
        own = {c.factor: c for c in found if c.dataset == dataset}
        pair = evidence.pair("carzero-main", "clip-main", dataset)
        assert own[""].value == pytest.approx(pair["delta"], abs=1e-6)
        assert (own[""].low, own[""].high) == pytest.approx((pair["low"], pair["high"]), abs=1e-6)
        assert own["a"].value + own["b"].value == pytest.approx(own[""].value, abs=1e-9)
        step = macro(gathered, "carzero-global", dataset) - macro(gathered, "clip-main", dataset)
        assert own["a"].value == pytest.approx((step + pair["delta"]) / 2, abs=1e-6)
        assert own["a"].low < own["a"].value < own["a"].high
    assert family_size(declared, evidence.cells) == 6
    (lone,) = table(replace(evidence, contributions=found[:1], contributions_planned=6)).rows
    assert lone["p_holm"] == pytest.approx(min(1.0, 6 * found[0].p))
    shown = table(replace(evidence, contributions=found))
    assert [row["factor"] for row in shown.rows] == ["a", "b", "whole difference"] * 2
    assert figure(replace(evidence, contributions=found)) is not None


def test_a_set_that_lacks_a_cell_has_no_contributions(gathered):
    cells = {**CELLS, "a": "carzero-local"}
    declared = {"x": AttributionParams(label="x", factors=("a", "b"), cells=cells)}
    assert not list(contributions(declared, gathered.evidence.datasets, gathered.panels, gathered.config))


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"none": "x", "a": "x", "b": "x"}, "expected one cell for 'a \\+ b', found 0"),
        ({**CELLS, "a + b": "x"}, "expected one cell for 'a \\+ b', found 2"),
        ({**CELLS, "c": "x"}, "'c' names what is not under factors"),
    ],
)
def test_every_combination_has_one_cell(cells, said):
    with pytest.raises(ValidationError, match=said):
        AttributionParams(label="x", factors=("a", "b"), cells=cells)


def test_what_lacks_results_is_named(gathered):
    cells = {**CELLS, "a": "carzero-local"}
    declared = {"x": AttributionParams(label="A against B", factors=("a", "b"), cells=cells)}
    known = gathered.evidence.cells
    planned = {**known, "carzero-local": known["carzero-global"]}
    said = list(lacking(declared, planned, lambda name, dataset: name != "carzero-local"))
    assert said == [f"A against B on {d}: no results of carzero-local" for d in ("chestxray14", "chexpert")]
    assert list(lacking(declared, planned, lambda *_: True)) == []
    shown = table(replace(gathered.evidence, contributions_lacking=tuple(said)))
    assert f"Not here: {said[0]}." in shown.notes


def test_the_command_writes_a_table_and_a_figure_or_says_what_to_run(inside, capsys):
    assert main(["report", "attribution"]) == 2
    assert "bench stage cells attribution" in capsys.readouterr().err
    own = inside / "params.yaml"
    before = own.read_text(encoding="utf-8")
    cells = "{none: clip-main, a: carzero-global, b: clip-main, a + b: carzero-main}"
    more = f"attribution: {{x: {{label: CARZero against CLIP, factors: [a, b], cells: {cells}}}}}\n"
    own.write_text(before + more, encoding="utf-8")
    try:
        assert main(["report", "attribution", "--json"]) == 0
        files = json.loads(capsys.readouterr().out)["files"]
        assert {Path(f).suffix for f in files} == {".md", ".csv", ".tex", ".svg", ".pdf", ".png"}
        text = (inside / "reports" / "attribution" / "attribution.md").read_text(encoding="utf-8")
        assert "SYNTHETIC TWIN" in text
        assert "bench report attribution" in text
    finally:
        own.write_text(before, encoding="utf-8")
        shutil.rmtree(inside / "reports" / "attribution", ignore_errors=True)
