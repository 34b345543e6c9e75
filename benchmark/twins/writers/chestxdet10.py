"""ChestX-Det10: two JSON lists with corner boxes in 1,024-pixel space, 8-bit PNG under plain numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.core.files import write_text
from benchmark.data.cards import Card
from benchmark.twins.case import TwinStudy
from benchmark.twins.writers import Ids
from benchmark.twins.writers.boxed import NIH_SIDE, class_regions, scaled, shown
from benchmark.twins.writers.common import (
    Convention,
    base_seed,
    grey8,
    share,
    shuffled,
    spread,
    write_png,
)

TRAIN = 0.15
"""The official training part is 5.5 times the test part; nothing trains on it here."""


def write(root: Path, studies: Iterable[TwinStudy], card: Card, rng: np.random.Generator) -> Ids:
    """Laterals are left out: the set has none."""
    base, convention = base_seed(rng), Convention(card)
    ids: Ids = {}
    entries: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for study in studies:
        labels = convention.drawn(study)
        part = "train" if share(base, "split", study.patient.number) < TRAIN else "test"
        for image in study.images:
            if image.view == "L":
                continue
            name = ids[image.number] = f"{10000 + spread(image.number, 10**5)}.png"
            write_png(root / f"{part}_data" / name, grey8(image.pixels))
            syms, boxes = [], []
            for label, region in class_regions(image, shown(image, labels, convention), convention):
                x, y, w, h = scaled(region, image)
                syms.append(label)
                boxes.append([int(v) for v in (x, y, min(x + w, NIH_SIDE - 1), min(y + h, NIH_SIDE - 1))])
            entries[part].append({"file_name": name, "syms": syms, "boxes": boxes})
    for part, rows in entries.items():
        write_text(root / f"{part}.json", json.dumps(shuffled(rows, base, part)))
    return ids
