"""A task in a file of its own is evaluated, reused and shown without any other file being touched."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import benchmark.stages.evaluate as stage
from benchmark.core.files import read_json
from benchmark.core.tables import read_table
from benchmark.core.tasks import TASKS
from tests.stages.test_reuse import move_labels

pytestmark = pytest.mark.filterwarnings("ignore")

GUIDE = Path(__file__).parents[2] / "docs" / "add-a-task.md"


def code_of_the_guide() -> str:
    """The file that docs/add-a-task.md shows."""
    return GUIDE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """The task of the guide, registered as an installed package would."""
    path = tmp_path / "alignment_plugin.py"
    path.write_text(code_of_the_guide())
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = importlib.util.spec_from_file_location("alignment_plugin", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["alignment_plugin"] = module
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("alignment_plugin")
    TASKS._registered.pop("own_report")


@pytest.fixture
def project(small_project, tmp_path) -> Path:
    home = tmp_path / "project"
    shutil.copytree(small_project, home, ignore=shutil.ignore_patterns("runs", "results", "mlflow.db"))
    params = yaml.safe_load((home / "params.yaml").read_text())
    params["methods"], params["seeds"] = ["clip"], [0]
    params["twins"]["images"] |= {"openi": 40}
    params["tasks"] = {"own_report": {"datasets": ["openi"], "others": 3}}
    (home / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return home


def test_the_task_of_the_guide_gets_rows_headlines_and_a_table(plugin, project, bench) -> None:
    code, _, err = bench(project, "stage", "cells", "main", "--jobs", "1")
    assert code == 0, err
    table = project / "results/clip-main/seed-0/openi/own_report.parquet"
    frame, _ = read_table(table)
    assert set(frame["task"]) == {"own_report"}
    assert frame["metric"].tolist() == ["own_report_preferred"]
    index = read_json(project / "results/index/main.json")["clip-main"]["seed-0"]["openi"]
    assert index["own_report_preferred"] == pytest.approx(frame["value"].iloc[0], abs=1e-6)
    before = table.stat().st_mtime_ns
    assert bench(project, "stage", "cell", "clip")[0] == 0
    assert table.stat().st_mtime_ns == before, "reused"

    assert bench(project, "stage", "summarise", "main")[0] == 0
    assert bench(project, "report", "tables", "--part", "main")[0] == 0
    text = (project / "reports/tables/own_report.md").read_text()
    assert "Own report against others" in text
    assert "own_report_preferred" in text
    assert "CLIP" in text

    code, _, err = bench(project, "stage", "cell", "clip", "--seeds", "0")
    assert code == 0, err
    params = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(params.replace("own_report", "own_reprot"))
    code, _, err = bench(project, "stage", "cell", "clip")
    assert (code, "Did you mean 'own_report'?" in err, err.count("\n")) == (2, True, 1)


def test_every_file_that_the_guide_names_is_written(plugin, project, bench) -> None:
    for command in ("stage cells main --jobs 1", "stage summarise main", "report tables --part main"):
        assert bench(project, *command.split())[0] == 0
    named = re.findall(r"`((?:results|reports)/[^`]+\.\w+)`", GUIDE.read_text(encoding="utf-8"))
    assert len(named) == 3
    assert not [path for path in named if not list(project.glob(path.replace("<n>", "*")))]


def test_a_set_that_the_task_cannot_read_is_one_line(plugin, project, bench) -> None:
    """chestxray14 has no reports."""
    params = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(params.replace("- openi", "- chestxray14"))
    code, _, err = bench(project, "stage", "cell", "clip")
    assert (code, err.splitlines()[-1]) == (2, "chestxray14: 0 reports; lower tasks.own_report.others.")


def test_a_fault_of_a_task_names_the_task_and_not_the_method(plugin, project, bench, monkeypatch) -> None:
    """`bench check method clip`, which the line told one to run, finds nothing."""
    monkeypatch.delattr(plugin, "trial_rows")
    code, _, err = bench(project, "stage", "cell", "clip")
    said = r"task own_report: unexpected NameError at alignment_plugin\.py:\d+ where it evaluates clip\."
    assert (code, bool(re.match(said, err.splitlines()[-1]))) == (70, True), err
    import benchmark.evaluation.scoring as scoring

    monkeypatch.undo()
    monkeypatch.setattr(scoring, "_prepare_texts", lambda *_: 1 / 0)
    code, _, err = bench(project, "stage", "cell", "clip")
    assert (code, "clip: unexpected ZeroDivisionError" in err) == (70, True), err


def killed_evaluation(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """CLIP trained, and its evaluation killed after two shards of 16 images; gives what each call scores."""
    params = (project / "params.yaml").read_text()
    params = params.replace("own_report:", "retrieval:").replace("others:", "pairs:")
    (project / "params.yaml").write_text(params)
    import benchmark.evaluation.scoring as scoring
    from benchmark.grid.layout import Project
    from benchmark.grid.params import main_cell
    from benchmark.grid.params_file import load_params
    from benchmark.stages.run import Session, train_one

    given = load_params(project / "params.yaml")
    train_one(Session(Project(project), given, print), main_cell(given, "clip"), 0)  # which scores by itself

    real, calls = scoring._rows, []

    def killed(*arguments: object) -> object:
        calls.append(len(arguments[2]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(stage, "SHARD", 16)
    monkeypatch.setattr(scoring, "_rows", killed)
    with pytest.raises(KeyboardInterrupt):
        from benchmark.stages.entry import cell_stage

        monkeypatch.chdir(project)
        cell_stage("clip", (0,))
    return calls


def test_scores_of_a_killed_evaluation_are_not_taken_after_an_edit_of_the_code_that_scores(
    project, bench, monkeypatch
) -> None:
    killed_evaluation(project, monkeypatch)
    folder = project / "results/clip-main/seed-0/chestxray14"
    old = list(folder.rglob("classification.scores/**/*.npy"))
    assert len(old) == 2
    for path in old:
        np.save(path, np.full_like(np.load(path), 7.0))  # what the code before the edit gave
    real = stage.source
    monkeypatch.setattr(stage, "source", lambda *modules: [real(*modules), "a scoring rule was edited"])
    assert bench(project, "stage", "cell", "clip")[0] == 0
    scores = pd.read_parquet(folder / "predictions.parquet").iloc[:, 2:].to_numpy()
    assert not (scores == 7.0).any()
    assert not (folder / "classification.scores").exists()


def test_labels_moved_on_disk_are_evaluated_again_and_a_killed_evaluation_goes_on(
    project, bench, monkeypatch
) -> None:
    calls = killed_evaluation(project, monkeypatch)
    folder = project / "results/clip-main/seed-0/chestxray14"
    assert len(list(folder.rglob("classification.scores/**/*.npy"))) == 2
    assert not (folder / "metrics.parquet").exists()
    assert bench(project, "stage", "cell", "clip")[0] == 0
    assert not (folder / "classification.scores").exists()
    first = read_table(folder / "metrics.parquet")[0]
    assert calls[0] == calls[1] == 16

    done = len(calls)
    assert bench(project, "stage", "cell", "clip")[0] == 0
    assert len(calls) == done, "nothing is scored again"
    move_labels(project)
    assert bench(project, "stage", "cell", "clip")[0] == 0
    second = read_table(folder / "metrics.parquet")[0]
    merged = pd.concat([first["value"], second["value"]], axis=1).dropna()
    assert not np.allclose(merged.iloc[:, 0], merged.iloc[:, 1])
