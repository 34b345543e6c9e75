"""`dvc repro` at the smoke size under kills of dvc, of its stages and of their workers."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.chaos.campaign import Row
from tests.chaos.cell import ROOT, held_locks

COMPARED = ("results/**/*.parquet", "runs/**/model.safetensors", "reports/tables/*", "reports/grid/*")


def copy_of_project(home: Path) -> None:
    """The tracked files with the smoke profile, in a DVC project of their own."""
    home.mkdir(parents=True)
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(
        b"\0"
    )
    for name in (n.decode() for n in names if n):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, home / name)
    shutil.rmtree(home / ".dvc", ignore_errors=True)
    for command in (["dvc", "init", "--no-scm", "-q"], ["bench", "stage", "profile", "smoke"]):
        subprocess.run(command, cwd=home, env=environment(home), check=True, stdout=subprocess.DEVNULL)


def environment(home: Path) -> dict[str, str]:
    place = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": place, "CXR_ALIGNBENCH_HOME": str(home), "HF_HUB_OFFLINE": "1"}


def start(home: Path) -> subprocess.Popen[bytes]:
    log = (home.parent / f"{home.name}.log").open("ab")
    return subprocess.Popen(
        ["dvc", "repro", "--quiet"], cwd=home, env=environment(home), stdout=log, stderr=log
    )


def contents(home: Path) -> dict[str, str]:
    from benchmark.core.hashing import hash_file

    found = sorted({p for pattern in COMPARED for p in home.glob(pattern) if p.is_file()})
    return {p.relative_to(home).as_posix(): hash_file(p) for p in found}


def killed_pipeline(base: Path, kills: int, seed: int) -> Row:
    """Run it once undisturbed and once under `kills` kills, and compare tables, predictions and weights."""
    row, rng = Row("kill of dvc repro, a stage or a pool worker"), random.Random(seed)
    shutil.rmtree(base, ignore_errors=True)
    whole, killed = base / "whole", base / "killed"
    copy_of_project(whole)
    begun = time.monotonic()
    assert start(whole).wait() == 0, (base / "whole.log").read_text()[-3000:]
    seconds = time.monotonic() - begun
    copy_of_project(killed)
    for number in range(kills):
        process = start(killed)
        time.sleep(rng.uniform(0.1, 1.6) * seconds / kills)
        if process.poll() is not None:
            break
        row.made += 1
        row.hit += kill_one(psutil.Process(process.pid), number % 3)
        process.wait()
    for child in psutil.Process().children(recursive=True):
        if "dvc" in " ".join(child.cmdline()):
            child.wait()
    row.checked = 1
    if start(killed).wait() != 0:
        row.faults += ((base / "killed.log").read_text()[-1000:],)
    wanted, found = contents(whole), contents(killed)
    differing = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    left = [p.name for p in killed.rglob(".*.*-*-*") if p.is_file() and ".dvc" not in p.parts]
    if differing or left or held_locks(killed):
        row.faults += (f"differing: {differing[:5]}; left: {left[:5]}; locks: {held_locks(killed)[:5]}",)
    return row


def kill_one(dvc: psutil.Process, depth: int) -> bool:
    """Kill dvc (0), the stage that it runs (1), or a worker of that stage (2), as far as there is one."""
    try:
        below = dvc.children(recursive=True)
        stages = [p for p in below if "bench" in " ".join(p.cmdline())]
        workers = [p for p in below if "spawn_main" in " ".join(p.cmdline())]
        chosen = ([dvc], stages[-1:] or [dvc], workers[-1:] or stages[-1:] or [dvc])[depth]
        chosen[0].kill()
    except psutil.NoSuchProcess:
        return False
    return True
