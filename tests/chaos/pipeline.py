"""`dvc repro` at the smoke size under kills of dvc, of its stages and of their workers."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.chaos.campaign import Row
from tests.chaos.cell import ROOT, held_locks, processor_seconds, shoot, workers
from tests.places import TIMED

CHAIN = 10
"""Kills of one project before it is run to its end and compared."""
COMPARED = (
    "data/twins/**/*",
    "data/prepared/**/*.parquet",
    "data/texts/**/*.parquet",
    "runs/**/model.safetensors",
    "results/**/*.parquet",
    "reports/tables/*",
    "reports/grid/*",
    "reports/difficulty/*",
)


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
    found = [p for p in found if p.name not in TIMED]
    return {p.relative_to(home).as_posix(): hash_file(p) for p in found}


def killed_pipeline(base: Path, kills: int, seed: int) -> list[Row]:
    """Run it once undisturbed, and under kills of dvc, of its stage and of a worker of that in turns, CHAIN
    on one project, each in the first half of what is left to do; then run it to its end and compare what
    it made; and anew, until as many have hit."""
    rng = random.Random(seed)
    rows = [
        Row(f"kill of {what} at the smoke size") for what in ("`dvc repro`", "its stage", "a pool worker")
    ]
    shutil.rmtree(base, ignore_errors=True)
    whole, killed = base / "whole", base / "killed"
    copy_of_project(whole)
    total, code = watched(start(whole), None, 0)
    assert code == 0, (base / "whole.log").read_text()[-3000:]
    sys.stderr.write(f"the whole pipeline: {total:.0f} s of the processor\n")
    while sum(row.hit for row in rows) < kills:
        copy_of_project(killed)
        left, row = total, rows[0]
        for _ in range(CHAIN):
            kind = sum(row.hit for row in rows) % 3
            row = rows[kind]
            row.made += 1
            before = rng.uniform(0, 0.5) * left
            used, code = watched(start(killed), kind, before)
            row.hit += code != 0
            left = max(0.05 * total, left - 0.7 * used)  # the stage that was hit begins anew in part
            sys.stderr.write(f"{row}: after {used:.0f} s, exit code {code}\n")
            if code == 0 or sum(row.hit for row in rows) >= kills:
                break
        if code != 0 and start(killed).wait() != 0:
            row.faults += ((base / "killed.log").read_text()[-1000:],)
        compare(whole, killed, row)
        sys.stderr.write(f"compared: {row}\n")
        shutil.rmtree(killed)
    return rows


def compare(whole: Path, killed: Path, row: Row) -> None:
    """Note what is not as the undisturbed run left it."""
    row.checked += 1
    while any(str(killed) == environment_of(p) for p in psutil.process_iter()):
        time.sleep(0.2)
    wanted, found = contents(whole), contents(killed)
    differing = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    left = [p.name for p in killed.rglob(".*.*-*-*") if p.is_file() and ".dvc" not in p.parts]
    if differing or left or held_locks(killed):
        row.faults += (f"differing: {differing[:5]}; left: {left[:5]}; locks: {held_locks(killed)[:5]}",)


def environment_of(process: psutil.Process) -> str | None:
    """The project that a process works on."""
    with contextlib.suppress(psutil.Error):
        return process.environ().get("CXR_ALIGNBENCH_HOME")
    return None


def watched(process: subprocess.Popen[bytes], depth: int | None, before: float) -> tuple[float, int]:
    """Seconds of the processor that `dvc repro` used, and its exit code. Once it used `before`, kill dvc (0),
    the stage that it runs (1) or a worker of that stage (2), as soon as there is one; None: nothing. A stage
    whose dvc was killed goes on beside the next one."""
    used, shot = 0.0, False
    dvc = psutil.Process(process.pid)
    while process.poll() is None:
        time.sleep(0.2)
        used = max(used, processor_seconds(process.pid))
        with contextlib.suppress(psutil.NoSuchProcess):
            if depth is not None and not shot and used > before:
                shot = shoot(([dvc], stages(dvc)[-1:], workers(dvc)[-1:])[depth])
    return used, process.returncode


def stages(dvc: psutil.Process) -> list[psutil.Process]:
    """The `bench` processes below dvc."""
    found = []
    for one in dvc.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [one] if any(part.endswith("/bench") for part in one.cmdline()) else []
    return found
