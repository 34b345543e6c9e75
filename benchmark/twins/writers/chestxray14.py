"""ChestX-ray14: Data_Entry, boxes, NIH's lists, the CheXNet list, 8-bit PNG in twelve folders.

Labels are mined from the report, uncertain mentions count as absent, and a few labels are wrong. The two
test lists are both called `test_list.txt`: NIH's lies at the root, the other one in `CheXNet/`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmark.core.files import write_text
from benchmark.data.cards import Card
from benchmark.twins.case import TwinImage, TwinStudy
from benchmark.twins.writers import Ids
from benchmark.twins.writers.common import (
    Convention,
    base_seed,
    grey8,
    share,
    shuffled,
    study_rng,
    write_png,
)

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
BOXED = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
)
BOX_NAMES = {"Infiltration": "Infiltrate"}
FOLDERS, RGBA, WITH_BOXES, OLD_LABELS = 12, 0.02, 0.3, 0.002
CHEXNET_TEST, NIH_TEST = (0.0, 0.6), (0.2, 0.7)
"""Shares of patients; the lists overlap, and 30 percent are left for training."""
BOX_SPACE = 1024


def write(root: Path, studies: Iterable[TwinStudy], card: Card, rng: np.random.Generator) -> Ids:
    """Laterals are left out: the set has none."""
    base, convention = base_seed(rng), Convention(card)
    ids: Ids = {}
    follow_up: Counter[int] = Counter()
    entries: list[tuple[str, ...]] = []
    listed: list[str] = []
    nih: dict[str, list[str]] = {"test": [], "train_val": []}
    boxes: list[tuple[str, ...]] = []
    for study in studies:
        local = study_rng(base, study, "chestxray14")
        patient = study.patient.number + 1
        place = share(base, "list", patient)
        states = convention.mined(study, local)
        labels = {c for c in card.classes if states[c] == 1}
        for image in study.images:
            if image.view == "L":
                continue
            name = ids[image.number] = f"{patient:08d}_{follow_up[patient]:03d}.png"
            follow_up[patient] += 1
            folder = f"images_{1 + patient % FOLDERS:03d}"
            chance = local.random(3)
            write_png(root / folder / "images" / name, grey8(image.pixels), rgba=bool(chance[0] < RGBA))
            entries.append(_entry(study, image, name, labels, card, local))
            if CHEXNET_TEST[0] <= place < CHEXNET_TEST[1]:
                old = sorted(labels)[1:] if chance[1] < OLD_LABELS and len(labels) > 1 else labels
                listed.append(f"{folder}/{name} " + " ".join("01"[c in old] for c in card.classes))
            nih["test" if NIH_TEST[0] <= place < NIH_TEST[1] else "train_val"].append(name)
            if chance[2] < WITH_BOXES:
                boxes += _boxes(image, name, labels, convention)
    rows = [",".join(e) for e in entries]
    write_text(root / "Data_Entry_2017_v2020.csv", "\n".join([HEADER, *rows]) + "\n")
    write_text(root / "BBox_List_2017.csv", "\n".join([BOX_HEADER, *map(",".join, boxes)]) + "\n")
    for kind, names in nih.items():
        write_text(root / f"{kind}_list.txt", "".join(f"{n}\n" for n in names))
    if listed:
        text = "\n".join(shuffled(listed, base, "chexnet list")) + "\n"
        write_text(root / "CheXNet" / "test_list.txt", text)
    return ids


def _entry(
    study: TwinStudy, image: TwinImage, name: str, labels: set[str], card: Card, rng: np.random.Generator
) -> tuple[str, ...]:
    height, width = image.pixels.shape
    scale = rng.uniform(9, 12)
    return (
        name,
        "|".join(sorted(labels)) or "No Finding",
        str(int(name[9:12])),
        str(int(name[:8])),
        str(study.patient.age + study.days // 365),
        study.patient.sex,
        image.view,
        str(int(width * scale)),
        str(int(height * scale)),
        "0.14300000000000002",
        "0.14300000000000002",
    )


def _boxes(image: TwinImage, name: str, labels: set[str], convention: Convention) -> list[tuple[str, ...]]:
    """Boxes of labelled findings, in 1,024-pixel space."""
    height, width = image.pixels.shape
    out = []
    for region in image.regions:
        for label in BOXED:
            if label in labels and region.concept in convention.covered[label]:
                x, y, w, h = region.box
                values = (x / width, y / height, w / width, h / height)
                scaled = tuple(repr(round(float(v) * BOX_SPACE, 12)) for v in values)
                out.append((name, BOX_NAMES.get(label, label), *scaled))
    return out
