"""VinDr-CXR: DICOM of 10 to 16 bits with windows, three readers who disagree, a consensus test part."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.cards import Card
from benchmark.twins.case import TwinImage, TwinStudy
from benchmark.twins.writers import Ids
from benchmark.twins.writers.boxed import class_regions, shown
from benchmark.twins.writers.common import (
    Convention,
    base_seed,
    digest,
    grey16,
    share,
    shuffled,
    study_rng,
    write_csv,
)
from benchmark.twins.writers.dicom import uid, write_dicom

TRAIN, READERS, RADIOLOGISTS = 0.15, 3, 17
OVERLOOKED, IMAGINED, JITTER = 0.12, 0.004, 0.06
"""A reader of the training part misses, adds, and draws the border elsewhere (share of the box)."""
BITS = (10, 12, 14, 16)
RENAMED = "Other diseases"


def write(root: Path, studies: Iterable[TwinStudy], card: Card, rng: np.random.Generator) -> Ids:
    """Laterals are left out: the set has none."""
    base, convention = base_seed(rng), Convention(card)
    local_classes = set(card.subsets["local"])
    ids: Ids = {}
    labels: dict[str, list[tuple[Any, ...]]] = {"train": [], "test": []}
    boxes: dict[str, list[tuple[Any, ...]]] = {"train": [], "test": []}
    for study in studies:
        truth = convention.drawn(study)
        local = study_rng(base, study, "vindr_cxr")
        split = "train" if share(base, "split", study.patient.number) < TRAIN else "test"
        for image in study.images:
            if image.view == "L":
                continue
            name = ids[image.number] = digest(base, "vindr", image.number)[:32]
            _write_image(root / split / f"{name}.dicom", image, study, name, local)
            team = local.choice(RADIOLOGISTS, READERS, replace=False) + 1
            for reader in team if split == "train" else [0]:
                seen = dict(truth)
                if split == "train":
                    seen = _opinion(truth, convention, local)
                for class_name in set(seen) & local_classes:
                    seen[class_name] &= int(class_name in shown(image, {class_name: 1}, convention))
                for class_name in convention.normal:
                    others = [v for k, v in seen.items() if k not in convention.normal]
                    seen[class_name] = int(not any(others))
                who = [f"R{reader}"] if split == "train" else []
                labels[split].append((name, *who, *(seen[c] for c in card.classes)))
                drawn = _boxes(image, name, seen, local_classes, convention, local, split == "train")
                boxes[split] += [(row[0], *who, *row[1:]) for row in drawn]
    for split, rows in labels.items():
        classes = [c if split == "train" or c != RENAMED else "Other disease" for c in card.classes]
        who = ["rad_id"] if split == "train" else []
        folder = root / "annotations"
        write_csv(
            folder / f"image_labels_{split}.csv", ("image_id", *who, *classes), shuffled(rows, base, split)
        )
        header = ("image_id", *who, "class_name", "x_min", "y_min", "x_max", "y_max")
        write_csv(folder / f"annotations_{split}.csv", header, shuffled(boxes[split], base, f"boxes {split}"))
    return ids


def _write_image(path: Path, image: TwinImage, study: TwinStudy, name: str, rng: np.random.Generator) -> None:
    """Stored bits, photometric, window and rescale vary; shown correctly, all look the same."""
    bits = int(rng.choice(BITS))
    top = (1 << bits) - 1
    low, high = int(top * rng.uniform(0, 0.1)), int(top * rng.uniform(0.85, 1))
    stored = (low + grey16(image.pixels, high - low)).astype(np.uint16)
    negative, rescaled, windowed = rng.random(3) < (0.15, 0.3, 0.7)
    if negative:
        stored, low, high = (top - stored).astype(np.uint16), top - high, top - low
    slope, intercept = (0.5, -100.0) if rescaled else (1.0, 0.0)
    width = (high - low) * slope + 1
    centre = (high + low) / 2 * slope + intercept + 0.5
    write_dicom(
        path,
        stored,
        instance=uid("vindr", name),
        study=uid("vindr study", name),
        series=uid("vindr series", name),
        bits=bits,
        photometric="MONOCHROME1" if negative else "MONOCHROME2",
        window=(centre, width) if windowed else None,
        slope=slope if rescaled else None,
        intercept=intercept if rescaled else None,
        sex=study.patient.sex,
        age=study.patient.age,
    )


def _opinion(truth: dict[str, int], convention: Convention, rng: np.random.Generator) -> dict[str, int]:
    draws = rng.random(len(convention.findings))
    seen = dict(truth)
    for name, draw in zip(convention.findings, draws, strict=True):
        seen[name] = int(draw >= OVERLOOKED) if truth[name] else int(draw < IMAGINED)
    return seen


def _boxes(
    image: TwinImage,
    name: str,
    seen: dict[str, int],
    local_classes: set[str],
    convention: Convention,
    rng: np.random.Generator,
    by_hand: bool,
) -> list[tuple[Any, ...]]:
    """Rows of one reader: corners in pixels of the image, or a blank row for no finding."""
    height, width = image.pixels.shape
    positive = [c for c in convention.card.classes if seen[c] and c in local_classes]
    rows: list[tuple[Any, ...]] = []
    for label, region in class_regions(image, positive, convention):
        x, y, w, h = region.box
        shift = rng.uniform(-JITTER, JITTER, 4) * (w, h, w, h) if by_hand else np.zeros(4)
        x1, y1, x2, y2 = np.array([x, y, x + w, y + h]) + shift
        corners = (max(x1, 0), max(y1, 0), min(max(x2, x1 + 1), width), min(max(y2, y1 + 1), height))
        rows.append((name, label, *(f"{v:.4f}" for v in corners)))
    blank = [c for c in convention.normal if seen[c]]
    return rows or [(name, c, "", "", "", "") for c in blank]
