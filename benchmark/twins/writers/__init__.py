"""Writers: one module a dataset, `write(root, studies, card, rng) -> {image number: image id}`.

A writer holds one study's pixels at a time, lays down the official tree with its headers and oddities, and
writes nothing that an official file would not carry. The ids that it returns are those of the manifest, for
the table of the truth beside the tree; an image that it passes over has none. `rng` is drawn from once, and
all else follows from the study. Numbers of patients, studies and images count from 0 over the whole twin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from benchmark.data.cards import Card
from benchmark.twins.case import TwinStudy

Ids = dict[int, str]
Writer = Callable[[Path, Iterable[TwinStudy], Card, np.random.Generator], Ids]
