"""`make chaos`: a small cell, and the smoke pipeline, through kills, full disks and other processes.

After each trouble the same command is run once more without any, and must leave the bytes and print the
numbers of a run that nothing disturbed, with no file beside them and no lock held.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.chaos.cell import RUN, Reference, Runner, Trouble, write_params

NOBODY = 65534
KILLS = ["kill before a change of the disk", "kill at a random time", "kill of a worker"]
CHAIN = 6
"""Kills of one project before it is run to its end and compared."""


@dataclass
class Row:
    """A kind of trouble: how often it was made, how often it hit, and what was wrong afterwards."""

    name: str
    made: int = 0
    hit: int = 0
    checked: int = 0
    faults: tuple[str, ...] = ()


@dataclass
class Chaos:
    runner: Runner
    reference: Reference
    base: Path

    @property
    def home(self) -> Path:
        return self.base / "project"

    def fresh(self) -> Path:
        home = self.home
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        write_params(home)
        return home

    def whole(self, home: Path, row: Row) -> None:
        """Run once more, undisturbed, and check what is there."""
        row.checked += 1
        try:
            self.reference.check(home, self.runner.run(home))
        except AssertionError as fault:
            row.faults += (str(fault),)
            shutil.rmtree(self.base / "faults" / row.name, ignore_errors=True)
            shutil.copytree(home, self.base / "faults" / row.name)

    def kills(self, count: int, seed: int) -> list[Row]:
        """Kills of several runs after one another on one project, each in the first half of what is left to
        do, then one run to the end, which is checked; and anew, until `count` have hit.

        Four kills in five come right before one of the changes that the run makes on the disk: a new file, a
        rename, a removal; the others at a random time, half of these to a worker of the run.
        """
        rng = random.Random(seed)
        rows = {name: Row(name) for name in KILLS}
        whole = self.reference
        while sum(row.hit for row in rows.values()) < count:
            home, left, last = self.fresh(), whole.changes, rows[KILLS[0]]
            for number in range(CHAIN):
                before_twins = left == whole.changes
                kind = rng.choices(KILLS, (8, 1, 1 if before_twins else 0))[0]
                if kind == KILLS[0]:
                    start = whole.first_work if before_twins and rng.random() < 0.75 else 1
                    change = start + rng.randrange(max(2, (left - start) // 2))
                    trouble = Trouble(change=change)
                    left = max(2, left - change) if change >= whole.first_work or not before_twins else left
                else:
                    worker = kind == KILLS[2]  # they draw the twins, early in a run
                    share = 0.3 if worker else 0.5 * left / whole.changes
                    trouble = Trouble(seconds=rng.uniform(0.05, whole.seconds * share), worker=worker)
                end, last = self.runner.run(home, trouble), rows[kind]
                last.made += 1
                last.hit += end.killed or end.code == 2
                sys.stderr.write(f"{number}: {last}\n")
                if end.code not in (0, 2, -9):
                    last.faults += (f"exit code {end.code}: {end.err[-300:]}",)
                if end.code == 0 or sum(row.hit for row in rows.values()) >= count:
                    break
            self.whole(home, last)
        return list(rows.values())

    def starved(self, name: str, setups: list[Callable[[], None]]) -> Row:
        """Runs that cannot write all that they want: each ends with one line and code 2, or is whole."""
        row = Row(name)
        for number, setup in enumerate(setups):
            home = self.fresh()
            end = self.runner.run(home, Trouble(setup=setup))
            row.made += 1
            row.hit += end.code == 2
            if end.code not in (0, 2) or "Traceback" in end.err:
                row.faults += (f"{number}: exit code {end.code}: {end.err[-300:]}",)
            self.whole(home, row)
        return row

    def full_disk(self) -> Row:
        sizes = [0, 512, 4 << 10, 20 << 10, 100 << 10, 500 << 10, 2 << 20, 8 << 20]
        return self.starved("file-size limit", [partial(limit_files, size) for size in sizes])

    def small_disk(self) -> Row | None:
        """A tmpfs that fills up, where this user may mount one."""
        row = Row("full tmpfs")
        for megabytes in (1, 3, 6, 12, 20):
            home = self.home
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(home)]
            if os.geteuid() != 0 or subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
                return None
            try:
                write_params(home)
                end = self.runner.run(home)
                row.made += 1
                row.hit += end.code == 2
                if end.code not in (0, 2) or "Traceback" in end.err:
                    row.faults += (f"{megabytes} MB: exit code {end.code}: {end.err[-300:]}",)
                subprocess.run(["mount", "-o", "remount,size=500m", str(home)], check=True)
                self.whole(home, row)
            finally:
                subprocess.run(["umount", str(home)], check=True)
        return row

    def read_only(self) -> Row:
        """A folder of the project that belongs to another user."""
        row = Row("read-only folder")
        for name in (".cache", "data", "runs", "results", "."):
            home = self.fresh()
            if os.geteuid() == 0:
                for place in (self.base, home):
                    place.chmod(0o777)
                (home / name).mkdir(exist_ok=True)
                (home / name).chmod(0o755)
                setup: Callable[[], None] = become_nobody
            else:
                (home / name).mkdir(exist_ok=True)
                (home / name).chmod(0o555)
                setup = nothing
            end = self.runner.run(home, Trouble(setup=setup))
            row.made += 1
            row.hit += end.code == 2
            if end.code != 2 or "Traceback" in end.err:
                row.faults += (f"{name}: exit code {end.code}: {end.err[-300:]}",)
            (home / name).chmod(0o755)
            self.whole(home, row)
        return row

    def locked_store(self) -> Row:
        """Another program holds the database of MLflow: for some seconds, then for the whole run."""
        row = Row("locked MLflow database")
        for seconds in (3.0, 600.0):
            home = self.fresh()
            assert self.runner.run(home).code == 0
            shutil.rmtree(home / "runs")
            holder = sqlite3.connect(home / "mlflow.db", isolation_level=None, check_same_thread=False)
            holder.execute("BEGIN EXCLUSIVE")
            release = threading.Timer(seconds, holder.rollback)
            release.start()
            end = self.runner.run(home)
            release.cancel()
            release.join()
            holder.close()
            row.made += 1
            row.hit += end.code == 2
            if end.code not in (0, 2) or "Traceback" in end.err:
                row.faults += (f"{seconds} s: exit code {end.code}: {end.err[-300:]}",)
            self.whole(home, row)
        return row

    def together(self) -> Row:
        """Two and five processes on one cell."""
        row = Row("two and five processes on one cell")
        for count in (2, 5):
            home = self.fresh()
            ends = self.runner.together(home, [Trouble()] * count)
            row.made += count
            row.hit += count
            for end in ends:
                if end.code != 0 or end.table() != self.reference.table:
                    row.faults += (f"exit code {end.code}: {end.err[-300:]}",)
            self.whole(home, row)
        return row

    def clock(self) -> Row:
        """Killed by half, then gone on with a clock that is a year behind the files."""
        row = Row("clock set back by a year")
        home = self.fresh()
        row.made = 1
        row.hit += self.runner.run(home, Trouble(change=self.reference.changes // 2)).killed
        later = time.time() + 365 * 86400
        for path in home.rglob("*"):
            os.utime(path, (later, later), follow_symlinks=False)
        end = self.runner.run(home, Trouble(setup=year_back))
        if end.code != 0:
            row.faults += (f"exit code {end.code}: {end.err[-300:]}",)
        self.whole(home, row)
        return row

    def hash_seeds(self) -> Row:
        """Sets in another order."""
        row = Row("another PYTHONHASHSEED")
        for number in ("1", "4294967295"):
            home = self.fresh()
            command = [sys.executable, "-m", "benchmark", *RUN]
            environment = {**os.environ, "PYTHONHASHSEED": number, "CXR_ALIGNBENCH_HOME": str(home)}
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            row.made += 1
            row.hit += 1
            if done.returncode:
                row.faults += (done.stderr[-300:],)
            self.whole(home, row)
        return row


def nothing() -> None:
    pass


def limit_files(size: int) -> None:
    """No file of this process grows past `size` bytes; its first two streams were opened before. The limit
    is the soft one, which the child lifts to write what it counted."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    os.environ["HOME"] = "/tmp"


def year_back() -> None:
    """Python's clocks a year ago; those of the file system stay."""
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() - 365 * 86400
    time.time_ns = lambda: now_ns() - 365 * 86400 * 10**9


def table(rows: list[Row]) -> str:
    lines = [
        "| trouble | made | interrupted or refused | checked afterwards | faults |",
        "|---|--:|--:|--:|--:|",
    ]
    lines += [f"| {r.name} | {r.made} | {r.hit} | {r.checked} | {len(r.faults)} |" for r in rows]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="of the small cell")
    parser.add_argument(
        "--pipeline-kills", type=int, default=30, help="of `dvc repro` at the smoke size; 0: leave it out"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", nargs="*", default=[], help="kinds: kills, full_disk, small_disk, read_only, …"
    )
    parser.add_argument("--folder", type=Path, default=Path("scratch/chaos"))
    asked = parser.parse_args()
    base = asked.folder.resolve()
    shutil.rmtree(base, ignore_errors=True)
    runner = Runner()
    begun = time.monotonic()
    reference = Reference.make(runner, base / "project")
    chaos = Chaos(runner, reference, base)
    kinds: dict[str, Callable[[], list[Row] | Row | None]] = {
        "kills": lambda: chaos.kills(asked.kills, asked.seed),
        "full_disk": chaos.full_disk,
        "small_disk": chaos.small_disk,
        "read_only": chaos.read_only,
        "locked_store": chaos.locked_store,
        "together": chaos.together,
        "clock": chaos.clock,
        "hash_seeds": chaos.hash_seeds,
    }
    rows: list[Row] = []
    for name, make in kinds.items():
        if asked.only and name not in asked.only:
            continue
        found = make()
        new = found if isinstance(found, list) else [found] if found else []
        if not new:
            sys.stderr.write(f"{name}: not possible for this user\n")
        for row in new:
            sys.stderr.write(f"{time.monotonic() - begun:6.0f} s  {row}\n")
        rows += new
    if asked.pipeline_kills and (not asked.only or "pipeline" in asked.only):
        from tests.chaos.pipeline import killed_pipeline

        rows += killed_pipeline(base / "pipeline", asked.pipeline_kills, asked.seed)
        sys.stderr.write("".join(f"{time.monotonic() - begun:6.0f} s  {row}\n" for row in rows[-3:]))
    print(table(rows))
    print(
        f"\n{reference.changes} changes of the disk in an undisturbed run of {reference.seconds:.0f} s; "
        f"{time.monotonic() - begun:,.0f} s in all"
    )
    return int(any(row.faults for row in rows))


if __name__ == "__main__":
    sys.exit(main())
