"""CXR-LT 2026: label tables of two tasks on PadChest and NIH names; training labels come from reports."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.cards import Card
from benchmark.twins.case import TwinImage, TwinStudy
from benchmark.twins.writers import Ids
from benchmark.twins.writers.common import (
    Convention,
    base_seed,
    grey8,
    grey16,
    part,
    share,
    shuffled,
    study_rng,
    write_csv,
    write_png,
)
from benchmark.twins.writers.padchest_place import place

PARTS = {"training": 0.1, "DEV": 0.2, "TEST": 0.7}
"""The official training part is nearly all of the set; methods train on the MIMIC-CXR twin here."""
NIH = 0.25
"""Share of patients whose images have NIH's names and 8 bits."""


def write(root: Path, studies: Iterable[TwinStudy], card: Card, rng: np.random.Generator) -> Ids:
    base, convention = base_seed(rng), Convention(card)
    ids: Ids = {}
    rows: dict[str, list[tuple[str, dict[str, int]]]] = {name: [] for name in PARTS}
    for study in studies:
        name = part(share(base, "part", study.patient.number), PARTS)
        drawn = convention.drawn(study)
        if name != "training" and not any(v for k, v in drawn.items() if k not in card.pseudo):
            continue  # every evaluation image of the challenge shows one of the findings
        if name == "training":
            mined = convention.mined(study, study_rng(base, study, "cxr_lt_2026"))
            drawn = {k: int(v == 1) for k, v in mined.items()}
        nih = share(base, "center", study.patient.number) < NIH
        for image in study.images:
            if image.view == "L":
                continue
            ids[image.number] = own = _name(study, image, nih)
            pixels = grey8(image.pixels) if nih else grey16(image.pixels, 65_535)
            write_png(root / "images" / own, pixels)
            rows[name].append((own, drawn))
    known, unseen = card.subsets["known"], card.subsets["unseen"]
    _table(root / "CXRLT_2026_training.csv", rows["training"], known, base)
    for name in ("DEV", "TEST"):
        for task, classes in (("TASK1", known), ("TASK2", unseen)):
            _table(root / f"CXRLT_2026_{name}_ALL_{task}.csv", rows[name], classes, base)
    return ids


def _name(study: TwinStudy, image: TwinImage, nih: bool) -> str:
    if nih:
        return f"{900_000 + study.patient.number:08d}_{image.number % 1000:03d}.png"
    return place("cxr_lt_2026", study, image)[0]


def _table(path: Path, rows: list[tuple[str, dict[str, Any]]], classes: tuple[str, ...], base: int) -> None:
    """Nothing where a small twin has no image of the part."""
    body = [(name, *(labels[c] for c in classes)) for name, labels in rows]
    if body:
        write_csv(path, ("ImageID", *classes), shuffled(body, base, path.name))
