"""What one size of `perf/scale.py` takes: features of that size on disk, and a process that scores or trains.

The seconds are processor time of one thread, the least of some repetitions in one process, which is a fork of
one where every library is loaded: the start is no part of them. The processes of all sizes take turns. Memory
is the peak resident size of the first run (VmHWM, which Linux counts anew where it is asked to): what the
process holds for itself, and the pages of mapped files, of libraries and of features, that it has touched.

Two costs are the system's and follow no size, so that they are kept out of the seconds. Memory that a process
takes from the system costs up to thirty times more where it was given back seconds ago than where it was just
now (a virtual machine hands free memory to its host): runs that are timed keep theirs, and `price_of_memory`
measures it. And how the page cache holds a file depends on how it was written (`shared.noise_store`).
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.core.features import TextFeatures
from benchmark.core.settings import train_config
from benchmark.encoders.store import FeatureStore, TextStore
from benchmark.evaluation.scoring import SHARD, score
from benchmark.training import loop
from benchmark.training.data import TrainingData, training_data
from methods.base import Method
from perf.shared import BLOCK, count_anew, noise_store, status

Size = dict[str, int]
"""N images, T texts (of a batch, in training), P patch tokens, D channels of everything, S seeds."""
Found = dict[str, float]
WORDS = 12
HELD_OUT, SENTENCES = 4, 2
"""One held-out image for so many training images, and how many sentences the held-out ones share."""
ROUNDS, LEAST = 7, 0.3
"""Turns that are timed, and the seconds that each lasts, by repetition."""
TAKEN, GIB = 3, 2**30
TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Parameters of mallopt, as glibc's malloc.h numbers them."""
SMALLEST: Size = {"N": 8, "T": 2, "P": 1, "D": 64, "S": 1}


def texts(count: int, width: int) -> TextFeatures:
    torch.manual_seed(0)
    mask = torch.ones(count, WORDS, dtype=torch.bool)
    return TextFeatures(torch.randn(count, width), torch.randn(count, WORDS, width), mask)


def training_set(images: FeatureStore, train: int) -> TrainingData:
    """The first `train` images with a text each, and the others, which they are validated by."""
    held = len(images) - train
    names = [f"text {n}" for n in range(BLOCK)]
    own = [[names[n % BLOCK]] for n in range(train)] + [[names[n % SENTENCES]] for n in range(held)]
    text = TextStore.of(names, texts(BLOCK, images.width))
    split = ["train"] * train + ["val"] * held
    return training_data(images, own, text, [str(n) for n in range(len(images))], split=split)


def made(name: str, width: int, seed: int = 0) -> Method:
    return loop.seeded_method(name, {"width": width, "project": "always"}, width, width, seed)


class Scoring:
    """Scores are kept on disk the first time only: how long the system takes to write them is its own. Shards
    are of whole tiles, as they are by default."""

    def __init__(self, name: str, size: Size, place: Path) -> None:
        self.size, self.place = size, place
        self.method = made(name, size["D"])
        self.text = texts(size["T"], size["D"])

    def first(self) -> Found:
        count_anew()
        self.run(self.place / "made")
        return {"memory": status(), "made": disk(self.place / "made")}

    def run(self, shards: Path | None = None) -> None:
        images = FeatureStore.open(self.place / "features")
        score(self.method, images, self.text, shards=shards, shard=min(SHARD, max(64, self.size["N"] // 2)))


class Training:
    """The loop counts memory anew once it has standardised its inputs: the two parts of a training."""

    def __init__(self, name: str, size: Size, place: Path) -> None:
        self.name, self.size, self.place = name, size, place
        options = {"epochs": 1, "batch_size": size["T"], "duplicates": "keep", "device": "cpu", "threads": 1}
        self.config = train_config(options)
        self.data = training_set(FeatureStore.open(place / "features"), size["N"])
        self.standardising = 0
        vars(loop)["reset_peak_memory"] = lambda device: self.reset()

    def reset(self) -> None:
        self.standardising = status()
        count_anew()

    def first(self) -> Found:
        """memory: of the first seed, and of its two parts. numbers: how many the method saves."""
        folder = self.place / "made"
        count_anew()
        self.seed(folder / "0", 0)
        parts = {"standardising": self.standardising, "steps": status()}
        for seed in range(1, self.size["S"]):
            self.seed(folder / f"{seed}", seed)
        files = folder.rglob("model.safetensors")
        numbers = sum(tensor.numel() for tensor in made(self.name, self.size["D"]).state_dict().values())
        bytes_ = sum(file.stat().st_size for file in files)
        found = {**parts, "memory": max(parts.values()), "made": bytes_}
        return {**found, "numbers": self.size["S"] * numbers}

    def run(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for seed in range(self.size["S"]):
                self.seed(Path(folder) / f"{seed}", seed)

    def seed(self, folder: Path, seed: int) -> None:
        loop.train(made(self.name, self.size["D"], seed), self.data, self.config, folder, seed)


WORK: dict[str, type[Scoring] | type[Training]] = {"scoring": Scoring, "training": Training}


def disk(folder: Path) -> int:
    """Bytes that the files of a folder hold."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def begin(methods: list[str]) -> float:
    """Load all that loads on first use; processor seconds of this process until then."""
    torch.set_num_threads(1)
    for work in WORK:
        for name in methods:
            with tempfile.TemporaryDirectory() as place:
                write_features(work, SMALLEST, Path(place))
                WORK[work](name, SMALLEST, Path(place)).first()
    return time.process_time()


def measured(work: str, name: str, sizes: Sequence[Size]) -> list[Found]:
    """seconds; in bytes: memory, in a training that of each part, features, and what was made on disk."""
    with contextlib.ExitStack() as stack:
        workers = [Worker(work, name, size, stack) for size in sizes]
        for _ in range(1 + ROUNDS):  # in turn, so that other work on the machine meets every size alike
            for worker in workers:
                worker.turn()
        return [worker.found() for worker in workers]


class Worker:
    """A process that does the work of one size each time that it is its turn."""

    def __init__(self, work: str, name: str, size: Size, stack: contextlib.ExitStack) -> None:
        self.what = f"{work} {name} {size}"
        self.features = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        context = multiprocessing.get_context("fork")  # the parent has no threads
        writer = context.Process(target=write_features, args=(work, size, self.features))
        writer.start()
        writer.join()
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work, name, size, self.features))
        self.process.daemon = True
        self.process.start()
        theirs.close()
        stack.callback(self.process.kill)
        self.seconds: list[float] = []
        self.first: Found = {}

    def turn(self) -> None:
        self.pipe.send("go")
        try:
            seconds, first = self.pipe.recv()
        except EOFError:
            raise SystemExit(f"the process of {self.what} ended with {self.process.exitcode}") from None
        if self.first:
            self.seconds.append(seconds)
        self.first |= first

    def found(self) -> Found:
        files = (self.features / "features").glob("*.npy")
        found = {**self.first, "seconds": min(self.seconds)}
        found["features"] = sum(path.stat().st_size for path in files)
        print(f"{self.what}: { {k: round(float(v), 3) for k, v in found.items()} }", file=sys.stderr)
        return found


def write_features(work: str, size: Size, place: Path) -> None:
    held = size["N"] // HELD_OUT if work == "training" else 0
    noise_store(place / "features", size["N"] + held, tokens=size["P"], width=size["D"])


def _serve(pipe: Any, work: str, name: str, size: Size, place: Path) -> None:
    """Answer each turn with its processor seconds, and the first, which is not timed, with what it made."""
    own = WORK[work](name, size, place)
    pipe.recv()
    pipe.send((0.0, own.first()))
    keep_memory()
    while pipe.recv():
        took: list[float] = []
        while sum(took) < LEAST:
            start = time.process_time()
            own.run()
            took.append(time.process_time() - start)
        pipe.send((min(took), {}))


def keep_memory() -> None:
    """From here on this process keeps what it frees, large blocks too (mallopt of glibc)."""
    library = ctypes.CDLL(None)
    assert library.mallopt(MMAP_MAX, 0) == library.mallopt(TRIM_THRESHOLD, -1) == 1


def price_of_memory(rest: float) -> float:
    """Seconds of a GiB that is taken from the system `rest` seconds after it was given back."""
    took = []
    for _ in range(1 + TAKEN):
        start = time.process_time()
        np.empty(GIB // 4, np.uint8).fill(1)
        took.append(4 * (time.process_time() - start))
        time.sleep(rest)
    return min(took[1:])
