"""CXR-LT 2024: label tables of three tasks with orders of their own, on the MIMIC-CXR-JPG tree."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.cards import Card
from benchmark.twins.case import TwinStudy
from benchmark.twins.writers import Ids
from benchmark.twins.writers.common import (
    Convention,
    base_seed,
    grey8,
    part,
    share,
    shuffled,
    study_rng,
    write_csv,
    write_jpeg,
)
from benchmark.twins.writers.mimic_place import place

SPLITS = {"train": 0.1, "development": 0.1, "test": 0.8}
"""The official training part is most of the set; methods train on the MIMIC-CXR twin here."""
FOLDER = "cxr-lt-2024"


def write(root: Path, studies: Iterable[TwinStudy], card: Card, rng: np.random.Generator) -> Ids:
    base, convention = base_seed(rng), Convention(card)
    ids: Ids = {}
    rows: dict[str, list[tuple[str, str, str, str, str, dict[str, Any]]]] = {name: [] for name in SPLITS}
    for study in studies:
        split = part(share(base, "split", study.patient.number), SPLITS)
        states = convention.mined(study, study_rng(base, study, "cxr_lt"))
        labels = {name: int(states[name] == 1) for name in card.classes}
        for image in study.images:
            where = place("cxr_lt", study, image)
            ids[image.number] = where.dicom
            write_jpeg(root / "mimic-cxr-jpg" / where.path, grey8(image.pixels))
            view = image.view if image.view != "L" else "LATERAL"
            row = (where.dicom, f"p{where.subject}", f"s{where.study}", where.path, view, labels)
            rows[split].append(row)
    tasks = {f"task{i}": card.subsets[f"task{i}"] for i in (1, 2, 3)}
    _table(root / FOLDER / "train_labeled.csv", rows["train"], tasks["task1"], base)
    for split in ("development", "test"):
        for task, classes in tasks.items():
            _table(root / FOLDER / f"{split}_labeled_{task}.csv", rows[split], classes, base)
    return ids


def _table(
    path: Path,
    rows: list[tuple[str, str, str, str, str, dict[str, Any]]],
    classes: tuple[str, ...],
    base: int,
) -> None:
    header = ("dicom_id", "subject_id", "study_id", "fpath", "ViewPosition", *classes)
    body = [(*row[:5], *(row[5][name] for name in classes)) for row in rows]
    write_csv(path, header, shuffled(body, base, path.name))
