"""A key of params.yaml that is wrong anywhere stops every command that reads it, in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

COMMANDS = (
    "run --method clip --dataset chestxray14",
    "explain clip-main chestxray14",
    "data twin chestxray14",
    "stage prepare padchest",
    "stage features",
    "stage cells main",
    "stage tune clip",
    "stage summarise main",
    "stage difficulty",
    "stage profile smoke",
    "report tables",
)
WRONG = {
    "carzero: {options: {width: 64, layers: 2": "carzero: {options: {width: 64, layerz: 2",
    "    training: {epochs: 2}": "    training: {epochz: 2}",
}


@pytest.fixture(params=WRONG)
def home(root: Path, tmp_path: Path, request) -> tuple[Path, str]:
    """A project whose params.yaml has a wrong key, and what is said of it."""
    text = (root / "params.yaml").read_text()
    assert request.param in text
    (tmp_path / "params.yaml").write_text(text.replace(request.param, WRONG[request.param]))
    shutil.copytree(root / "reports", tmp_path / "reports", ignore=shutil.ignore_patterns("site", "figures"))
    line = text.partition(request.param)[0].count("\n") + 1
    return tmp_path, f"params.yaml:{line}: unknown key '"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_stops_before_any_work(home, bench, command) -> None:
    folder, said = home
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    code, out, err = bench(folder, *command.split())
    assert (code, out) == (2, ""), err
    assert said in err.splitlines()[-1]
    assert "Did you mean '" in err
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_doctor_names_it(home, bench) -> None:
    folder, said = home
    code, out, _ = bench(folder, "doctor")
    assert code == 1
    assert any(line.startswith("problem ") and said in line for line in out.splitlines())
