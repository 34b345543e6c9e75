"""MIMIC-CXR reports and MIMIC-CXR-JPG images, tables and labels, as PhysioNet lays them out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.cards import Card
from benchmark.twins.case import TwinImage, TwinStudy
from benchmark.twins.writers import Ids
from benchmark.twins.writers.common import (
    Convention,
    base_seed,
    blank_or_float,
    digest,
    grey8,
    part,
    section,
    share,
    shuffled,
    spread,
    study_rng,
    write_csv,
    write_jpeg,
)

METADATA = (
    "dicom_id",
    "subject_id",
    "study_id",
    "PerformedProcedureStepDescription",
    "ViewPosition",
    "Rows",
    "Columns",
    "StudyDate",
    "StudyTime",
    "ProcedureCodeSequence_CodeMeaning",
    "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
)
SPLITS = {"train": 0.88, "validate": 0.08, "test": 0.04}
"""The official shares of validation and test are near one percent, too few for a twin."""
VIEW_CODES = {"PA": "postero-anterior", "AP": "antero-posterior", "L": "lateral"}
NO_VIEW, NO_LABEL_ROW, LL = 0.01, 0.005, 0.3
WIDTH = 78


def subject_id(study: TwinStudy) -> str:
    """8 digits, first two 10 … 19."""
    number = study.patient.number
    return f"1{number % 10}{spread(number // 10, 10**6):06d}"


def study_id(study: TwinStudy) -> str:
    return f"5{spread(study.number, 10**7):07d}"


def dicom_id(image: TwinImage) -> str:
    """Five groups of 8 hexadecimal digits."""
    text = digest("mimic_cxr", image.number)
    return "-".join(text[i : i + 8] for i in range(0, 40, 8))


def write(root: Path, studies: Iterable[TwinStudy], card: Card, rng: np.random.Generator) -> Ids:
    base, convention = base_seed(rng), Convention(card)
    reports, jpg = root / "mimic-cxr", root / "mimic-cxr-jpg"
    ids: Ids = {}
    metadata: list[tuple[Any, ...]] = []
    splits: list[tuple[str, ...]] = []
    labels: dict[str, list[list[str]]] = {"chexpert": [], "negbio": []}
    for study in studies:
        subject, number = subject_id(study), study_id(study)
        local = study_rng(base, study, "mimic_cxr")
        folder = f"files/p{subject[:2]}/p{subject}"
        report = reports / folder / f"s{number}.txt"
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(report_text(study, local), encoding="utf-8")
        split = part(share(base, "split", study.patient.number), SPLITS)
        when = date(2110 + study.patient.number % 80, 1, 1) + timedelta(days=study.days)
        clock = (
            f"{local.integers(24):02d}{local.integers(60):02d}{local.integers(60):02d}.{local.integers(1000)}"
        )
        for image in study.images:
            dicom = ids[image.number] = dicom_id(image)
            write_jpeg(jpg / folder / f"s{number}" / f"{dicom}.jpg", grey8(image.pixels))
            step, view = _view(image, local)
            erect = "" if image.view == "AP" else "Erect"
            row = (dicom, subject, number, step, view, *image.pixels.shape, f"{when:%Y%m%d}", clock)
            metadata.append((*row, step, VIEW_CODES[image.view], erect))
            splits.append((dicom, number, subject, split))
        if local.random() >= NO_LABEL_ROW:
            for tool, rows in labels.items():
                states = convention.mined(study, study_rng(base, study, tool))
                rows.append([subject, number, *(blank_or_float(states[c]) for c in card.classes)])
    write_csv(jpg / "mimic-cxr-2.0.0-metadata.csv.gz", METADATA, metadata)
    header = ("dicom_id", "study_id", "subject_id", "split")
    write_csv(jpg / "mimic-cxr-2.0.0-split.csv.gz", header, shuffled(splits, base, "split"))
    for tool, rows in labels.items():
        path = jpg / f"mimic-cxr-2.0.0-{tool}.csv.gz"
        write_csv(path, ("subject_id", "study_id", *card.classes), shuffled(rows, base, tool))
    return ids


def _view(image: TwinImage, rng: np.random.Generator) -> tuple[str, str]:
    """Procedure step and ViewPosition; a few fields are empty, laterals go by two names."""
    chance = rng.random(2)
    name = image.view if image.view != "L" else ("LL" if chance[0] < LL else "LATERAL")
    step = "CHEST (PORTABLE AP)" if image.view == "AP" else "CHEST (PA AND LAT)"
    return step, "" if chance[1] < NO_VIEW else name


def report_text(study: TwinStudy, rng: np.random.Generator) -> str:
    """Free text with section heads and wrapped lines. Now and then a section is missing, merged,
    repeated, or called WET READ."""
    style = rng.random(4)
    findings, impression = section(study, "findings"), section(study, "impression")
    blocks: list[tuple[str, str]] = [
        ("EXAMINATION", "CHEST (PORTABLE AP)" if _portable(study) else "CHEST (PA AND LAT)"),
        ("INDICATION", study.sections.get("indication", "___ year old with ___.")),
        ("TECHNIQUE", study.sections.get("technique", "Chest radiograph.")),
        ("COMPARISON", study.sections.get("comparison", "None.")),
    ]
    if style[0] < 0.1:
        blocks = [b for b in blocks if b[0] not in ("EXAMINATION", "TECHNIQUE")]
    if style[1] < 0.05 and findings and impression:
        blocks.append(("FINDINGS AND IMPRESSION", f"{findings} {impression}"))
    else:
        if findings and style[2] < 0.03 and not impression:
            blocks.append(("WET READ", findings))
        elif findings:
            blocks.append(("FINDINGS", findings))
        if impression:
            blocks.append(("IMPRESSION", impression))
    if style[3] < 0.02 and impression:
        blocks.insert(1, ("IMPRESSION", "___"))
    lines = [" " * 33 + "FINAL REPORT"]
    for head, text in blocks:
        wrapped = textwrap.wrap(f"{head}:  {text}", WIDTH, break_long_words=False, break_on_hyphens=False)
        lines += [f" {line}" for line in wrapped] + [" "]
    return "\n".join(lines).rstrip() + "\n"


def _portable(study: TwinStudy) -> bool:
    return all(image.view == "AP" for image in study.images)
