"""MS-CXR: phrases with boxes, on images in the MIMIC-CXR-JPG tree."""

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
    grey8,
    part,
    share,
    shuffled,
    write_csv,
    write_jpeg,
)
from benchmark.twins.writers.mimic_place import place

HEADER = (
    "dicom_id",
    "category_name",
    "label_text",
    "path",
    "x",
    "y",
    "w",
    "h",
    "image_width",
    "image_height",
    "split",
)
SPLITS = {"train": 0.5, "val": 0.1, "test": 0.4}
METADATA = ("dicom_id", "subject_id", "study_id", "ViewPosition", "Rows", "Columns")


def write(root: Path, studies: Iterable[TwinStudy], card: Card, rng: np.random.Generator) -> Ids:
    """Frontal images of which the report states a drawn finding of the eight categories, with that sentence
    (or a short phrase, where no sentence states it) as the query. Others are not part of the set."""
    base, convention = base_seed(rng), Convention(card)
    ids: Ids = {}
    rows: list[tuple[Any, ...]] = []
    metadata: list[tuple[Any, ...]] = []
    for study in studies:
        labels = convention.drawn(study)
        split = part(share(base, "split", study.patient.number), SPLITS)
        for image in study.images:
            categories = [] if image.view == "L" else shown(image, labels, convention)
            if not categories:
                continue
            where = place("ms_cxr", study, image)
            ids[image.number] = where.dicom
            write_jpeg(root / "mimic-cxr-jpg" / where.path, grey8(image.pixels))
            height, width = image.pixels.shape
            metadata.append((*where, image.view, height, width))
            for category, phrase, box in _phrases(study, image, categories, convention):
                corners = [int(v) for v in (box[0], box[1])]
                size = [max(round(v), 1) for v in box[2:]]
                size = [min(s, limit - c) for s, c, limit in zip(size, corners, (width, height), strict=True)]
                rows.append(
                    (where.dicom, category, phrase, where.path, *corners, *size, width, height, split)
                )
    write_csv(root / "MS_CXR_Local_Alignment_v1.1.0.csv", HEADER, shuffled(rows, base, "phrases"))
    write_csv(root / "mimic-cxr-jpg" / "mimic-cxr-2.0.0-metadata.csv.gz", METADATA, metadata)
    return ids


def _phrases(
    study: TwinStudy, image: TwinImage, categories: list[str], convention: Convention
) -> Iterable[tuple[str, str, tuple[float, float, float, float]]]:
    """One category a region, the narrowest that covers it; all regions of a category share its phrase."""
    for label, region in class_regions(image, categories, convention):
        others = [c for c in categories if region.concept in convention.covered[c]]
        if label == min(others, key=lambda c: len(convention.covered[c])):
            yield label, _phrase(study, label, region.concept, convention), region.box


def _phrase(study: TwinStudy, category: str, concept: str, convention: Convention) -> str:
    """The first sentence that states the concept, else one that states the category, else its findings."""
    for wanted in ({concept}, convention.covered[category]):
        for sentence in study.sentences:
            if any(f.presence == "present" and f.concept in wanted for f in sentence.findings):
                return sentence.text.strip().rstrip(".")
    finding = next(f for f in study.findings if f.concept == concept)
    words = (finding.severity, finding.side, finding.location, category.lower())
    return " ".join(w for w in words if w)
