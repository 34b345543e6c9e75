"""`bench init`: a project outside the checkout, from the checkout and from an installed wheel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from benchmark.cli import main
from benchmark.grid.params_file import load_params
from benchmark.grid.start import CODE_INDEX, COPIED, outside


def test_a_new_project_has_what_the_checkout_has(root: Path, tmp_path: Path, capsys) -> None:
    home = tmp_path / "study"
    assert main(["init", str(home), "--json"]) == 0
    assert "params.yaml" in json.loads(capsys.readouterr().out)["written"]
    for name in COPIED:
        assert (home / name).read_bytes() == (root / name).read_bytes()
    assert load_params(home / "params.yaml") == load_params(root / "params.yaml")
    stages = yaml.safe_load((home / "dvc.yaml").read_text())["stages"]
    assert stages["code"]["outs"] == [CODE_INDEX]
    assert (home / ".dvc" / "config").is_file()
    for stage in stages.values():
        for name in stage.get("do", stage).get("deps", []):
            assert name.split("/")[0] in ("data", "reports", "results", "runs"), name
    whole = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    coded = [name for name, stage in whole.items() if str(stage).count("benchmark")]
    assert coded
    for name in coded:
        assert CODE_INDEX in stages[name].get("do", stages[name])["deps"]


def test_nothing_is_overwritten(tmp_path: Path, capsys) -> None:
    (tmp_path / "params.yaml").write_text("mine: 1\n")
    assert main(["init", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "params.yaml already" in error
    assert error.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["params.yaml"]


def test_stages_without_code_stay_as_they_are() -> None:
    stage = {"cmd": "x", "deps": ["data/a.json"], "always_changed": True}
    coded = {"cmd": "y", "deps": ["benchmark/twins", "data/a.json", "methods"]}
    made = outside({"stages": {"a": stage, "b": {"foreach": ["m"], "do": coded}}, "plots": []})
    assert made["stages"]["a"] == stage
    assert made["stages"]["b"]["do"]["deps"] == [CODE_INDEX, "data/a.json"]
    assert made["plots"] == []


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory) -> Path:
    """The wheel of what git tracks, built without a network."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=root, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (root / name).is_file() and not name.startswith(("tests/", "perf/", "docs/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, source / name)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(out),
        ".",
    ]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.mark.slow
def test_an_installed_wheel_can_do_what_a_clone_can(wheel: Path, tmp_path: Path) -> None:
    site, home = tmp_path / "site", tmp_path / "study"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "datasets/", "perf/"))]

    def bench(*arguments: str, where: Path = home) -> str:
        """In a process that sees the wheel and no checkout."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CXR_ALIGNBENCH")}
        environment |= {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
        done = subprocess.run(
            [sys.executable, "-m", "benchmark", *arguments],
            cwd=where, env=environment, capture_output=True, text=True, timeout=500,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    bench("init", str(home), where=tmp_path)
    assert "carzero" in json.loads(bench("ls", "--json"))["methods"]
    tiny = [
        "twins.size=64",
        "twins.images.mimic_cxr=120",
        "twins.images.chestxray14=120",
        "training.epochs=1",
    ]
    sets = [word for item in tiny for word in ("--set", item)]
    found = json.loads(
        bench("run", "--method", "clip", "--dataset", "chestxray14", "--seeds", "0", *sets, "--json")
    )
    assert found
    assert list((home / "runs").rglob("model.safetensors"))
    bench("stage", "code")
    index = json.loads((home / CODE_INDEX).read_text())
    assert {"benchmark", "methods", "datasets"} <= set(index)
    listed = subprocess.run(
        [sys.executable, "-m", "dvc", "stage", "list", "--all"], cwd=home, capture_output=True, text=True
    )
    assert listed.returncode == 0, listed.stderr
    assert "code" in listed.stdout
