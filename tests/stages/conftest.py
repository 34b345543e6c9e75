"""A small project with its own twins, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.stages.ray_nodes import head

CANARY = "zanzibar marmalade quokka"


@pytest.fixture(scope="session")
def small_project(root, tmp_path_factory) -> Path:
    """A folder with params.yaml and the twins, manifests and texts of a small grid. One report of the
    training twin carries a canary phrase, which must turn up nowhere but in the text tables."""
    home = tmp_path_factory.mktemp("project")
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["profile"] = "test"
    params["methods"] = ["clip", "carzero"]
    params["seeds"] = [0, 1]
    params["data"].update(train="mimic_cxr", evaluate=["chestxray14"])
    params["twins"].update(size=96, images={"mimic_cxr": 160, "chestxray14": 160})
    params["training"].update(epochs=2, batch_size=32)
    params["cells"] = {}
    del params["profiles"]
    params["prompt_ablation"] = {}
    params["attribution"] = {}
    for name in params["method"]:
        params["method"][name] = {"options": {"width": 32}}
    (home / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    from benchmark.grid.layout import Project
    from benchmark.grid.params_file import load_params
    from benchmark.stages.prepare import make_twin, prepare_dataset
    from benchmark.stages.texts import align_texts

    project, loaded = Project(home), load_params(home / "params.yaml")
    for name in ("mimic_cxr", "chestxray14"):
        make_twin(project, loaded, name)
    report = sorted(project.twin("mimic_cxr").rglob("s*.txt"))[0]
    report.write_text(report.read_text().rstrip() + f" There is {CANARY}.\n")
    for name in ("mimic_cxr", "chestxray14"):
        prepared = prepare_dataset(project, loaded, name)
        if name == "mimic_cxr":
            align_texts(project, loaded, prepared.load())
    return home


@pytest.fixture
def bench(capsys, monkeypatch):
    """Run `bench` in this process: (project, arguments) → exit code, stdout, stderr."""
    from benchmark.cli import main

    def call(home: Path, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(home)
        code = main(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def fresh_copy(small_project, tmp_path) -> Path:
    """The small project without anything trained."""
    home = tmp_path / "copy"
    shutil.copytree(
        small_project, home, ignore=shutil.ignore_patterns("runs", "results", "mlflow.db", "mlartifacts")
    )
    return home


@pytest.fixture
def cluster(monkeypatch):
    """A Ray cluster on this machine, of one node; skips where Ray is not installed."""
    yield from head(monkeypatch)
