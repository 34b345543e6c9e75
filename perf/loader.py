"""Does the feature cache feed the training step? Images per second of reading against those of stepping.

    python perf/loader.py [--images 4000] [--batch-size 64] [--device cpu|cuda] [--method clip]

A store of the embedded default's shape (64 tokens × 112 channels, half and single precision, on disk) is
read in random batches, with and without the reading thread, and one method is stepped on it. On a CPU the
rates of reading and stepping are per CPU second of one thread; whole epochs are timed by the clock.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.core.features import TextFeatures
from benchmark.core.files import write_json
from benchmark.core.settings import train_config
from benchmark.encoders.store import FeatureStore, TextStore
from benchmark.training.data import Batch, TrainingData, epoch_batches, training_data
from benchmark.training.loop import seeded_method, train
from benchmark.training.provenance import device_name
from benchmark.training.step import Step

TOKENS, WIDTH, TEXT_WIDTH, TEXTS = 64, 112, 384, 500


def store(folder: Path, images: int, precision: str) -> FeatureStore:
    """A store on disk, filled with noise."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    np.save(folder / "pooled.npy", rng.standard_normal((images, WIDTH), dtype=np.float32))
    local = np.lib.format.open_memmap(
        folder / "local.npy", mode="w+", dtype=np.dtype(precision), shape=(images, TOKENS, WIDTH)
    )
    for first in range(0, images, 500):
        block = local[first : first + 500]
        block[:] = rng.standard_normal(block.shape, dtype=np.float32)
    local.flush()
    write_json(folder / "store.json", {"kind": "image", "key": f"noise {precision}", "grid": [8, 8]})
    return FeatureStore.open(folder)


def examples(images: FeatureStore) -> TrainingData:
    torch.manual_seed(0)
    texts = [f"text {n}" for n in range(TEXTS)]
    mask = torch.arange(16)[None] < torch.randint(4, 17, (TEXTS, 1))
    local = torch.randn(TEXTS, 16, TEXT_WIDTH) * mask[..., None]
    text = TextStore.of(texts, TextFeatures(torch.randn(TEXTS, TEXT_WIDTH), local, mask))
    sentences = [[f"text {(n + k) % TEXTS}" for k in range(3)] for n in range(len(images))]
    return training_data(images, sentences, text, [str(n) for n in range(len(images))])


def rate(work: Callable[[], int], clock: Callable[[], float]) -> float:
    work()
    start = clock()
    count = work()
    return count / (clock() - start)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--method", default="clip")
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    clock = time.perf_counter
    if chosen.device == "cpu":
        torch.set_num_threads(1)
        clock = time.process_time
    print(f"{device_name(device)}, {chosen.method}, {chosen.images:,} images, batches of {chosen.batch_size}")
    with tempfile.TemporaryDirectory() as place:
        for precision in ("float16", "float32"):
            data = examples(store(Path(place) / precision, chosen.images, precision))
            config = train_config({"batch_size": chosen.batch_size, "epochs": 1, "device": chosen.device})
            batches = epoch_batches(data, 0, 0, chosen.batch_size, "one")
            method = seeded_method(chosen.method, {}, WIDTH, TEXT_WIDTH, 0).to(device)
            step = Step(method, data, config, device)
            loaded = [step.load(batch) for batch in batches[:4]]

            def read(step: Step = step, batches: list[Batch] = batches) -> int:
                for batch in batches:
                    step.load(batch)
                return sum(len(batch.examples) for batch in batches)

            def compute(step: Step = step, batches: list[Batch] = batches, loaded: list[Any] = loaded) -> int:
                for batch, features in zip(batches, loaded, strict=False):
                    step.backward(batch, features).total.item()
                return sum(len(batch.examples) for batch in batches[: len(loaded)])

            reading, stepping = rate(read, clock), rate(compute, clock)
            print(f"{precision}: reading {reading:9,.0f} images/s, stepping {stepping:9,.0f} images/s, "
                  f"ratio {reading / stepping:.1f}")  # fmt: skip
            for prefetch in (False, True):
                changed = config.model_copy(update={"prefetch": prefetch})
                folder = Path(place) / f"{precision}-{prefetch}"
                fresh = seeded_method(chosen.method, {}, WIDTH, TEXT_WIDTH, 0)
                seconds = train(fresh, data, changed, folder, 0).seconds
                print(f"  epoch with{'' if prefetch else 'out'} the reading thread: "
                      f"{len(data.train) / seconds:9,.0f} images/s, validation included")  # fmt: skip


if __name__ == "__main__":
    main()
