"""PadChest-sized scoring of every method from the feature cache, the official loop beside it.

    python perf/scoring_scale.py [--images 39053] [--texts 192] [--methods clip carzero] [--device cpu|cuda]

A store of the embedded default's shape is streamed in shards; the whole work is N × T pairs. With fewer
images the time for all 39,053 is extrapolated and said to be. CARZero's released per-image loop, which
projects every prompt again for each image, is timed on a few images of the same features and weights.
The first image of the loop, in which torch sets itself up, is not counted. On a CPU the times are CPU
seconds of this process on one thread; on a GPU, seconds of the clock.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmark.evaluation.scoring import score
from benchmark.training.loop import seeded_method
from benchmark.training.provenance import device_name
from methods.base import METHODS
from methods.carzero import CARZero
from methods.carzero_plain import per_image_loop
from perf.shared import (
    TEXT_WIDTH,
    WIDTH,
    clock_of,
    count_anew,
    device_parser,
    noise_store,
    noise_texts,
    status,
)

ALL = 39_053


def main() -> None:
    parser = device_parser(__doc__)
    parser.add_argument("--images", type=int, default=ALL)
    parser.add_argument("--texts", type=int, default=192)
    parser.add_argument("--loop-images", type=int, default=32)
    parser.add_argument("--tile", type=int, nargs=2, default=(64, 64))
    parser.add_argument("--methods", nargs="*", default=None)
    chosen = parser.parse_args()
    clock, text = clock_of(chosen.device), noise_texts(chosen.texts, longest=12)
    print(f"{device_name(torch.device(chosen.device))}: {chosen.images:,} images × {chosen.texts} texts, "
          f"tiles of {chosen.tile[0]} × {chosen.tile[1]}")  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        images = noise_store(Path(place) / "features", chosen.images, "float16")
        size = images.local.nbytes / 2**20
        images.local.view(np.uint8).max()  # its pages belong to no method
        for name in chosen.methods or METHODS.names():
            method = seeded_method(name, {}, WIDTH, TEXT_WIDTH, 0).eval()
            count_anew()
            before = status()
            start = clock()
            score(method, images, text, tuple(chosen.tile), shards=Path(place) / name, device=chosen.device)
            took = clock() - start
            grown = (status() - before) / 2**20
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
