"""`make fuzz`: many inputs on every target, in processes that may die, with the counts kept on disk.

A batch is one target and one seed of Hypothesis, so the same batches are the same inputs on every machine.
What is done is one line a batch of `done.jsonl`; a campaign that was stopped goes on behind it. An input that
breaks a promise is kept as a file, and so is the one on which a process died or hung.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmark.core import numerics

BATCH = 500
"""Inputs of one process, and the least that any target gets."""
WARM = 5
"""Inputs whose memory is that of imports; growth is counted after them."""
SILENT = 60.0
"""Seconds without a new input after which a process counts as hung: of the processor, or of the clock where
it sleeps, as a busy machine may keep waiting one that could run. Its start may take ten times as long."""

PRELOADED = [
    "tests.fuzz.judge",
    "hypothesis",
    "benchmark.cli",
    "benchmark.stages.run",
    "benchmark.stages.evaluate",
    "benchmark.data.check",
    "benchmark.data.dataset",
    "benchmark.data.volumes",
    "benchmark.encoders.factory",
    "benchmark.official.checkpoints",
    "benchmark.reporting.claims",
    "benchmark.score.raw_table",
    "nibabel",
    "pyarrow.parquet",
    "pydicom.pixels",
    "scipy.stats",
    "sklearn.metrics",
    "torch",
    "transformers",
]


@dataclass(frozen=True)
class Batch:
    target: str
    number: int
    size: int


def plan(inputs: int, only: list[str]) -> list[Batch]:
    """Batches of every target by its weight, in turns, so that all targets fill evenly. Every batch is whole,
    so that what was tried before a target was added or weighed anew still counts."""
    from tests.fuzz.targets import TARGETS

    chosen = {name: t for name, t in TARGETS.items() if not only or any(o in name for o in only)}
    total = sum(t.weight for t in chosen.values())
    found = []
    for name, target in chosen.items():
        found += [Batch(name, n, BATCH) for n in range(-(-inputs * target.weight // (total * BATCH)))]
    return sorted(found, key=lambda b: b.number)


def carry_out(batch: Batch, folder: Path) -> None:
    """One batch in this process; prints its counts as JSON. Before each input a file says which one it is."""
    from hypothesis import HealthCheck, Phase, given, seed, settings

    from tests.fuzz.judge import judge, peak
    from tests.fuzz.targets import TARGETS, Input

    target = TARGETS[batch.target]
    counts: Counter[str] = Counter()
    seen: set[bytes] = set()
    slowest, first, broken = 0.0, peak(), []
    current = folder / f"now-{os.getpid()}"

    @seed(batch.number)
    @settings(
        max_examples=batch.size,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs())
    def every_input(one: Input) -> None:
        nonlocal slowest, first
        where, data = one
        if sum(counts.values()) < WARM:
            first = peak()
        current.write_bytes(where.encode() + b"\n" + data)
        seen.add(hashlib.sha256(where.encode() + b"\0" + data).digest())
        begun = time.process_time()
        try:
            counts[judge(target, where, data)] += 1
        except BaseException as problem:
            if isinstance(problem, KeyboardInterrupt):
                raise
            counts["broken"] += 1
            broken.append(keep(folder, batch, current, f"{type(problem).__name__}: {problem}"))
        slowest = max(slowest, time.process_time() - begun)

    every_input()
    current.unlink(missing_ok=True)
    value = {**vars(batch), "inputs": sum(counts.values()), "distinct": len(seen), "kept": broken}
    value |= {kind: counts[kind] for kind in ("read", "refused", "broken")}
    value |= {"slowest": round(slowest, 3), "peak": peak(), "growth": peak() - first}
    print(json.dumps(value))


def keep(folder: Path, batch: Batch, current: Path, reason: str) -> str:
    """Copy the input in hand beside its reason; its name."""
    data = current.read_bytes()
    name = (
        f"{''.join(c if c.isalnum() else '-' for c in batch.target)}-{hashlib.sha256(data).hexdigest()[:12]}"
    )
    (folder / "broken").mkdir(exist_ok=True)
    (folder / "broken" / name).write_bytes(data)
    (folder / "broken" / f"{name}.txt").write_text(f"{batch}\n{reason}\n", encoding="utf-8")
    return name


def supervised(batch: Batch, folder: Path) -> dict[str, object]:
    """The counts of a batch in a process of its own, which is killed where it says nothing. It starts from
    one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory(prefix="fuzz-batch-") as home:
        said = Path(home) / "out", Path(home) / "err"
        process = context.Process(target=_child, args=(batch, folder, said))
        process.start()
        assert process.pid is not None
        current, silence = folder / f"now-{process.pid}", Silence(psutil.Process(process.pid))
        while process.exitcode is None:
            time.sleep(0.2)
            if silence.lasts(current) > (SILENT if current.exists() else 10 * SILENT):
                process.kill()
                process.join()
        if process.exitcode == 0:
            return json.loads(said[0].read_text().splitlines()[-1])
        error = said[1].read_text(errors="replace")[-3000:] if said[1].exists() else ""
    reason = f"the process ended with {process.exitcode}: {error}"
    kept = [keep(folder, batch, current, reason)] if current.exists() else [reason]
    current.unlink(missing_ok=True)
    zeros = dict.fromkeys(("inputs", "distinct", "read", "refused", "slowest", "peak", "growth"), 0)
    return {**vars(batch), **zeros, "broken": 1, "kept": kept}


def _child(batch: Batch, folder: Path, said: tuple[Path, Path]) -> None:
    for number, path in zip((1, 2), said, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    carry_out(batch, folder)


@dataclass
class Silence:
    """Since when a process has begun no new input."""

    process: psutil.Process
    changed: int = 0
    used: float = 0.0
    awake: float = 0.0

    def lasts(self, current: Path) -> float:
        """Seconds of the processor since `current` changed, or of the clock since it was last awake."""
        try:
            times, asleep = self.process.cpu_times(), self.process.status() == psutil.STATUS_SLEEPING
            changed = current.stat().st_mtime_ns if current.exists() else 0
        except (psutil.NoSuchProcess, FileNotFoundError):
            return 0.0
        used, now = times.user + times.system, time.monotonic()
        if changed != self.changed or not self.awake:
            self.changed, self.used, self.awake = changed, used, now
        if not asleep:
            self.awake = now
        return max(used - self.used, now - self.awake)


def table(lines: list[dict]) -> str:
    """Counts of every target as Markdown."""
    rows = [
        "| target | inputs | distinct | read | refused | broken | slowest, s | growth, MB |",
        "|---|" + "--:|" * 7,
    ]
    groups: dict[str, list[dict]] = {}
    for line in lines:
        groups.setdefault(line["target"], []).append(line)
        groups.setdefault("all", [])
    for name in [*(n for n in groups if n != "all"), "all"]:
        own = groups[name] or lines
        sums = [sum(line[k] for line in own) for k in ("inputs", "distinct", "read", "refused", "broken")]
        rows.append(
            f"| {name} | {' | '.join(f'{s:,}' for s in sums)} | {max(line['slowest'] for line in own):.2f} | "
            f"{max(line['growth'] for line in own) / 2**20:,.0f} |"
        )
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=100_000, help="inputs over all targets")
    parser.add_argument(
        "--minutes", type=float, default=0, help="stop after so many minutes; go on next time"
    )
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[], help="targets whose name holds one of these")
    parser.add_argument("--folder", type=Path, default=Path("scratch/fuzz"), help="counts and kept inputs")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    numerics.pin("portable")  # before torch is loaded
    log = asked.folder / "done.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {(line["target"], line["number"], line["size"]) for line in lines}
    waiting = [b for b in plan(asked.inputs, asked.only) if (b.target, b.number, b.size) not in done]
    until = time.monotonic() + asked.minutes * 60 if asked.minutes else float("inf")
    with ThreadPoolExecutor(asked.processes) as pool, log.open("a") as handle:
        for start in range(0, len(waiting), asked.processes):
            if time.monotonic() > until:
                break
            part = waiting[start : start + asked.processes]
            for line in pool.map(supervised, part, [asked.folder] * len(part)):
                lines.append(line)
                handle.write(json.dumps(line) + "\n")
                handle.flush()
                if line["broken"]:
                    sys.stderr.write(f"{line['target']}: {line['kept']}\n")
    print(table(lines))
    return int(any(line["broken"] for line in lines))


if __name__ == "__main__":
    sys.exit(main())
