"""PadChest-GR: one JSON of studies with sentences and boxes, a master table, 16-bit PNG in one folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.core.files import write_text
from benchmark.data.cards import Card
from benchmark.twins.case import Sentence, TwinImage, TwinStudy
from benchmark.twins.writers import Ids
from benchmark.twins.writers.common import (
    base_seed,
    grey16,
    part,
    share,
    shuffled,
    study_rng,
    write_csv,
    write_png,
)
from benchmark.twins.writers.padchest_place import place

SPLITS = {"train": 0.2, "validation": 0.1, "test": 0.7}
"""Most of the official set is for training; nothing trains on it here."""
TABLE = ("StudyID", "ImageID", "PatientID", "PatientAge", "PatientSex_DICOM", "label", "label_group", "split")
SECOND_READER = 0.25
"""Share of boxed sentences that a second reader boxed too."""


def write(root: Path, studies: Iterable[TwinStudy], card: Card, rng: np.random.Generator) -> Ids:
    """A sentence of the report that states one drawn finding has its regions; one that denies a finding, or
    states several, has none."""
    base = base_seed(rng)
    ids: Ids = {}
    entries: list[dict[str, Any]] = []
    rows: list[tuple[Any, ...]] = []
    for study in studies:
        split = part(share(base, "split", study.patient.number), SPLITS)
        local = study_rng(base, study, "padchest_gr")
        for image in study.images:
            if image.view == "L":
                continue
            name, visit, patient = place("padchest_gr", study, image)
            ids[image.number] = name
            write_png(root / "PadChest_GR" / name, grey16(image.pixels, 65_535))
            findings = [_finding(s, image, local) for s in study.sentences if s.findings]
            entries.append(
                {"StudyID": visit, "ImageID": name, "PreviousStudyID": None, "PreviousImageID": None,
                 "findings": findings}
            )  # fmt: skip
            labels = sorted({label for f in findings for label in f.get("labels", ())}) or ["Normal"]
            about = (visit, name, patient, study.patient.age, study.patient.sex)
            rows += [(*about, label, "", split) for label in labels]
    write_text(root / "grounded_reports_20240819.json", json.dumps(shuffled(entries, base, "reports")))
    write_csv(root / "master_table.csv", TABLE, shuffled(rows, base, "table"))
    return ids


def _finding(sentence: Sentence, image: TwinImage, rng: np.random.Generator) -> dict[str, Any]:
    stated = [f for f in sentence.findings if f.presence == "present"]
    if not stated:
        return {"sentence_en": sentence.text, "sentence_es": "", "abnormal": False}
    height, width = image.pixels.shape
    concepts = {f.concept for f in stated}
    boxes = []
    for region in image.regions if len(concepts) == 1 else ():
        if region.concept in concepts:
            x, y, w, h = region.box
            corners = (x / width, y / height, min((x + w) / width, 1.0), min((y + h) / height, 1.0))
            boxes.append([round(float(v), 6) for v in corners])
    boxes = [b for b in boxes if b[0] < b[2] and b[1] < b[3]]
    again = [list(b) for b in boxes] if boxes and rng.random() < SECOND_READER else []
    places = sorted({f"loc {f.location}" for f in stated if f.location})
    return {
        "sentence_en": sentence.text,
        "sentence_es": "",
        "abnormal": True,
        "boxes": boxes,
        "extra_boxes": again,
        "labels": sorted(concepts),
        "locations": places,
        "progression": None,
    }
