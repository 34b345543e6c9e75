"""What counts in the warning of `bench run` beside its own cells: the floor of the main tables."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmark.core.errors import ParamsError
from benchmark.grid.layout import Project
from benchmark.grid.params import ablation_cell, main_cell
from benchmark.grid.params_file import load_params
from benchmark.grid.request import Request, RunPlan, plan
from benchmark.stages import references

PARAMS = load_params(Path(__file__).resolve().parents[2] / "params.yaml")


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


def todo(seeds, *datasets) -> RunPlan:
    below = (ablation_cell(PARAMS, "clip-shuffled"),)
    return RunPlan(PARAMS, (main_cell(PARAMS, "clip"),), tuple(seeds), datasets, (), below)


def asked(root, *words, **more) -> RunPlan:
    return plan(Project(root), Request("clip", *words, **more))


def test_floor_cells_that_are_evaluated_count_and_what_is_missing_is_named(session):
    found = references.floor_on_disk(session, todo([0, 1], "padchest"))
    assert [cell.name for cell in found.cells] == ["clip-shuffled"]
    assert set(session.evaluated) == {
        ("clip-shuffled", seed, "padchest", "classification") for seed in (0, 1)
    }
    assert found.missing == ("untrained methods",)
    at = SimpleNamespace(manifest=SimpleNamespace(dataset="padchest"))
    counted = references.floor_cells(session, found.cells, [0, 1], at)
    assert [(c.name, c.seed, c.kind) for c in counted] == [("clip-shuffled", s, "floor") for s in (0, 1)]


def test_a_set_or_seed_that_lacks_the_floor_is_said(session):
    both = ("CLIP, shuffled pairs", "untrained methods")
    assert references.floor_on_disk(session, todo([0, 1], "openi")).missing == both
    assert set(session.evaluated) == {("clip-shuffled", 0, "openi", "classification")}
    assert references.floor_on_disk(session, todo([2], "padchest")).missing == both, "not trained at all"
    assert references.floor_on_disk(session, todo([0], "padchest", "siim_pneumothorax")).missing == both


def test_the_floor_is_a_cell_of_its_own_under_what_the_run_was_asked_for(root):
    assert [cell.name for cell in asked(root, "padchest").below] == ["clip-shuffled"]
    assert asked(root, "ct_rate").below == (), "params.yaml has none on volumes"
    changed = asked(root, "padchest", sets=("training.epochs=3",))
    (cell,) = changed.below
    assert cell.name.startswith("clip-shuffled-")
    assert cell.training.epochs == 3
    assert not {cell} & {cell for cell, _ in changed.jobs}
    more = asked(root, "padchest", sets=("training.epochs=3",), seeds=(0, 1), floor=True)
    assert more.jobs[2:] == ((cell, 0), (cell, 1))
    recipe = asked(root, "padchest", recipe="official")
    assert recipe.below == asked(root, "padchest").below, "a recipe is one of methods"
    (cell,) = asked(root, "padchest", protocol="padchest20").below
    assert cell.name.startswith("clip-shuffled~"), "the same training"


def test_what_has_other_encoders_has_no_floor_under_the_shared_ones(session, root):
    own = ("method.clip.encoders.image=efficientnet-lite2",)
    assert asked(root, "padchest", sets=own).below is None
    assert references.floor_on_disk(session, asked(root, "padchest", sets=own)) == references.Floor()
    with pytest.raises(ParamsError, match="--floor: it is made under the shared"):
        asked(root, "padchest", sets=own, floor=True)
    session.encoders = ("image", "text")
    assert references.floor_on_disk(session, todo([0], "padchest")) == references.Floor()


def test_the_options_of_a_request_ask_for_it_again(root):
    request = Request(
        "clip", "padchest", sets=("training.epochs=3",), seeds=(0, 2), profile="smoke", floor=True
    )
    words = ["--method", "clip", "--dataset", "padchest", "--seeds", "0,2", "--profile", "smoke"]
    assert request.options() == [*words, "--set", "training.epochs=3", "--floor"]
    assert Request("clip", "padchest", data_root="~/a b").options()[-1] == str(Path("~/a b").expanduser())
