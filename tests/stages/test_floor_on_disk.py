"""What counts in the warning of `bench run` beside its own cells: the floor of the main tables."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmark.grid.layout import Project
from benchmark.grid.modality import on_volumes
from benchmark.grid.params import ablation_cell, main_cell
from benchmark.grid.params_file import load_params
from benchmark.stages import references

PARAMS = load_params(Path(__file__).resolve().parents[2] / "params.yaml")
CLIP = [main_cell(PARAMS, "clip")]


@pytest.fixture
def session(tmp_path, monkeypatch):
    project = Project(tmp_path)
    for seed in (0, 1):
        project.run("clip-shuffled", seed).mkdir(parents=True)
        (project.run("clip-shuffled", seed) / "run.json").write_text("{}")
    made = {("clip-shuffled", 0, "padchest"), ("clip-shuffled", 1, "padchest"), ("clip-shuffled", 0, "openi")}

    def evaluation(_, task, cell, seed, dataset, run):
        found = "rows" if (cell.name, seed, dataset) in made else None
        return SimpleNamespace(on_disk=lambda: found, files=(Path("metrics"), Path("predictions")))

    monkeypatch.setattr(references, "find_run", lambda *_: "the record")
    monkeypatch.setattr(references, "evaluation", evaluation)
    monkeypatch.setattr(references, "_initial", lambda _, cell, dataset: (tmp_path / "mark", None, []))
    monkeypatch.setattr(references, "is_made", lambda *_: False)
    inputs = lambda cell: None  # noqa: E731
    return SimpleNamespace(encoders=None, params=PARAMS, project=project, evaluated={}, inputs=inputs)


def test_floor_cells_that_are_evaluated_count_and_what_is_missing_is_named(session):
    found = references.floor_on_disk(session, CLIP, [0, 1], ["padchest"])
    assert [cell.name for cell in found.cells] == ["clip-shuffled"]
    assert set(session.evaluated) == {
        ("clip-shuffled", seed, "padchest", "classification") for seed in (0, 1)
    }
    assert found.missing == {"untrained methods": "`bench stage cells main`"}
    at = SimpleNamespace(manifest=SimpleNamespace(dataset="padchest"))
    counted = references.floor_cells(session, found.cells, [0, 1], at)
    assert [(c.name, c.seed, c.kind) for c in counted] == [("clip-shuffled", s, "floor") for s in (0, 1)]


def test_on_volumes_the_command_is_the_one_that_makes_their_floor(session):
    session.params = on_volumes(PARAMS)
    own = PARAMS.cells["clip-shuffled"]
    session.params = session.params.model_copy(update={"cells": {"clip-ct-shuffled": own}})
    found = references.floor_on_disk(session, [main_cell(session.params, "clip")], [0], ["ct_rate"])
    assert set(found.missing) == {own.label, "untrained methods"}
    assert set(found.missing.values()) == {"`bench stage cells ct`"}


def test_the_command_makes_the_floor_of_another_set_once_params_name_it(session):
    found = references.floor_on_disk(session, CLIP, [0, 1], ["padchest", "siim_pneumothorax"])
    assert found.missing == {
        "CLIP, shuffled pairs": "`bench stage cell clip-shuffled` with siim_pneumothorax in data.evaluate",
        "untrained methods": "`bench stage cells main` with siim_pneumothorax in data.evaluate",
    }


def test_a_set_or_seed_that_lacks_the_floor_is_said(session):
    found = references.floor_on_disk(session, CLIP, [0, 1], ["openi"])
    assert found.missing["CLIP, shuffled pairs"] == "`bench stage cell clip-shuffled`"
    assert set(session.evaluated) == {("clip-shuffled", 0, "openi", "classification")}
    found = references.floor_on_disk(session, CLIP, [2], ["padchest"])
    assert "CLIP, shuffled pairs" in found.missing, "not trained at all"


def test_what_has_other_encoders_has_no_floor_of_cells_under_the_shared_ones(session):
    other = [ablation_cell(PARAMS, "clip-lite2")]
    assert references.floor_on_disk(session, other, [0], ["padchest"]) == references.Floor()
    session.encoders = ("image", "text")
    assert references.floor_on_disk(session, CLIP, [0], ["padchest"]) == references.Floor()
