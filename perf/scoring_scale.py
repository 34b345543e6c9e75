"""PadChest-sized scoring of every method from the feature cache, the official loop beside it.

    python perf/scoring_scale.py [--images 39053] [--texts 192] [--methods clip carzero] [--device cpu|cuda]

A store of the embedded default's shape is streamed in shards; the whole work is N × T pairs. With fewer
images the time for all 39,053 is extrapolated and said to be. CARZero's released per-image loop, which
projects every prompt again for each image, is timed on a few images of the same features and weights.
The first image of the loop, in which torch sets itself up, is not counted. On a CPU the times are CPU
seconds of this process on one thread; on a GPU, seconds of the clock.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from loader import TEXT_WIDTH, WIDTH, store

from benchmark.core.features import TextFeatures
from benchmark.evaluation.scoring import score
from benchmark.training.loop import seeded_method
from benchmark.training.provenance import device_name
from methods.base import METHODS
from methods.carzero import CARZero
from methods.carzero_plain import per_image_loop

ALL = 39_053


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=ALL)
    parser.add_argument("--texts", type=int, default=192)
    parser.add_argument("--loop-images", type=int, default=32)
    parser.add_argument("--tile", type=int, nargs=2, default=(64, 64))
    parser.add_argument("--methods", nargs="*", default=None)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    chosen = parser.parse_args()
    clock = time.perf_counter
    if chosen.device == "cpu":
        torch.set_num_threads(1)
        clock = time.process_time
    torch.manual_seed(0)
    mask = torch.arange(16)[None] < torch.randint(4, 13, (chosen.texts, 1))
    local = torch.randn(chosen.texts, 16, TEXT_WIDTH) * mask[..., None]
    text = TextFeatures(torch.randn(chosen.texts, TEXT_WIDTH), local, mask)
    print(f"{device_name(torch.device(chosen.device))}: {chosen.images:,} images × {chosen.texts} texts, "
          f"tiles of {chosen.tile[0]} × {chosen.tile[1]}")  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        images = store(Path(place) / "features", chosen.images, "float16")
        size = images.local.nbytes / 2**20
        for name in chosen.methods or METHODS.names():
            method = seeded_method(name, {}, WIDTH, TEXT_WIDTH, 0).eval()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            start = clock()
            score(method, images, text, tuple(chosen.tile), shards=Path(place) / name, device=chosen.device)
            took = clock() - start
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            rate = chosen.images / took
            whole = f", all {ALL:,} in {ALL / rate:,.0f} s (extrapolated)" if chosen.images < ALL else ""
            print(f"{name:<8} {rate:9,.0f} images/s, {rate * chosen.texts:12,.0f} pairs/s{whole}, "
                  f"peak +{grown:,.0f} MiB over {size:,.0f} MiB of features")  # fmt: skip
            if name == "carzero":
                assert isinstance(method, CARZero)
                first, few = (images.get(np.arange(n)).to(chosen.device) for n in (1, chosen.loop_images))
                own = text.to(chosen.device)
                with torch.no_grad():
                    per_image_loop(method, first, own)  # whose first image alone would take as long as ten
                    start = clock()
                    per_image_loop(method, few, own)
                loop = chosen.loop_images / (clock() - start)
                print(
                    f"{'':<8} {loop:9,.1f} images/s by the released per-image loop: {rate / loop:.1f} times"
                )


if __name__ == "__main__":
    main()
