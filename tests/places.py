"""`make places`: the smallest profile through DVC in two folders, for two users, in two time zones, as on two
numbers of cores.

python -m tests.places            everything: minutes
python -m tests.places stages     what dvc.yaml runs, in this folder and process; `test_places.py` calls it
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
CODE = ("benchmark", "methods", "datasets")
TIMED = {"cost.md", "cost.csv", "cost.tex"}
"""The tables of seconds and memory."""
SHOW_TIMES = {"reports/tables", "reports/grid", "reports/ct", "reports/figures", "reports/site"}
"""Outputs that hold TIMED, or a figure of them."""


def project(home: Path, params: dict[str, Any], *, link: bool) -> Path:
    """The code, copied or linked, and these parameters in a folder, as after `git clone`."""
    home.mkdir(parents=True)
    for name in CODE:
        if link:
            (home / name).symlink_to(ROOT / name)
        else:
            shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    (home / "reports").mkdir()
    for name in ("dvc.yaml", ".dvcignore", "reports/published.yaml", "reports/claims.yaml"):
        shutil.copy(ROOT / name, home / name)
    (home / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return home


def elsewhere(folder: Path) -> dict[str, str]:
    """Another user, in another time zone, with another language and number of cores."""
    return {
        "HOME": str(folder),
        "USER": "nobody",
        "TZ": "Asia/Tokyo",
        "LANG": "C",
        "LC_ALL": "C",
        "OMP_NUM_THREADS": "3",
    }


def run(home: Path, *command: str, **environment: str) -> str:
    """A command in the folder, on its own code; what it printed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    code = os.pathsep.join([str(home), str(ROOT)])
    found = subprocess.run(
        command,
        cwd=home,
        env={**os.environ, "PATH": path, "PYTHONPATH": code, **environment},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout + found.stderr


def stages(home: Path) -> list[tuple[list[str], list[str]]]:
    """(commands, outputs) of every stage of dvc.yaml, in its order, for the parameters of this folder."""
    params = yaml.safe_load((home / "params.yaml").read_text())
    places = {"${twins.images}": params["twins"]["images"], "${data.roots}": params["data"]["roots"]}
    found = []
    for stage in yaml.safe_load((home / "dvc.yaml").read_text())["stages"].values():
        for key in places[stage["foreach"]] if "foreach" in stage else [""]:
            one = stage.get("do", stage)
            commands = one["cmd"] if isinstance(one["cmd"], list) else [one["cmd"]]
            outs = [
                next(iter(o)) if isinstance(o, dict) else o for o in [*one["outs"], *one.get("metrics", ())]
            ]
            found.append(
                ([c.replace("${key}", key) for c in commands], [o.replace("${key}", key) for o in outs])
            )
    return found


def run_stages(home: Path) -> None:
    """What `dvc repro` would run of a clean clone, one after another in this process."""
    from benchmark.cli import main

    for commands, _ in stages(home):
        for command in commands:
            alone = ["--jobs", "1"] if " cells " in command or command.endswith(" ct") else []
            assert main([*shlex.split(command)[1:], *alone]) == 0, command


def outputs(home: Path) -> dict[str, bytes]:
    """Path → bytes of every file of every output of dvc.yaml that does not show times."""
    wanted = {out for _, outs in stages(home) for out in outs} - SHOW_TIMES
    assert all((home / out).exists() for out in wanted), wanted
    files = [p for out in wanted for p in ((home / out), *(home / out).rglob("*")) if p.is_file()]
    return {str(path.relative_to(home)): path.read_bytes() for path in files}


def tables(home: Path) -> dict[str, bytes]:
    folders = (home / "reports" / name for name in ("tables", "grid", "ct"))
    files = (path for folder in folders for path in folder.iterdir() if path.name not in TIMED)
    return {str(path.relative_to(home)): path.read_bytes() for path in files}


def holding(home: Path, place: str) -> list[Path]:
    """Files of what was made that hold the name of the folder."""
    files = (p for name in ("data", "results", "reports") for p in (home / name).rglob("*") if p.is_file())
    return [path for path in files if place.encode() in path.read_bytes()]


def tracked(home: Path) -> dict[str, dict[str, Any]]:
    """Stage → path → hash of the outputs in dvc.lock."""
    found = yaml.safe_load((home / "dvc.lock").read_text())["stages"]
    return {
        name: {out["path"]: out["md5"] for out in stage["outs"] if out["path"] not in SHOW_TIMES}
        for name, stage in found.items()
    }


def smoke(home: Path, environment: dict[str, str]) -> Path:
    """The smallest profile through DVC."""
    project(home, yaml.safe_load((ROOT / "params.yaml").read_text()), link=False)
    for command in ("dvc init --no-scm -q", "bench stage profile smoke", "dvc repro"):
        run(home, *command.split(), **environment)
    return home


def campaign(top: Path) -> None:
    """Raises AssertionError where something of the place is in a hash or a table, where a second
    `dvc repro` does something, or where an edit does not reach what it acts on alone."""
    one = smoke(top / "one", {})
    two = smoke(top / "another name" / "and deeper" / "two", elsewhere(top))
    assert tracked(one) == tracked(two), "hashes of dvc.lock differ"
    assert tables(one) == tables(two), "tables differ"
    assert not holding(one, str(one)), holding(one, str(one))
    print(
        f"{sum(map(len, tracked(one).values()))} hashes and {len(tables(one))} tables are equal in two places"
    )

    assert "Data and pipelines are up to date." in run(one, "dvc", "repro")
    assert "chestxray14_auroc" in run(one, "dvc", "metrics", "show")
    print("a second dvc repro does nothing")

    for name in ("comparison.py", "statistics/multiplicity.py"):
        path = one / "benchmark" / "evaluation" / name
        path.write_text(path.read_text() + "\n_EDITED = True\n")
        assert "made again: source changed" in run(one, "bench", "stage", "summarise", "main"), name
    assert "Running stage 'tables'" in run(one, "dvc", "repro", "--dry", "tables")
    print("an edit of the statistics makes the tables again")

    params = yaml.safe_load((two / "params.yaml").read_text())
    params["methods"].append("brgsa")
    (two / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    said = run(two, "dvc", "repro", "tables")
    trained = [line for line in said.splitlines() if ": trained" in line]
    assert trained, said
    assert all(line.startswith("brgsa-main seed 0") for line in trained), trained
    assert "BrgSA" in (two / "reports" / "tables" / "zero_shot.md").read_text()
    print("a new method trains itself alone")


if __name__ == "__main__":
    if sys.argv[1:] == ["stages"]:
        run_stages(Path.cwd())
    else:
        with tempfile.TemporaryDirectory() as folder:
            campaign(Path(folder).resolve())
