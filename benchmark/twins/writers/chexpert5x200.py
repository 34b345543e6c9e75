"""CheXpert 5x200: the release tree, and the list of images with exactly one of five classes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmark.data.cards import Card, load_card
from benchmark.twins.case import TwinStudy
from benchmark.twins.writers import Ids
from benchmark.twins.writers.chexpert import HEADER, RELEASE, Places, details_of, view_of
from benchmark.twins.writers.common import (
    Convention,
    base_seed,
    blank_or_float,
    grey8,
    shuffled,
    study_rng,
    write_csv,
    write_jpeg,
)

PER_CLASS = 200


def write(root: Path, studies: Iterable[TwinStudy], card: Card, rng: np.random.Generator) -> Ids:
    """Images of studies with exactly one of the five classes, at most 200 a class; others are passed over."""
    base = base_seed(rng)
    full = load_card("chexpert")
    convention = Convention(full)
    places, ids = Places(), Ids()
    taken = dict.fromkeys(card.classes, 0)
    rows: list[list[str]] = []
    for study in studies:
        local = study_rng(base, study, "chexpert5x200")
        states = convention.mined(study, local)
        positive = [c for c in card.classes if states[c] == 1]
        if len(positive) != 1:
            continue
        details = details_of(study, local)
        for order, image in enumerate(study.images, 1):
            if image.view == "L" or taken[positive[0]] >= PER_CLASS:
                continue
            taken[positive[0]] += 1
            inside = ids[image.number] = places.path("train", study, order)
            write_jpeg(root / RELEASE / inside, grey8(image.pixels))
            values = [blank_or_float(states[c]) for c in full.classes]
            rows.append([f"{RELEASE}/{inside}", *details, *view_of(image), *values])
    header = (*HEADER, *full.classes)
    write_csv(root / "chexpert_5x200.csv", header, shuffled(rows, base, "5x200"))
    return ids
