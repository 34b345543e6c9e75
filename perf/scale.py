"""Time, memory and disk as functions of the work, fitted at three sizes and checked at a fourth.

    python perf/scale.py [--methods clip radzero carzero] [--works scoring training]
    python perf/scale.py --million [--images 1000000] [--texts 192] [--kill-after 0.4]

The laws are those of `scale_laws.py`, in images, texts, tokens, channels and seeds; each size is a process of
its own (`scale_work.py`). Exit 1 where one is off by more than 15% at a size that it was not fitted at.

--million: a run of that many images is killed once a share of its shards is written, and goes on; the
shards that were there are not written again, and the scores of single rows are those of scoring them alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from loader import TEXT_WIDTH, WIDTH
from scale_laws import SIZES, TOLERANCE, check_sizes, compared, fit_sizes, laws, spelled
from scale_work import begin, disk, measured

from benchmark.core.features import TextFeatures
from benchmark.core.files import write_json
from benchmark.encoders.store import FeatureStore
from benchmark.evaluation.scoring import score
from benchmark.training.loop import seeded_method
from benchmark.training.provenance import device_name


def texts_of(count: int) -> TextFeatures:
    torch.manual_seed(0)
    mask = torch.arange(16)[None] < torch.randint(4, 13, (count, 1))
    local = torch.randn(count, 16, TEXT_WIDTH) * mask[..., None]
    return TextFeatures(torch.randn(count, TEXT_WIDTH), local, mask)


def million_store(folder: Path, images: int, tokens: int) -> FeatureStore:
    """A store on disk whose tokens are a file without content (zeros): only its size matters here."""
    if not (folder / "store.json").is_file():
        folder.mkdir()
        pooled = np.lib.format.open_memmap(folder / "pooled.npy", "w+", np.float32, (images, WIDTH))
        rng = np.random.default_rng(0)
        for first in range(0, images, 10_000):
            block = pooled[first : first + 10_000]
            block[:] = rng.standard_normal(block.shape, dtype=np.float32)
        np.lib.format.open_memmap(folder / "local.npy", "w+", np.float16, (images, tokens, WIDTH))
        write_json(folder / "store.json", {"kind": "image", "key": f"{images}", "grid": [1, tokens]})
    return FeatureStore.open(folder)


def one(method: str, images: FeatureStore, texts: int, shards: Path) -> dict[str, float]:
    """Score, in this process: what it took."""
    torch.set_num_threads(1)
    made = seeded_method(method, {}, WIDTH, TEXT_WIDTH, 0).eval()
    text = texts_of(texts)
    before = peak()
    start = time.process_time()
    found = score(made, images, text, shards=shards)
    took = time.process_time() - start
    rows = np.random.default_rng(1).integers(0, len(images), 3)
    alone = score(made, images, text, rows=rows)
    assert np.allclose(found[rows], alone, rtol=1e-5, atol=1e-5)
    return {"seconds": took, "peak_mib": peak(), "before_mib": before, "shards": disk(shards) / 2**20}


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


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


def million(images: int, texts: int, tokens: int, share: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as place:
        folder, shards = Path(place) / "features", Path(place) / "shards"
        million_store(folder, images, tokens)
        first = child("clip", str(folder), str(texts), str(shards), "0")
        whole = 4 * images * texts
        while (done := disk(shards) if shards.exists() else 0) < share * whole:
            assert first.poll() is None, "it ended before it was to be killed"
            time.sleep(0.2)
        first.send_signal(signal.SIGKILL)
        first.wait()
        before = {p: p.stat().st_mtime_ns for p in shards.rglob("*.npy")}
        second = answer(child("clip", str(folder), str(texts), str(shards), "0"))
        kept = sum(p.stat().st_mtime_ns == at for p, at in before.items())
        return {**second, "killed_at": done / whole, "shards_there": len(before), "shards_kept": kept,
                "disk_mib": (disk(folder) + disk(shards)) / 2**20}  # fmt: skip


def main() -> int:
    if sys.argv[1:2] == ["--one"]:
        name, folder, texts, shards, turn = sys.argv[2:]
        where = Path(shards) if turn == "0" else Path(shards + turn)
        print(json.dumps(one(name, FeatureStore.open(folder), int(texts), where)))
        return 0
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    works, methods = (list(dict.fromkeys(key[n] for key in SIZES)) for n in (0, 1))
    parser.add_argument("--methods", nargs="*", default=methods, choices=methods)
    parser.add_argument("--works", nargs="*", default=works, choices=works)
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--texts", type=int, default=192)
    parser.add_argument("--tokens", type=int, default=1)
    parser.add_argument("--kill-after", type=float, default=0.4)
    options = parser.parse_args()
    if options.million:
        found = million(options.images, options.texts, options.tokens, options.kill_after)
        print(f"{options.images:,} images × {options.texts}: {found}")
        return 0 if found["shards_kept"] == found["shards_there"] and found["peak_mib"] < 2048 else 1
    load, start, missed = os.getloadavg()[0], begin(options.methods), []
    for work in options.works:
        for method in options.methods:
            for row in rows_of(work, method):
                print(row, flush=True)
                missed += [f"{row.name} {check}" for check in row.told if abs(row.off(check)) > TOLERANCE]
    loads = f"load {load:.1f} to {os.getloadavg()[0]:.1f}"
    print(f"{device_name(torch.device('cpu'))}, one thread, {loads}; loading took {start:.1f} s")
    print(f"off by more than {TOLERANCE:.0%}: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
