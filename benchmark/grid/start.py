"""A new project: the files that a checkout has, and a wheel carries in `benchmark/_project`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from benchmark.core.errors import BenchError
from benchmark.core.files import read_yaml, write_text
from benchmark.grid.layout import Project
from benchmark.grid.profiles import write_profile

COPIED = ("params.yaml", "reports/claims.yaml", "reports/published.yaml")
PIPELINE = "dvc.yaml"
CODE = ("benchmark", "methods", "datasets")
"""Folders of code that stages of the checkout depend on; a project outside it depends on `CODE_INDEX`."""
CODE_INDEX = "data/code.json"
IGNORED = (
    "/data/", "/runs/", "/results/", "/reports/figures/", "/reports/site/", "/mlflow.db*", "/mlruns/",
    "/mlartifacts/", "/scratch/", ".cache/",
)  # fmt: skip


def project_files() -> Path:
    """The folder of a project's sources: of an installed wheel, or the checkout. Raises BenchError."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_project", package.parent):
        if all((folder / name).is_file() for name in (*COPIED, PIPELINE)):
            return folder
    raise BenchError(f"no project files beside {package}. Install the package again.")


def start_project(folder: Path, profile: str | None = None) -> list[str]:
    """Write params.yaml, dvc.yaml, claims, published values and .gitignore into `folder`; set DVC up.

    Returns the names of what was written. Raises BenchError where one of them is there already, or DVC fails:
    nothing is overwritten.
    """
    source = project_files()
    written = [*COPIED, PIPELINE, ".gitignore"]
    there = [name for name in written if (folder / name).exists()]
    if there:
        raise BenchError(f"{folder}: has {there[0]} already; nothing was written. Name an empty folder.")
    pipeline = outside(read_yaml(source / PIPELINE))
    for name in COPIED:
        write_text(folder / name, (source / name).read_text(encoding="utf-8"))
    write_text(folder / PIPELINE, yaml.safe_dump(pipeline, sort_keys=False, allow_unicode=True, width=110))
    write_text(folder / ".gitignore", "\n".join(IGNORED) + "\n")
    if profile is not None:
        write_profile(Project(folder), profile)
    if not (folder / ".dvc").exists():
        _set_up_dvc(folder)
        written.append(".dvc")
    return written


def outside(pipeline: dict[str, Any]) -> dict[str, Any]:
    """The pipeline of the checkout for a project without one: instead of folders of code, stages depend on
    the index of the installed code and of plug-ins, which its first stage writes."""
    first = {"cmd": "bench stage code", "always_changed": True, "outs": [CODE_INDEX]}
    stages = {name: _without_code(stage) for name, stage in pipeline["stages"].items()}
    return {**pipeline, "stages": {"code": first, **stages}}


def _without_code(stage: dict[str, Any]) -> dict[str, Any]:
    if "do" in stage:
        return {**stage, "do": _without_code(stage["do"])}
    deps = stage.get("deps", [])
    kept = [name for name in deps if name.split("/")[0] not in CODE]
    if len(kept) == len(deps):
        return stage
    return {**stage, "deps": [CODE_INDEX, *kept]}


def _set_up_dvc(folder: Path) -> None:
    """In a git repository DVC follows it; elsewhere it works alone."""
    in_git = any((parent / ".git").exists() for parent in (folder.resolve(), *folder.resolve().parents))
    how = ["--subdir"] if in_git and not (folder / ".git").exists() else [] if in_git else ["--no-scm"]
    command = [sys.executable, "-m", "dvc", "init", "-q", *how]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise BenchError(f"{folder}: dvc init failed ({said}). The other files are in place.")
    for key, value in (("core.analytics", "false"), ("core.check_update", "false")):
        subprocess.run(
            [sys.executable, "-m", "dvc", "config", "-q", key, value], cwd=folder, capture_output=True
        )
