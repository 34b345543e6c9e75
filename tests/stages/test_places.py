"""The same project in two folders, for two users, in two time zones: the same hashes and the same tables."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.slow

TIMED = {"cost.md", "cost.csv", "cost.tex"}
"""The tables of seconds and memory."""
SHOW_TIMES = {"reports/tables", "reports/grid", "reports/figures", "reports/site"}
"""Outputs that hold TIMED, or a figure of them."""


def clone(root: Path, home: Path) -> Path:
    """The code and a small grid in a folder, as after `git clone`."""
    home.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("benchmark", "methods", "datasets"):
        shutil.copytree(root / name, home / name, ignore=ignored)
    (home / "reports").mkdir()
    for name in ("dvc.yaml", ".dvcignore", "reports/published.yaml", "reports/claims.yaml"):
        shutil.copy(root / name, home / name)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params |= {
        "methods": ["clip", "carzero"],
        "seeds": [0],
        "prompt_ablation": {},
        "tasks": {},
        "profiles": {},
    }
    params["cells"] = {"clip-dot": params["cells"]["clip-dot"]}
    params["data"].update(evaluate=["chestxray14"], ablate_on=[])
    params["twins"].update(size=64, images={"mimic_cxr": 96, "chestxray14": 96})
    params["training"].update(epochs=1, batch_size=32)
    (home / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return home


def run(home: Path, *command: str, **environment: str) -> str:
    """A command in the folder, on its own code; what it printed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    found = subprocess.run(
        command,
        cwd=home,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(home), **environment},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout + found.stderr


def tracked(home: Path) -> dict[str, dict[str, Any]]:
    """Stage → path → hash of the outputs in dvc.lock."""
    stages = yaml.safe_load((home / "dvc.lock").read_text())["stages"]
    return {
        name: {out["path"]: out["md5"] for out in stage["outs"] if out["path"] not in SHOW_TIMES}
        for name, stage in stages.items()
    }


def tables(home: Path) -> dict[str, bytes]:
    folders = (home / "reports" / "tables", home / "reports" / "grid")
    files = (path for folder in folders for path in folder.iterdir() if path.name not in TIMED)
    return {str(path.relative_to(home)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def first(root: Path, tmp_path_factory) -> Path:
    home = clone(root, tmp_path_factory.mktemp("places") / "one")
    run(home, "dvc", "init", "--no-scm", "-q")
    run(home, "dvc", "repro")
    return home


def test_nothing_of_the_place_is_in_what_is_hashed(first: Path, root: Path, tmp_path: Path) -> None:
    elsewhere = {"HOME": str(tmp_path), "USER": "nobody", "TZ": "Asia/Tokyo", "LANG": "C", "LC_ALL": "C"}
    other = clone(root, tmp_path / "another name" / "and deeper" / "two")
    run(other, "dvc", "init", "--no-scm", "-q", **elsewhere)
    run(other, "dvc", "repro", **elsewhere)
    assert tracked(first).keys() == tracked(other).keys()
    assert tracked(first) == tracked(other)
    assert tables(first).keys() == tables(other).keys()
    assert tables(first) == tables(other)
    place = str(first).encode()
    for folder in ("data/index", "data/prepared", "results", "reports"):
        for path in (first / folder).rglob("*"):
            assert not path.is_file() or place not in path.read_bytes(), path


def test_a_second_repro_does_nothing_and_metrics_are_shown(first: Path) -> None:
    assert "Data and pipelines are up to date." in run(first, "dvc", "repro")
    assert "chestxray14_auroc" in run(first, "dvc", "metrics", "show")


def test_edited_statistics_reach_the_tables(first: Path, tmp_path: Path) -> None:
    home = tmp_path / "edited"
    shutil.copytree(first, home, symlinks=True)
    for name in ("comparison.py", "statistics/multiplicity.py"):
        path = home / "benchmark" / "evaluation" / name
        path.write_text(path.read_text() + "\n_EDITED = True\n")
        assert "made again: source changed" in run(home, "bench", "stage", "summarise", "main")
    would = run(home, "dvc", "repro", "--dry", "tables")
    assert "Running stage 'tables'" in would


def test_a_new_method_touches_params_alone(first: Path, tmp_path: Path) -> None:
    home = tmp_path / "more"
    shutil.copytree(first, home, symlinks=True)
    params = yaml.safe_load((home / "params.yaml").read_text())
    params["methods"].append("brgsa")
    (home / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    said = run(home, "dvc", "repro", "tables")
    assert "brgsa-main seed 0: trained" in said
    assert "trained" not in said.replace("brgsa-main seed 0: trained", "").replace("runs trained", "")
    assert "BrgSA" in (home / "reports" / "tables" / "zero_shot.md").read_text()
