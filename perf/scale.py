"""Time, memory and disk of scoring as functions of the work, fitted at three sizes and checked at a fourth.

    python perf/scale.py [--methods clip carzero] [--json]
    python perf/scale.py --million [--images 1000000] [--texts 192] [--kill-after 0.4]

Each size is a process of its own: features are noise in memory-mapped files, scores go to shards, and what
counts is processor time of one thread and the peak resident size. The law of a method:

    seconds = start + a · images + b · images · texts       at 64 tokens of 112 channels
    peak    = what Python, torch and the method take + scores (4 bytes a pair) + the files read, as mapped
    disk    = features (4 · width + 2 · tokens · width bytes an image) + scores (4 bytes a pair)

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
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from loader import TEXT_WIDTH, TOKENS, WIDTH, store

from benchmark.core.features import TextFeatures
from benchmark.core.files import write_json
from benchmark.encoders.store import FeatureStore
from benchmark.evaluation.scoring import score
from benchmark.training.loop import seeded_method
from benchmark.training.provenance import device_name

SIZES = {
    "clip": ((8000, 24), (16000, 384), (32000, 24), (48000, 192)),
    "carzero": ((64, 24), (128, 192), (256, 24), (512, 96)),
}
"""(images, texts) of a method: three that the law is fitted at, and the one it is checked at."""
TOLERANCE = 0.15


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


def disk(folder: Path) -> int:
    """Bytes that the files of a folder hold."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def child(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, __file__, "--one", *words], stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> dict[str, float]:
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a process ended with {process.returncode}")
    found: dict[str, float] = json.loads(said)
    return found


def law(sizes: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """(start, a, b) of the three sizes (images, texts)."""
    images, texts = sizes.T.astype(float)
    return np.linalg.solve(np.stack([np.ones(3), images, images * texts], 1), seconds)


def fitted(name: str) -> dict[str, dict[str, float]]:
    """The law of a method, and what it tells of the fourth size beside what that was."""
    measured = []
    with tempfile.TemporaryDirectory() as place:
        for images, texts in SIZES[name]:
            folder = Path(place) / str(images)
            features = store(folder, images, "float16")
            words = (name, str(folder), str(texts), str(Path(place) / "shards"))
            least = min((answer(child(*words, f"{k}")) for k in range(3)), key=lambda f: f["seconds"])
            bytes_ = features.pooled.nbytes + features.local.nbytes
            measured.append({**least, "features_mib": bytes_ / 2**20, "images": images, "texts": texts})
    sizes = np.array(SIZES[name])
    start, a, b = law(sizes[:3], np.array([m["seconds"] for m in measured[:3]]))
    images, texts = SIZES[name][3]
    last = measured[3]
    told = {
        "seconds": start + a * images + b * images * texts,
        "peak_mib": float(np.mean([m["before_mib"] for m in measured[:3]]))
        + 4 * images * texts / 2**20
        + last["features_mib"],
        "disk_mib": images * (4 * WIDTH + 2 * TOKENS * WIDTH) / 2**20,
    }
    was = {"seconds": last["seconds"], "peak_mib": last["peak_mib"], "disk_mib": last["features_mib"]}
    off = {key: was[key] / told[key] - 1 for key in told}
    return {"law": {"start": start, "image": a, "pair": b}, "told": told, "was": was, "off": off}


def _shown(law: Mapping[str, float]) -> str:
    return ", ".join(f"{key} {value:.3g} s" for key, value in law.items())


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
    parser.add_argument("--methods", nargs="*", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--texts", type=int, default=192)
    parser.add_argument("--tokens", type=int, default=1)
    parser.add_argument("--kill-after", type=float, default=0.4)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    if options.million:
        found = million(options.images, options.texts, options.tokens, options.kill_after)
        print(json.dumps(found) if options.json else f"{options.images:,} images × {options.texts}: {found}")
        return 0 if found["shards_kept"] == found["shards_there"] and found["peak_mib"] < 2048 else 1
    rows = {name: fitted(name) for name in options.methods}
    if options.json:
        print(json.dumps(rows))
    for name, row in rows.items() if not options.json else ():
        print(f"{name}: {_shown(row['law'])}")
        for key, off in row["off"].items():
            print(f"  {key}: told {row['told'][key]:.4g}, was {row['was'][key]:.4g} ({off:+.0%})")
    print(f"{device_name(torch.device('cpu'))}, one thread, load {load:.1f}", file=sys.stderr)
    return 0 if all(abs(off) <= TOLERANCE for row in rows.values() for off in row["off"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
