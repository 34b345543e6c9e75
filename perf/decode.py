"""Images per second, from file to a small grey square: ours against plain Pillow, on all cores, in one run.

    python perf/decode.py [--images 48] [--side 1024] [--view 256] [--repeats 3] [--json]

Pillow is used as anyone would: `Image.open(path).resize((view, view))` with its default filter, in a pool of
processes of the same size as ours; `box` is Pillow with the quickest filter that averages. The view is the
square of CARZero's official preprocessing; --view 224 is that of most encoders. Rounds alternate, the best
of each counts, and the processor time per image stands beside it, since other work on the machine does not
disturb that. No file is hashed here. Exit 1 where a ratio of images per second is below --least.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmark.core.preprocessing import Preprocessing
from benchmark.data.contents import cores
from benchmark.data.pixels import preprocess, read_pixels
from perf.options import described, machine

KINDS = {"png8": "8-bit PNG", "png16": "16-bit PNG", "jpeg": "JPEG"}


def radiograph(side: int, seed: int) -> np.ndarray:
    """Smooth anatomy, fine structure and quantum noise, (side, side) in [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    image = 0.5 + 0.3 * np.sin(6 * x + 2 * y + seed) * np.cos(5 * y)
    image += 0.08 * cv2.GaussianBlur(rng.normal(size=(side, side)), (0, 0), side / 256) * 4
    return np.asarray(np.clip(image + rng.normal(size=(side, side)) * 0.008, 0, 1))


def write(folder: Path, kind: str, count: int, side: int) -> list[str]:
    paths = []
    for i in range(count):
        path = folder / f"{i}.{'jpg' if kind == 'jpeg' else 'png'}"
        image = radiograph(side, i % 8)
        if kind == "png16":
            Image.fromarray((image * 4095).astype(np.uint16) << 4).save(path)
        elif kind == "png8":
            Image.fromarray((image * 255).astype(np.uint8)).save(path)
        else:
            Image.fromarray((image * 255).astype(np.uint8)).save(path, quality=90)
        paths.append(str(path))
    return paths


def pillow(path: str, view: int) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.resize((view, view)))


def pillow_box(path: str, view: int) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.resize((view, view), Image.Resampling.BOX))


def ours(path: str, view: int) -> np.ndarray:
    return preprocess(read_pixels(path), Preprocessing(size=view, depth="high-byte"))


TASKS = {"pillow": pillow, "box": pillow_box, "ours": ours}


def timed(path: str, name: str, view: int) -> float:
    """Processor seconds of one image."""
    begin = time.process_time()
    result = TASKS[name](path, view)
    assert result.shape == (view, view)
    assert result.any()
    return time.process_time() - begin


def start() -> None:
    """One thread a process: the pool uses the cores."""
    cv2.setNumThreads(1)


def measure(pool: ProcessPoolExecutor, name: str, paths: list[str], view: int) -> tuple[float, float]:
    """Images per second of the pool, and processor milliseconds per image."""
    begin = time.perf_counter()
    spent = list(pool.map(partial(timed, name=name, view=view), paths, chunksize=4))
    return len(paths) / (time.perf_counter() - begin), 1000 * float(np.mean(spent))


def main() -> int:
    parser = described(__doc__)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--view", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--least", type=float, default=1.5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: dict[str, dict[str, Any]] = {}
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as temporary,
        ProcessPoolExecutor(cores(), mp_context=context, initializer=start) as pool,
    ):
        for kind in KINDS:
            folder = Path(temporary) / kind
            folder.mkdir()
            paths = write(folder, kind, options.images, options.side)
            speed, cost = dict.fromkeys(TASKS, 0.0), dict.fromkeys(TASKS, np.inf)
            for name in TASKS:
                measure(pool, name, paths[: 4 * cores()], options.view)
            for _ in range(options.repeats):
                for name in TASKS:
                    now, spent = measure(pool, name, paths, options.view)
                    speed[name], cost[name] = max(speed[name], now), min(cost[name], spent)
            rows[kind] = {
                "images_per_second": speed,
                "cpu_ms": cost,
                "ratio": speed["ours"] / speed["pillow"],
                "ratio_cpu": cost["pillow"] / cost["ours"],
                "ratio_cpu_to_box": cost["box"] / cost["ours"],
            }
    if options.json:
        sys.stdout.write(
            json.dumps({"cores": cores(), "side": options.side, "view": options.view, **rows}) + "\n"
        )
    else:
        print(f"{machine()}; {options.side} px to {options.view} px: images/s (CPU ms an image)")
        for kind, row in rows.items():
            shown = "  ".join(
                f"{n} {row['images_per_second'][n]:4.0f} ({row['cpu_ms'][n]:4.1f})" for n in TASKS
            )
            ratios = f"ratio {row['ratio']:.2f}  by CPU time {row['ratio_cpu']:.2f}"
            ratios += f", to box {row['ratio_cpu_to_box']:.2f}"
            print(f"{KINDS[kind]:<11} {shown}  {ratios}")
    return 0 if all(row["ratio"] >= options.least for row in rows.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
