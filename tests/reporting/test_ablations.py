"""Single tables of ablation cells, made without the whole grid."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pandas as pd
import pytest

from benchmark.cli import main
from benchmark.grid.layout import Project
from benchmark.grid.params_file import load_params
from benchmark.reporting.gather import Gathered
from benchmark.reporting.table import markdown
from benchmark.reporting.tables.ablation import AVERAGE, ablation, with_training


@pytest.fixture(scope="module")
def evidence(project):
    return Gathered(Project(project), load_params(project / "params.yaml"), "all").evidence


def test_a_row_says_what_training_cost_and_whether_it_had_converged(evidence):
    runs = evidence.runs.assign(parameters_trained=97_912, converged=True, gain_last_quarter=0.002)
    runs.loc[runs["cell"] == "carzero-global", "converged"] = False
    made = with_training(replace(evidence, runs=runs), ablation(evidence, "features"))
    found = {row["cell"]: row for row in made.records()}
    assert found["carzero-main"]["parameters"] == 97_912
    assert found["carzero-main"]["converged"] is True
    assert found["carzero-global"]["converged"] is False
    assert "not converged (+0.002)" in markdown(made)


def test_a_cell_that_was_not_run_is_named(evidence):
    cell = replace(evidence.cell("carzero-global"), name="carzero-local")
    made = ablation(evidence, "features")
    assert not any("Not here" in note for note in with_training(evidence, made).notes)
    planned = replace(evidence, cells={**evidence.cells, cell.name: cell})
    assert any("carzero-local" in note for note in with_training(planned, made).notes)


def test_the_average_of_the_main_row_is_over_the_sets_of_the_other_rows(evidence):
    third = evidence.metrics[evidence.metrics["name"] == "carzero-main"]
    third = third[third["dataset"] == "chexpert"].assign(dataset="openi", value=0.0)
    sets = {**evidence.sets, "openi": evidence.sets["chexpert"]}
    wider = replace(evidence, metrics=pd.concat([evidence.metrics, third]), sets=sets)
    rows = {
        row["cell"]: row["value"]
        for row in ablation(wider, "features").records()
        if row["dataset"] == AVERAGE
    }
    plain = {
        row["cell"]: row["value"]
        for row in ablation(evidence, "features").records()
        if row["dataset"] == AVERAGE
    }
    assert wider.value("carzero-main", "openi")["value"] == 0.0
    assert rows == plain


def without(evidence, cells, dataset):
    """The same results without those of these cells on one set."""
    gone = evidence.metrics["name"].isin(cells) & (evidence.metrics["dataset"] == dataset)
    return replace(evidence, metrics=evidence.metrics[~gone])


def averages(evidence, table):
    return {row["cell"]: row for row in ablation(evidence, table).records() if row["dataset"] == AVERAGE}


def test_a_main_row_has_no_average_where_no_row_beside_it_has_one(evidence):
    lone = without(evidence, ["carzero-global"], "chexpert")
    assert [d for d in evidence.datasets if lone.value("carzero-main", d)] == evidence.datasets
    assert "carzero-main" in averages(evidence, "features")
    assert averages(lone, "features") == {}


def test_a_main_row_has_a_dash_where_the_averages_beside_it_are_over_different_sets(evidence):
    metrics = evidence.metrics
    local = metrics[metrics["name"] == "carzero-global"].assign(name="carzero-local")
    third = pd.concat([metrics[metrics["name"] == "carzero-main"], local])
    third = third[third["dataset"] == "chexpert"].assign(dataset="openi")
    cell = replace(evidence.cell("carzero-global"), name="carzero-local")
    wider = replace(
        evidence,
        metrics=pd.concat([metrics, local, third]),
        sets={**evidence.sets, "openi": evidence.sets["chexpert"]},
        cells={**evidence.cells, "carzero-local": cell},
    )
    found = averages(wider, "features")
    assert found["carzero-main"]["value"] is None
    assert found["carzero-local"]["images"] > found["carzero-global"]["images"]
    assert "averages beside it are over different sets" in markdown(ablation(wider, "features"))


def test_the_command_writes_tables_and_figures_or_says_what_to_run(inside, tmp_path, monkeypatch, capsys):
    assert main(["report", "ablations", "features"]) == 0
    folder = inside / "reports" / "ablations"
    assert {f.suffix for f in folder.iterdir()} == {".md", ".csv", ".tex", ".svg", ".pdf", ".png"}
    assert "converged" in pd.read_csv(folder / "features.csv").columns
    shutil.rmtree(folder)
    capsys.readouterr()
    assert main(["report", "ablations", "sizes"]) == 2
    assert "expected some of" in capsys.readouterr().err
    assert not folder.exists()
