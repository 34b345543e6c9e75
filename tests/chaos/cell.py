"""One small cell, from twins to its table, as a child that can be killed, starved and misled at will."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

ROOT = Path(__file__).resolve().parents[2]
RUN = ("run", "--method", "clip", "--dataset", "chestxray14", "--seeds", "0", "--json")
PRELOADED = [
    "benchmark.cli",
    "benchmark.stages.run",
    "benchmark.stages.evaluate",
    "benchmark.training.loop",
    "benchmark.encoders.factory",
    "timm",
    "transformers",
    "mlflow.tracking",
    "pandas",
    "pyarrow.parquet",
    "sklearn.metrics",
    "scipy.stats",
]
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "shutil.rmtree")
"""Audit events of changes of a disk; `open` for writing is one more. Each comes before its change."""
LONGEST = 600.0
"""Seconds of the processor after which a run counts as hung, as the clock of a busy machine says little; and
seconds of the clock in which it used none at all."""


def write_params(home: Path) -> None:
    """params.yaml of a grid of one method, 72 training and 24 test images of 64 pixels, two epochs."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params.update(profile="chaos", methods=["clip"], seeds=[0], cells={}, prompt_ablation={}, profiles={})
    params["data"].update(train="mimic_cxr", evaluate=["chestxray14"], ablate_on=["chestxray14"])
    params["twins"].update(size=64, images={"mimic_cxr": 72, "chestxray14": 24})
    params["training"].update(epochs=2, batch_size=16, checkpoint_seconds=0)
    params["method"] = {"clip": {"options": {"width": 16}}}
    params["tasks"] = {}
    params["attribution"] = {}
    (home / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


@dataclass(frozen=True)
class Trouble:
    """What a run is put through. change: kill it before its n-th change of the disk (0: never). seconds: kill
    it after so many of the processor. worker: kill one of its pool workers instead, as soon as there is one.
    setup: called in the child before all."""

    change: int = 0
    seconds: float = 0.0
    worker: bool = False
    setup: Callable[[], None] | None = None


@dataclass(frozen=True)
class End:
    """code: the exit code, negative the signal. changes: of the disk. first_work: the first of them not
    among the twins. Both only where the run came to its end. seconds: of the processor."""

    code: int
    out: str
    err: str
    changes: int
    first_work: int
    seconds: float

    @property
    def killed(self) -> bool:
        return self.code < 0

    def table(self) -> Any:
        """The numbers that it printed."""
        value = json.loads(self.out)
        return {key: value[key] for key in ("metrics", "comparisons", "tasks") if key in value}


@dataclass
class Runner:
    """Starts children from a process that has imported everything, so that kills hit the work."""

    context: Any = field(default_factory=lambda: multiprocessing.get_context("forkserver"))

    def __post_init__(self) -> None:
        from benchmark.core import numerics

        numerics.pin("portable")  # for the process that loads torch
        os.environ.update(HF_HUB_OFFLINE="1", MLFLOW_DISABLE_TELEMETRY="true", TOKENIZERS_PARALLELISM="false")
        self.context.set_forkserver_preload(PRELOADED)

    def start(self, home: Path, log: Path, trouble: Trouble, arguments: tuple[str, ...]) -> Any:
        process = self.context.Process(target=_child, args=(home, log, trouble, arguments))
        process.start()
        return process

    def run(self, home: Path, trouble: Trouble | None = None, arguments: tuple[str, ...] = RUN) -> End:
        return self.together(home, [trouble or Trouble()], arguments)[0]

    def together(self, home: Path, troubles: list[Trouble], arguments: tuple[str, ...] = RUN) -> list[End]:
        """Run one child a trouble on one project at the same time."""
        logs = home.parent / f"{home.name}.logs"
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir(parents=True)
        watched = [
            Watched(self.start(home, logs / str(number), trouble, arguments), trouble, logs / str(number))
            for number, trouble in enumerate(troubles)
        ]
        running = list(watched)
        while running := [one for one in running if not one.ended()]:
            time.sleep(0.1)
        return [_end(one.process.exitcode, one.log, one.used) for one in watched]


@dataclass
class Watched:
    """A child with what it is put through. used: seconds of the processor, its workers' included; moved: when
    that last grew, by the clock; shot: whether it or a worker of it was killed at its time."""

    process: Any
    trouble: Trouble
    log: Path
    used: float = 0.0
    moved: float = field(default_factory=time.monotonic)
    shot: bool = False

    def ended(self) -> bool:
        """Whether it has; kills it when its time has come. Raises AssertionError if it hangs."""
        if self.process.exitcode is not None:
            return True
        used, now = max(self.used, processor_seconds(self.process.pid)), time.monotonic()
        if used > self.used:
            self.used, self.moved = used, now
        if used > LONGEST or now - self.moved > LONGEST:
            self.process.kill()
            said = self.log.with_suffix(".err").read_text()[-2000:]
            raise AssertionError(f"hung after {used:.0f} s of the processor: {said}")
        wanted = self.trouble.seconds and not self.shot and used > self.trouble.seconds
        if wanted and self.process.exitcode is None:
            own = psutil.Process(self.process.pid)
            self.shot = shoot(workers(own)[-1:] if self.trouble.worker else [own])
        return False


def processor_seconds(pid: int) -> float:
    """Of a process and all below it; 0 where it has ended."""
    total = 0.0
    try:
        own = psutil.Process(pid)
        for process in (own, *own.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:4])
    except psutil.NoSuchProcess:
        return 0.0
    return total


def workers(process: psutil.Process) -> list[psutil.Process]:
    """The processes of pools anywhere below `process`."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                found += [one] if "spawn_main" in " ".join(one.cmdline()) else []
    return found


def shoot(chosen: list[psutil.Process]) -> bool:
    """Whether one of them was there to be killed."""
    shot = False
    for process in chosen:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
            shot = True
    return shot


def _end(code: int, log: Path, seconds: float) -> End:
    counts = log.with_suffix(".count")
    changes, first = (int(n) for n in ((counts.read_text() if counts.exists() else "") or "0 0").split())
    texts = [
        log.with_suffix(s).read_text(errors="replace")
        for s in (".out", ".err")
        if log.with_suffix(s).exists()
    ]
    return End(code, *(texts or ["", ""]), changes, first, seconds)


def _child(home: Path, log: Path, trouble: Trouble, arguments: tuple[str, ...]) -> None:
    os.environ["CXR_ALIGNBENCH_HOME"] = str(home)
    os.chdir(home)
    for number, suffix in ((1, ".out"), (2, ".err")):
        handle = os.open(log.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
    counted = os.open(log.with_suffix(".count"), os.O_WRONLY | os.O_CREAT)
    if trouble.setup is not None:
        trouble.setup()
    changes = _kill_before(trouble.change, str(home))
    from benchmark.cli import main

    code = main(list(arguments))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.getrlimit(resource.RLIMIT_FSIZE)[1],) * 2)
    os.pwrite(counted, " ".join(map(str, changes())).encode(), 0)
    sys.stdout.flush()
    os._exit(code)


def _kill_before(change: int, home: str) -> Callable[[], tuple[int, int]]:
    """Count what this process changes below `home`, and kill it before the given one."""
    count = first = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count, first
        if event == "open":
            mode, flags = arguments[1], arguments[2]
            writes = any(c in (mode or "") for c in "wax+") or (flags or 0) & (
                os.O_WRONLY | os.O_RDWR | os.O_CREAT
            )
            if not writes:
                return
        elif event not in CHANGES:
            return
        path = arguments[0]
        if isinstance(path, str | os.PathLike) and os.path.abspath(path).startswith(home):  # noqa: PTH100
            count += 1
            if first == 0 and "/twins/" not in str(path):
                first = count
            if count == change:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return lambda: (count, first)


OWN_HISTORY = ("mlflow.db", "mlartifacts", ".cache/answers/")
"""What remembers every attempt, killed ones too, and what a run that made nothing leaves: its answer."""
MADE = ("results", "runs", "data")
SAME = (".parquet", ".safetensors", ".npy", ".csv.gz", ".png", ".jpg", ".txt")
"""Kinds of files that an equal run writes with equal bytes; the others hold times and paths."""


def files(home: Path) -> set[str]:
    """Every file of a project but the record of attempts, the locks, and the kept fingerprints of folders,
    which are written only where no file was changed within the last seconds."""
    found = {p.relative_to(home).as_posix() for p in home.rglob("*") if p.is_file()}
    passing = (*OWN_HISTORY, ".cache/roots/")
    return {f for f in found if not f.startswith(passing) and not f.endswith(".lock") and "/locks/" not in f}


def contents(home: Path) -> Mapping[str, str]:
    """Path → hash of what an equal run writes equally."""
    from benchmark.core.hashing import hash_file

    return {f: hash_file(home / f) for f in sorted(files(home)) if f.endswith(SAME) and "history" not in f}


def held_locks(home: Path) -> list[str]:
    """Lock files that some process still holds."""
    from filelock import FileLock, Timeout

    found = []
    for path in (
        p for p in home.rglob("*") if p.is_file() and (p.suffix == ".lock" or p.parent.name == "locks")
    ):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            found.append(path.name)
        else:
            lock.release()
    return found


@dataclass(frozen=True)
class Reference:
    """What an uninterrupted run gives."""

    contents: Mapping[str, str]
    files: set[str]
    table: Any
    changes: int
    first_work: int
    seconds: float

    @classmethod
    def make(cls, runner: Runner, home: Path) -> Reference:
        """home: where all projects that are compared lie, in turns, as caches are named by paths."""
        home.mkdir(parents=True)
        write_params(home)
        end = runner.run(home)
        assert end.code == 0, end.err
        return cls(contents(home), files(home), end.table(), end.changes, end.first_work, end.seconds)

    def check(self, home: Path, end: End) -> None:
        """Raises AssertionError, naming what, unless `home` is as the uninterrupted run left its own."""
        assert end.code == 0, f"exit code {end.code}: {end.err[-1500:]}"
        found, now = contents(home), files(home)
        assert now - self.files == set(), f"left behind: {sorted(now - self.files)[:5]}"
        assert self.files - now == set(), f"missing: {sorted(self.files - now)[:5]}"
        differing = [name for name, value in self.contents.items() if found[name] != value]
        assert not differing, f"other bytes: {differing[:5]}"
        assert end.table() == self.table, "other numbers"
        assert not held_locks(home), f"held locks: {held_locks(home)}"
