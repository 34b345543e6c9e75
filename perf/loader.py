"""Does the feature cache feed the training step? Images per second of reading against those of stepping.

    python perf/loader.py [--images 4000] [--batch-size 64] [--device cpu|cuda] [--method clip]

A store of the embedded default's shape (64 tokens × 112 channels, half and single precision, on disk) is
read in random batches, with and without the reading thread, and one method is stepped on it. On a CPU the
rates of reading and stepping are per CPU second of one thread; whole epochs are timed by the clock.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmark.core.settings import train_config
from benchmark.training.data import Batch, epoch_batches
from benchmark.training.loop import seeded_method, train
from benchmark.training.provenance import device_name
from benchmark.training.step import Step
from perf.shared import TEXT_WIDTH, WIDTH, clock_of, device_parser, examples, noise_store


def rate(work: Callable[[], int], clock: Callable[[], float]) -> float:
    work()
    start = clock()
    count = work()
    return count / (clock() - start)


def main() -> None:
    parser = device_parser(__doc__)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--method", default="clip")
    chosen = parser.parse_args()
    device, clock = torch.device(chosen.device), clock_of(chosen.device)
    print(f"{device_name(device)}, {chosen.method}, {chosen.images:,} images, batches of {chosen.batch_size}")
    with tempfile.TemporaryDirectory() as place:
        for precision in ("float16", "float32"):
            data = examples(noise_store(Path(place) / precision, chosen.images, precision))
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
