"""What the scripts of this folder share: their clocks, peaks of memory, and features of noise."""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.core.features import ImageFeatures, TextFeatures
from benchmark.core.files import write_json
from benchmark.encoders.store import FeatureStore, TextStore
from benchmark.training.data import TrainingData, training_data
from methods.carzero import CARZero
from perf.options import described

TOKENS, WIDTH, TEXT_WIDTH = 64, 112, 384
"""Of the embedded encoders: patch tokens of an image and channels of both; texts have up to `WORDS` words."""
WORDS, TEXTS, BLOCK = 16, 500, 512
OFFICIAL_WIDTH, GRID, COLUMNS = 768, (14, 14), 97
"""Of CARZero as it was released: channels, patches and columns of a text."""
STATUS, CLEAR, ANEW = Path("/proc/self/status"), Path("/proc/self/clear_refs"), "5"


def device_parser(doc: str | None) -> argparse.ArgumentParser:
    """Options with --device, by default the GPU where there is one."""
    found = described(doc)
    found.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return found


def clock_of(device: torch.device | str) -> Callable[[], float]:
    """Seconds that other work on the machine does not count in: of the processor, on one thread; of a GPU by
    the clock, once what it was given is done."""
    if torch.device(device).type == "cpu":
        torch.set_num_threads(1)
        return time.process_time

    def now() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return now


def timed(work: Callable[[], Any], device: torch.device | str = "cpu") -> tuple[Any, float, float]:
    """What came of it, and the seconds it took: by the clock, and of the processor for this process."""
    wait = torch.cuda.synchronize if torch.device(device).type == "cuda" else lambda: None
    wait()
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    wait()
    return found, time.perf_counter() - wall, time.process_time() - cpu


def status(field: str = "VmHWM") -> int:
    """Bytes that this process holds (VmRSS), or held at most since `count_anew` (VmHWM). Linux."""
    [line] = [x for x in STATUS.read_text(encoding="ascii").splitlines() if x.startswith(f"{field}:")]
    return int(line.split()[1]) * 1024


def count_anew() -> None:
    """Count the peak of this process from what it holds now."""
    CLEAR.write_text(ANEW, encoding="ascii")


def official_noise(
    images: int, words: torch.Tensor, device: torch.device | str, grid: tuple[int, ...] = GRID
) -> tuple[ImageFeatures, TextFeatures]:
    """Noise of CARZero's official shapes. words: (T,) real columns of each text; the others are zero."""
    patches = torch.randn(images, math.prod(grid), OFFICIAL_WIDTH)
    image = ImageFeatures(torch.randn(images, OFFICIAL_WIDTH), patches, grid)
    mask = torch.arange(COLUMNS) < words[:, None]
    local = torch.randn(len(words), COLUMNS, OFFICIAL_WIDTH) * mask[..., None]
    text = TextFeatures(torch.randn(len(words), OFFICIAL_WIDTH), local, mask)
    return image.to(device), text.to(device)


def official_carzero(**changes: Any) -> CARZero:
    torch.manual_seed(0)
    return CARZero(CARZero.Config(**CARZero.settings("official") | changes), OFFICIAL_WIDTH, OFFICIAL_WIDTH)


def noise_texts(count: int, shortest: int = 4, longest: int = WORDS) -> TextFeatures:
    """Noise of the embedded text encoder's shape, of texts of so many words."""
    torch.manual_seed(0)
    mask = torch.arange(WORDS)[None] < torch.randint(shortest, longest + 1, (count, 1))
    local = torch.randn(count, WORDS, TEXT_WIDTH) * mask[..., None]
    return TextFeatures(torch.randn(count, TEXT_WIDTH), local, mask)


def noise_store(
    folder: Path, images: int, precision: str = "float16", tokens: int = TOKENS, width: int = WIDTH
) -> FeatureStore:
    """Features on disk: one block of noise, again and again. The files are written, not mapped: what was
    written through a mapping may lie in the page cache in pages of 4 KiB, which cost a reader three times as
    much."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, kind, shape in (("pooled", "float32", (width,)), ("local", precision, (tokens, width))):
        block = rng.standard_normal((min(BLOCK, images), *shape), dtype=np.float32).astype(kind)
        head = {"descr": block.dtype.str, "fortran_order": False, "shape": (images, *shape)}
        with open(folder / f"{name}.npy", "wb") as file:
            np.lib.format.write_array_header_1_0(file, head)
            for first in range(0, images, len(block)):
                file.write(block[: images - first].data)
            os.fsync(file.fileno())
    write_json(
        folder / "store.json", {"kind": "image", "key": f"noise {images} {precision}", "grid": [1, tokens]}
    )
    return FeatureStore.open(folder)


def examples(images: FeatureStore) -> TrainingData:
    """A training set of these images with three sentences each, out of `TEXTS`."""
    texts = [f"text {n}" for n in range(TEXTS)]
    text = TextStore.of(texts, noise_texts(TEXTS))
    sentences = [[f"text {(n + k) % TEXTS}" for k in range(3)] for n in range(len(images))]
    return training_data(images, sentences, text, [str(n) for n in range(len(images))])
