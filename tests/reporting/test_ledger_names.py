"""Entries of the ledger and published values that no result can answer: numbers that are none, mistyped
names, and contrasts of one side."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.core.errors import BenchError
from benchmark.core.tasks import TASKS
from benchmark.grid.layout import Project
from benchmark.grid.profiles import write_profile
from benchmark.reporting import known_names
from benchmark.reporting.claims import CT_FAMILY, Ledger, Prediction, load_claims, load_ledger
from benchmark.reporting.known_names import OF_TASKS, check_names, check_rows
from benchmark.reporting.published import load_published
from tests.reporting.test_claims import claim


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("claims.yaml", (r"datasets: all", "datasets: all, margin: .inf")),
        ("claims.yaml", (r"published: [0-9.]+", "published: .nan")),
        ("published.yaml", (r"value: [0-9.]+", "value: .nan")),
        ("published.yaml", (r"value: [0-9.]+", "value: .inf")),
    ],
)
def test_a_number_that_is_none_decides_no_verdict(tmp_path, root, name, change):
    text = (root / "reports" / name).read_text(encoding="utf-8")
    start = text.index("\nrows:" if name == "published.yaml" else "\nclaims:")
    (tmp_path / name).write_text(text[:start] + re.sub(*change, text[start:], count=1), encoding="utf-8")
    with pytest.raises(BenchError, match="finite number"):
        (load_claims if name == "claims.yaml" else load_published)(tmp_path / name)


@pytest.mark.parametrize(
    ("contrast", "said"),
    [
        ({"datasets": ["chexpert", "chexpert"]}, "chexpert stands twice"),
        ({"datasets": []}, "names no set"),
        ({"b": "carzero-main"}, "holds carzero-main against itself"),
        ({"b": "carzero-main", "prompts": {"a": "name", "b": "name"}}, "against itself"),
        (
            {"kind": "interaction", "stratum": "tail", "against": "head", "metric": "average_precision"},
            "is of auroc_macro",
        ),
        ({"kind": "interaction", "stratum": "tail", "against": "tail"}, "one stratum"),
        ({"kind": "absolute", "b": None, "published": 0.8, "margin": 0.01}, "name the one set"),
        (
            {
                "kind": "absolute",
                "b": None,
                "published": 0.8,
                "margin": 0.1,
                "datasets": ["openi", "chexpert"],
            },
            "name the one set",
        ),
    ],
)
def test_a_contrast_that_no_result_can_answer_is_refused(contrast, said):
    with pytest.raises(ValueError, match=said):
        claim(**contrast)


@pytest.mark.parametrize(
    ("contrast", "said"),
    [
        ({"datasets": ["chexpret"]}, r"no card of 'chexpret'.*Did you mean 'chexpert'"),
        ({"stratum": "tial"}, r"no set has a stratum 'tial'.*Did you mean 'tail'"),
        ({"datasets": ["openi"], "stratum": "padchest20"}, "openi has no stratum 'padchest20'"),
        ({"metric": "auroc_marco"}, r"not compared by 'auroc_marco'.*Did you mean 'auroc_macro'"),
        ({"kind": "interaction", "stratum": "tail", "against": "haed"}, "no set has a stratum 'haed'"),
        (
            {"kind": "task", "metric": "pointing_gmae"},
            "no task has a metric 'pointing_gmae'.*'pointing_game'",
        ),
        (
            {"kind": "task", "metric": "auroc_absent", "metric_b": "auroc_abesnt"},
            "no task has a metric 'auroc_abesnt'",
        ),
        ({"kind": "gap", "metric": "modality_gpa"}, "no task has a metric 'modality_gpa'"),
        (
            {
                "kind": "absolute",
                "b": None,
                "published": 0.5,
                "margin": 0.1,
                "metric": "auroc_marco",
                "datasets": ["openi"],
            },
            "no task has a metric 'auroc_marco'",
        ),
        ({"prompts": {"a": "template", "b": "nmae"}}, "there are no prompts 'nmae'.*Did you mean 'name'"),
    ],
)
def test_a_mistyped_name_is_not_taken_for_results_that_are_missing(contrast, said):
    with pytest.raises(BenchError, match=said) as caught:
        check_names([claim(), claim("odd", **contrast)], Path("claims.yaml"))
    assert str(caught.value).startswith("claims.yaml: claim 'odd': ")


def ledger(*claims, predictions=()) -> Ledger:
    return Ledger(families={"f": "F"}, claims=claims, predictions=tuple(predictions))


ORDER = {
    "id": "p",
    "statement": "S.",
    "source": {"paper": "P", "where": "T"},
    "published": "t",
    "rows": {"carzero-main": "A", "clip-mian": "B"},
    "sets": [{"dataset": "openi", "order": "carzero-main > clip-mian", "seed_sd": 0.1}],
}


def test_a_mistyped_cell_is_not_taken_for_one_that_was_not_run(project):
    """Of a claim and a prediction, on radiographs and on volumes; metrics too, by `bench verify`."""
    at = Project(project)
    for own, said in (
        (ledger(claim("odd", b="clip-mian")), "claim 'odd': there is no cell 'clip-mian'. Did you mean"),
        (ledger(claim("odd", a="carzreo-official")), "claim 'odd': there is no cell 'carzreo-official'"),
        (ledger(claim("odd", a="brgsa-ct")), "claim 'odd': there is no cell 'brgsa-ct'"),
        (ledger(predictions=[Prediction.model_validate(ORDER)]), "prediction 'p': there is no cell 'clip-mi"),
    ):
        with pytest.raises(BenchError, match=said) as caught:
            check_rows(own, at)
        assert "Name METHOD-main or a key of cells" in str(caught.value)
    on_ct = claim("odd", a="brgsa-ct", b="clip-main").model_copy(update={"family": CT_FAMILY})
    with pytest.raises(BenchError, match=r"no cell 'clip-main'.*Name METHOD-ct"):
        check_rows(ledger(on_ct), at)


def test_cells_that_are_known_but_were_not_run_stay_so(project):
    """Those of params.yaml, those the code comes with, releases with settings, and models of two towers."""
    cells = (
        "radzero-dot",
        "carzero-global",
        "carzero-official",
        "carzero-official@size-224",
        "mine-model",
    )
    check_rows(ledger(*(claim(f"c{n}", a=cell) for n, cell in enumerate(cells))), Project(project))


def test_no_cell_is_judged_where_the_parameters_of_the_code_were_cut_down(root, tmp_path, monkeypatch):
    """`bench stage profile smoke` leaves three methods and few of the cells that the ledger names."""
    shutil.copy(root / "params.yaml", tmp_path / "params.yaml")
    own = Project(tmp_path)
    write_profile(own, "smoke")
    monkeypatch.setattr(known_names, "project_files", lambda: tmp_path)
    check_rows(load_ledger(root / "reports" / "claims.yaml"), own)


def test_the_metrics_of_every_task_are_known():
    for name in TASKS.names():
        task = TASKS.get(name)
        for metric in (*task.shown, *task.headlines):
            assert re.fullmatch(OF_TASKS[name], metric), (name, metric)


def test_verify_refuses_a_mistyped_cell_with_one_line(inside, root, capsys, tmp_path, monkeypatch):
    home = tmp_path / "home"
    shutil.copytree(inside, home)
    text = (root / "reports" / "claims.yaml").read_text(encoding="utf-8")
    (home / "reports").mkdir(exist_ok=True)
    monkeypatch.setenv("CXR_ALIGNBENCH_HOME", str(home))
    for old, new in (("b: clip-main", "b: clip-mian"), ("metric: auroc_absent", "metric: auroc_abesnt")):
        (home / "reports" / "claims.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
        assert main(["verify"]) == 2
        said = capsys.readouterr().err.strip()
        assert new.split()[1] in said
        assert "claim '" in said
        assert len(said.splitlines()) == 1


def test_published_values_of_sets_and_strata_that_are_there(tmp_path, root):
    text = (root / "reports" / "published.yaml").read_text(encoding="utf-8")
    path = tmp_path / "published.yaml"
    for old, new in (("dataset: openi", "dataset: opnei"), ("stratum: padchest20", "stratum: padchest02")):
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(BenchError, match=rf"published\.yaml:\d+: .*{new.split()[1]}.*Did you mean"):
            load_published(path)
    path.write_text(re.sub(r"\bopeni: 7470", "opnei: 7470", text, count=1), encoding="utf-8")
    with pytest.raises(BenchError, match=r"published\.yaml:\d+: images: .*no card of 'opnei'"):
        load_published(path)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ([], "at least 1 item"),
        ([("chexpert", "a > b"), ("chexpert", "a > b")], "chexpert \\(all\\) stands twice"),
        ([("chexpert", "a > b > a")], "a > b > a names a cell twice"),
    ],
)
def test_no_sign_of_a_prediction_counts_twice(sets, said):
    entry = {
        "id": "x",
        "statement": "S.",
        "source": {"paper": "P", "where": "T"},
        "published": "t",
        "rows": {},
    }
    own = [{"dataset": dataset, "order": order, "seed_sd": 0.01} for dataset, order in sets]
    with pytest.raises(ValueError, match=said):
        Prediction.model_validate({**entry, "sets": own})
