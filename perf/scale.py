"""Time, memory and disk as functions of the work, fitted at three sizes and checked at a fourth.

    python perf/scale.py [--methods clip radzero carzero] [--works scoring training]
    python perf/scale.py --million [--images 1000000] [--texts 192] [--kill-after 0.4]

The laws are those of `scale_laws.py`, in images, texts, tokens, channels and seeds; each size is a process of
its own (`scale_work.py`). Exit 1 where one is off by more than 15% at a size that it was not fitted at.

--million: a run of that many images is killed once a share of its shards is written, and goes on; the
shards that were there are not written again, and the scores of single rows are those of scoring them alone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmark.encoders.store import FeatureStore
from benchmark.evaluation.scoring import score
from benchmark.training.provenance import device_name
from perf.options import described
from perf.scale_laws import SIZES, TOLERANCE, check_sizes, compared, fit_sizes, laws, spelled
from perf.scale_work import begin, disk, made, measured, price_of_memory, texts
from perf.shared import noise_store, status

REST = 5
"""Seconds after which a virtual machine has handed free memory to its host."""


def one(images: FeatureStore, count: int, shards: Path) -> dict[str, float]:
    """Score by CLIP, in this process: what it took."""
    torch.set_num_threads(1)
    method, text, before = made("clip", images.width), texts(count, images.width), status()
    start = time.process_time()
    found = score(method, images, text, shards=shards)
    took = time.process_time() - start
    rows = np.random.default_rng(1).integers(0, len(images), 3)
    assert np.allclose(found[rows], score(method, images, text, rows=rows), rtol=1e-5, atol=1e-5)
    return {"seconds": took, "peak_mib": status() / 2**20, "before_mib": before / 2**20}


def child(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, __file__, "--one", *words], stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> dict[str, float]:
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a process ended with {process.returncode}")
    found: dict[str, float] = json.loads(said)
    return found


@dataclass(frozen=True)
class Row:
    """The law of a quantity beside what it came to. told, was: by check, in seconds or bytes."""

    name: str
    law: str
    told: dict[str, float]
    was: dict[str, float]

    def off(self, check: str) -> float:
        return self.was[check] / self.told[check] - 1

    def __str__(self) -> str:
        unit = 1 if self.name.endswith("seconds") else 2**20
        checks = [
            f"{check}: {told / unit:.2f}, was {self.was[check] / unit:.2f} ({self.off(check):+.1%})"
            for check, told in self.told.items()
        ]
        return "\n".join([f"{self.name} = {self.law}", *(f"    {line}" for line in checks)])


def rows_of(work: str, method: str) -> list[Row]:
    """The laws of a method at work, and what they tell beside what was."""
    sizes, checks = fit_sizes(work, method), check_sizes(work, method)
    took = measured(work, method, [*sizes, *checks.values()])
    found = laws(work, method, took[: len(sizes)], sizes)
    pairs = {
        check: compared(found, size, was)
        for (check, size), was in zip(checks.items(), took[len(sizes) :], strict=True)
    }
    rows = []
    for quantity in pairs["all"]:
        told, was = ({check: pair[quantity][n] for check, pair in pairs.items()} for n in (0, 1))
        rows.append(Row(f"{work} {method} {quantity}", spelled(found, quantity), told, was))
    return rows


def million(images: int, count: int, tokens: int, share: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as place:
        folder, shards = Path(place) / "features", Path(place) / "shards"
        noise_store(folder, images, tokens=tokens)
        words = str(folder), str(count), str(shards)
        first = child(*words)
        whole = 4 * images * count
        while (done := disk(shards) if shards.exists() else 0) < share * whole:
            if first.poll() is not None:
                raise SystemExit(
                    f"it ended with {first.poll()} before {share:.0%} of its shards were written"
                )
            time.sleep(0.005)
        first.send_signal(signal.SIGKILL)
        first.wait()
        if done >= whole:
            raise SystemExit("every shard was written before it could be killed; give more --images")
        before = {p: p.stat().st_mtime_ns for p in shards.rglob("*.npy")}
        second = answer(child(*words))
        kept = sum(p.stat().st_mtime_ns == at for p, at in before.items())
        return {**second, "killed_at": done / whole, "shards_there": len(before), "shards_kept": kept,
                "disk_mib": (disk(folder) + disk(shards)) / 2**20}  # fmt: skip


def main() -> int:
    if sys.argv[1:2] == ["--one"]:
        folder, count, shards = sys.argv[2:]
        print(json.dumps(one(FeatureStore.open(folder), int(count), Path(shards))))
        return 0
    parser = described(__doc__)
    works, methods = (list(dict.fromkeys(key[n] for key in SIZES)) for n in (0, 1))
    parser.add_argument("--methods", nargs="*", default=methods, choices=methods, help="default: all")
    parser.add_argument("--works", nargs="*", default=works, choices=works, help="default: both")
    parser.add_argument("--million", action="store_true", help="the run that is killed and goes on")
    parser.add_argument("--images", type=int, default=1_000_000, help="of that run")
    parser.add_argument("--texts", type=int, default=192, help="of that run")
    parser.add_argument("--tokens", type=int, default=1, help="patch tokens of its images")
    parser.add_argument(
        "--kill-after", type=float, default=0.4, help="share of shards that are written first"
    )
    chosen = parser.parse_args()
    if chosen.million:
        found = million(chosen.images, chosen.texts, chosen.tokens, chosen.kill_after)
        print(f"{device_name(torch.device('cpu'))}, {chosen.images:,} images × {chosen.texts} texts")
        kept, there = found["shards_kept"], found["shards_there"]
        print(f"killed at {found['killed_at']:.0%}: {kept:.0f} of {there:.0f} shards kept, the rest in "
              f"{found['seconds']:.1f} s of processor time")  # fmt: skip
        peak, before, on_disk = (found[key] / 1024 for key in ("peak_mib", "before_mib", "disk_mib"))
        print(f"GiB: peak resident size {peak:.2f}, {before:.2f} before scoring; {on_disk:.2f} on disk")
        return 0 if kept == there and found["peak_mib"] < 2048 else 1
    load, start, missed = os.getloadavg()[0], begin(chosen.methods), []
    for work in chosen.works:
        for method in chosen.methods:
            for row in rows_of(work, method):
                print(row, flush=True)
                missed += [f"{row.name} {check}" for check in row.told if abs(row.off(check)) > TOLERANCE]
    at_once, later = price_of_memory(0), price_of_memory(REST)
    print(f"memory from the system: {at_once:.2f} s a GiB just given back, {later:.2f} s {REST} s after that")
    loads = f"load {load:.1f} to {os.getloadavg()[0]:.1f}"
    print(f"{device_name(torch.device('cpu'))}, one thread, {loads}; loading took {start:.1f} s")
    print(f"off by more than {TOLERANCE:.0%}: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
