"""RSNA Pneumonia: 8-bit DICOM, one label row per box, detailed classes that repeat per box."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmark.data.cards import Card
from benchmark.twins.case import TwinStudy
from benchmark.twins.writers import Ids
from benchmark.twins.writers.boxed import class_regions, scaled, shown
from benchmark.twins.writers.common import (
    Convention,
    base_seed,
    digest,
    grey8,
    share,
    shuffled,
    study_rng,
    write_csv,
)
from benchmark.twins.writers.dicom import uid, write_dicom

HIDDEN, INVERTED, WRONG_AGE = 0.08, 0.02, 0.002
"""Shares: images of the unlabelled test part, MONOCHROME1 files, impossible ages."""


def write(root: Path, studies: Iterable[TwinStudy], card: Card, rng: np.random.Generator) -> Ids:
    """Laterals are left out. Twins have a few MONOCHROME1 files, so that nobody forgets the tag."""
    base, convention = base_seed(rng), Convention(card)
    ids: Ids = {}
    rows: list[list[tuple[str, ...]]] = []
    details: list[tuple[str, str]] = []
    for study in studies:
        labels = convention.drawn(study)
        local = study_rng(base, study, "rsna")
        healthy = not any(f.presence == "present" for f in study.findings)
        for image in study.images:
            if image.view == "L":
                continue
            name = str(uuid.UUID(digest(base, "rsna", image.number)[:32]))
            hidden = share(base, "hidden", image.number) < HIDDEN
            part = "test" if hidden else "train"
            chance = local.random(2)
            negative = bool(chance[0] < INVERTED)
            stored = grey8(image.pixels)
            age = study.patient.age + (100 if chance[1] < WRONG_AGE else 0)
            write_dicom(
                root / f"stage_2_{part}_images" / f"{name}.dcm",
                255 - stored if negative else stored,
                instance=uid("rsna", name),
                study=uid("rsna study", name),
                series=uid("rsna series", name),
                bits=8,
                photometric="MONOCHROME1" if negative else "MONOCHROME2",
                view=image.view,
                sex=study.patient.sex,
                age=min(age, 155),
                patient=name,
                jpeg=95,
            )
            if hidden:
                continue
            ids[image.number] = name
            found = [r for _, r in class_regions(image, shown(image, labels, convention), convention)]
            boxes = [tuple(f"{v:.1f}" for v in scaled(region, image)) for region in found]
            rows.append([(name, *box, "1") for box in boxes] or [(name, "", "", "", "", "0")])
            detail = "Lung Opacity" if boxes else "Normal" if healthy else "No Lung Opacity / Not Normal"
            details += [(name, detail)] * max(len(boxes), 1)
    header = ("patientId", "x", "y", "width", "height", "Target")
    ordered = [row for group in shuffled(rows, base, "labels") for row in group]
    write_csv(root / "stage_2_train_labels.csv", header, ordered)
    write_csv(root / "stage_2_detailed_class_info.csv", ("patientId", "class"), details)
    return ids
