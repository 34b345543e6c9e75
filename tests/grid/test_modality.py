from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmark.core.errors import ParamsError
from benchmark.core.tasks import task_named
from benchmark.grid.layout import Project
from benchmark.grid.modality import for_datasets, part_of
from benchmark.grid.params import ablation_cell, cell_named, main_cell
from benchmark.grid.params_file import load_params
from benchmark.grid.request import Request, plan
from benchmark.grid.robust_cells import params_of
from benchmark.stages.own_encoders import Sessions, as_evaluated


@pytest.fixture(scope="module")
def project(root):
    return Project(root)


def test_a_run_on_volumes_takes_its_own_settings_and_leaves_those_of_radiographs(project):
    params = load_params(project.params)
    volumes = for_datasets(params, ["ct_rate", "rad_chestct"])
    assert for_datasets(params, ["padchest"]) == params
    assert (volumes.data.train, volumes.encoders.image) == ("ct_rate", params.ct.image)
    assert volumes.texts.wording == "summary"
    assert (volumes.encoders.text, volumes.method) == (params.encoders.text, params.method)
    assert main_cell(volumes, "brgsa").name == "brgsa-ct"
    assert main_cell(params, "brgsa").name == "brgsa-main"
    assert cell_named(volumes, "brgsa-ct") == cell_named(volumes, "brgsa") == main_cell(volumes, "brgsa")


def test_cells_and_tasks_of_volumes_are_their_own(project):
    params = load_params(project.params)
    volumes = for_datasets(params, ["ct_rate"])
    assert (volumes.cells, volumes.tasks) == (params.ct.cells, params.ct.tasks)
    bare = ablation_cell(volumes, "brgsa-ct-no-bank")
    assert (bare.texts, bare.evaluate) == (params.ct.texts, params.ct.evaluate)
    assert bare.options.model_dump()["bank"] is False
    with pytest.raises(ParamsError, match="no cell 'brgsa-main'"):
        cell_named(volumes, "brgsa-main")


def test_a_cell_of_volumes_is_found_by_its_name_alone(project):
    params = load_params(project.params)
    for name in ("clip-ct", "brgsa-ct-no-bank"):
        assert cell_named(params_of(params, part_of(params, name)), name).name == name
    assert [part_of(params, name) for name in ("clip", "clip-main", "carzero-global", "clip-cf")] == [""] * 4


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ("{clip-dot: {method: clip, table: bank, label: a}}", "cells has this name too"),
        (
            "{x: {method: brgsa, table: bank, label: a, options: {bnk: false}}}",
            "unknown key 'ct.cells.x.options.bnk'.*'bank'",
        ),
        ("{x: {method: brgsa, table: bank, label: a, evaluate: [ct_rat]}}", "unknown dataset 'ct_rat'"),
    ],
)
def test_wrong_cells_of_volumes_are_one_line_with_their_key(project, cells, said):
    with pytest.raises(ParamsError, match=said):
        load_params(project.params, None, (f"ct.cells={cells}",))


def test_bench_run_picks_them_by_the_dataset(project):
    asked = plan(project, Request("all", "ct_rate_lt"))
    assert [cell.name for cell in asked.cells] == [f"{m}-ct" for m in asked.params.methods]
    assert asked.params.twins.of("ct_rate_lt") == {"images": 400, "side": 112, "seed": 0}
    changed = plan(project, Request("clip", "ct_rate", sets=("ct.training.epochs=3",)))
    assert changed.cells[0].name.startswith("clip-ct-")
    assert changed.cells[0].training.epochs == 3


@pytest.mark.parametrize(("dataset", "train"), [("ct_rate", "mimic_cxr"), ("padchest", "ct_rate")])
def test_radiographs_and_volumes_are_not_mixed(project, dataset, train):
    with pytest.raises(ParamsError, match="CT volumes"):
        plan(project, Request("clip", dataset, train=train))


def test_an_evaluation_is_given_settings_of_the_tasks_own_class(project):
    """Parameters are read with classes that stand for those of the tasks, which no evaluation may notice."""
    for params in (load_params(project.params), for_datasets(load_params(project.params), ["ct_rate"])):
        given = Sessions(SimpleNamespace(params=params)).shared.params
        assert given.tasks.keys() == params.tasks.keys()
        for name, own in given.tasks.items():
            assert type(own) is type(task_named(name)).Settings, name
            assert own.model_dump() == params.tasks[name].model_dump()
        assert as_evaluated(given).tasks == given.tasks


@pytest.mark.parametrize(
    ("dataset", "item", "instead"),
    [
        ("openi", "tasks.retrieval.pairs=50", "bench stage cell"),
        ("openi", "tasks.paraphrase.datasets=[openi]", "bench stage cell"),
        ("openi", "ct.image=astra", "CT volumes"),
        ("openi", "method.carzero.options.width=32", "another method"),
        ("ct_rate", "encoders.image=efficientnet-lite2", "set ct.image"),
        ("ct_rate", "texts.wording=raw", "set ct.texts.wording"),
        ("ct_rate", "tasks.retrieval.pairs=50", "bench stage cell"),
        ("ct_rate", "data.ablate_on=[openi]", "of radiographs alone"),
    ],
)
def test_a_set_that_nothing_in_the_run_reads_is_refused(project, dataset, item, instead):
    with pytest.raises(ParamsError, match=f"--set {item.partition('=')[0]}: nothing .*{instead}"):
        plan(project, Request("clip", dataset, sets=("seeds=[0]", item)))


@pytest.mark.parametrize(
    ("dataset", "item"),
    [
        ("openi", "training.epochs=80"),  # as configured
        ("openi", "training.epochs=2"),
        ("openi", "method.clip.options.width=32"),
        ("cxr_align", "tasks.negation.statements=50"),
        ("ct_rate", "ct.texts.wording=raw"),
        ("ct_rate", "training.epochs=2"),
        ("ct_rate", "statistics.level=0.9"),
    ],
)
def test_a_set_that_the_run_reads_is_taken(project, dataset, item):
    assert plan(project, Request("clip", dataset, sets=(item,))).cells


def test_settings_that_are_valid_together_alone_are_taken(project):
    sets = ("texts.wording=llm", "texts.llm_file=reports/claims.yaml")
    assert plan(project, Request("clip", "openi", sets=sets)).cells
