"""CheXpert: train.csv with mined labels, valid.csv and test_labels.csv with true ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmark.data.cards import Card
from benchmark.twins.case import TwinImage, TwinStudy
from benchmark.twins.writers import Ids
from benchmark.twins.writers.common import (
    Convention,
    base_seed,
    blank_or_float,
    grey8,
    part,
    share,
    shuffled,
    study_rng,
    view_name,
    write_csv,
    write_jpeg,
)

RELEASE = "CheXpert-v1.0-small"
HEADER = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")
SHARES = {"train": 0.15, "valid": 0.1, "test": 0.75}
"""The twin is there to be evaluated: most patients are test."""
UNKNOWN_SEX, NO_AGE = 0.002, 0.003


def _part(study: TwinStudy) -> str:
    return part(share(0, "chexpert split", study.patient.number), SHARES)


class Places:
    """Paths below the release folder; studies are counted within a patient, views within a study."""

    def __init__(self) -> None:
        self.studies: dict[int, list[int]] = {}

    def path(self, part_name: str, study: TwinStudy, order: int) -> str:
        known = self.studies.setdefault(study.patient.number, [])
        if study.number not in known:
            known.append(study.number)
        visit = known.index(study.number) + 1
        view = f"view{order}_{view_name(study.images[order - 1])}.jpg"
        return f"{part_name}/patient{study.patient.number + 1:05d}/study{visit}/{view}"


def write(root: Path, studies: Iterable[TwinStudy], card: Card, rng: np.random.Generator) -> Ids:
    base, convention = base_seed(rng), Convention(card)
    places, ids = Places(), Ids()
    tables: dict[str, list[list[str]]] = {name: [] for name in SHARES}
    for study in studies:
        local = study_rng(base, study, "chexpert")
        name = _part(study)
        states = convention.mined(study, local) if name == "train" else dict(convention.drawn(study))
        details = details_of(study, local)
        values = [blank_or_float(states[c]) for c in card.classes]
        for order, image in enumerate(study.images, 1):
            inside = ids[image.number] = places.path(name, study, order)
            # test images were released later and lie outside the release folder
            place = root / ("CheXpert" if name == "test" else RELEASE) / inside
            write_jpeg(place, grey8(image.pixels))
            shown = inside if name == "test" else f"{RELEASE}/{inside}"
            middle = [] if name == "test" else [*details, *view_of(image)]
            tables[name].append([shown, *middle, *values])
    header = (*HEADER, *card.classes)
    for name, file in (("train", "train.csv"), ("valid", "valid.csv")):
        if tables[name]:
            write_csv(root / RELEASE / file, header, shuffled(tables[name], base, name))
    if tables["test"]:
        rows = shuffled(tables["test"], base, "test")
        write_csv(root / "CheXpert" / "test_labels.csv", ("Path", *card.classes), rows)
    return ids


def details_of(study: TwinStudy, rng: np.random.Generator) -> list[str]:
    chance = rng.random(2)
    sex = "Unknown" if chance[0] < UNKNOWN_SEX else {"F": "Female", "M": "Male"}[study.patient.sex]
    return [sex, "0" if chance[1] < NO_AGE else str(study.patient.age)]


def view_of(image: TwinImage) -> list[str]:
    return ["Lateral", ""] if image.view == "L" else ["Frontal", image.view]
