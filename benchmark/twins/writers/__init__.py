"""Writers: one per official layout. `write(root, studies, card, rng) -> None` streams studies to disk.

A writer holds one study's pixels at a time, lays down the official tree with its headers and oddities, and
writes nothing that an official file would not carry. Studies of one patient may come in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from benchmark.core.registry import Registry
from benchmark.data.cards import Card
from benchmark.twins.case import TwinStudy

Writer = Callable[[Path, Iterable[TwinStudy], Card, np.random.Generator], None]

WRITERS: Registry[Writer] = Registry(
    "writer",
    {
        "chestxdet10": "benchmark.twins.writers.chestxdet10:write",
        "chestxray14": "benchmark.twins.writers.chestxray14:write",
        "chexpert": "benchmark.twins.writers.chexpert:write",
        "chexpert5x200": "benchmark.twins.writers.chexpert:write_5x200",
        "cxr_lt": "benchmark.twins.writers.cxr_lt:write",
        "mimic_cxr": "benchmark.twins.writers.mimic_cxr:write",
        "ms_cxr": "benchmark.twins.writers.ms_cxr:write",
        "openi": "benchmark.twins.writers.openi:write",
        "padchest": "benchmark.twins.writers.padchest:write",
        "rsna": "benchmark.twins.writers.rsna:write",
        "siim": "benchmark.twins.writers.siim:write",
        "vindr_cxr": "benchmark.twins.writers.vindr_cxr:write",
    },
    hint="Writers are named after the dataset's reader.",
)
