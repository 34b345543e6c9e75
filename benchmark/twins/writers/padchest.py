"""PadChest: the 36-column CSV with list-like label strings, and 16-bit PNG in numbered folders.

A label is the concept itself, as in PadChest, not what stands above it in the tree. The labels of
`RNN_model` rows come from the report and carry errors; rare findings are always labelled by physicians.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from benchmark.data.cards import Card
from benchmark.twins.case import Finding, TwinImage, TwinStudy
from benchmark.twins.reports import spanish_report
from benchmark.twins.writers import Ids
from benchmark.twins.writers.common import (
    base_seed,
    digest,
    digits,
    grey16,
    share,
    shuffled,
    study_rng,
    write_csv,
    write_png,
)

COLUMNS = (
    "",
    "ImageID",
    "ImageDir",
    "StudyDate_DICOM",
    "StudyID",
    "PatientID",
    "PatientBirth",
    "PatientSex_DICOM",
    "ViewPosition_DICOM",
    "Projection",
    "MethodProjection",
    "Pediatric",
    "Modality_DICOM",
    "Manufacturer_DICOM",
    "PhotometricInterpretation_DICOM",
    "PixelRepresentation_DICOM",
    "PixelAspectRatio_DICOM",
    "SpatialResolution_DICOM",
    "BitsStored_DICOM",
    "WindowCenter_DICOM",
    "WindowWidth_DICOM",
    "Rows_DICOM",
    "Columns_DICOM",
    "XRayTubeCurrent_DICOM",
    "Exposure_DICOM",
    "ExposureInuAs_DICOM",
    "ExposureTime",
    "RelativeXRayExposure_DICOM",
    "ReportID",
    "Report",
    "MethodLabel",
    "Labels",
    "Localizations",
    "LabelsLocalizationsBySentence",
    "labelCUIS",
    "LocalizationsCUIS",
)
TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
FOLDERS = 55
AUTOMATIC, BLANK_BIRTH, BLANK_LABELS, MESSY, EXCLUDE = 0.06, 0.03, 0.02, 0.15, 0.004
SAME_DIGITS = "83986048869429233"
"""Patient ids share their first 17 digits: as floats they would merge."""


def patient_id(study: TwinStudy) -> str:
    return SAME_DIGITS + digits(20, "padchest patient", study.patient.number)


def study_id(study: TwinStudy) -> str:
    return digits(38, "padchest study", study.number)


def image_id(study: TwinStudy, image: TwinImage) -> str:
    """`digits_xxxxxx.png`, at times `digits_d_xxxxxx` or `digits-digits_xxxxxx`, as in the real set."""
    tail = digest("padchest image", image.number)
    letters = "".join(
        "0123456789abcdefghijklmnopqrstuvwxyz"[int(tail[2 * i : 2 * i + 2], 16) % 36] for i in range(6)
    )
    form = int(tail[20:23], 16) / 4096
    middle = f"_{study.number % 10}" if form < 0.05 else f"-{digits(8, tail)}" if form < 0.07 else ""
    return f"{study_id(study)}{middle}_{letters}.png"


def write(root: Path, studies: Iterable[TwinStudy], card: Card, rng: np.random.Generator) -> Ids:
    base = base_seed(rng)
    common = set(card.strata().get("head", ()))
    ids: Ids = {}
    rows: list[list[object]] = []
    for study in studies:
        local = study_rng(base, study, "padchest")
        drawn = _statements(study, card)
        automatic = {f.concept for f in drawn} <= common and share(base, "method", study.number) < AUTOMATIC
        sentences = _by_sentence(study, drawn, automatic, local)
        born = "" if local.random() < BLANK_BIRTH else f"{_day(study).year - study.patient.age}.0"
        blank = automatic and local.random() < BLANK_LABELS
        folder = int(digest("padchest folder", study.number)[:8], 16) % FOLDERS
        for image in study.images:
            name = ids[image.number] = image_id(study, image)
            top = int(local.integers(45_000, 65_536))
            write_png(root / str(folder) / name, grey16(image.pixels, top))
            rows.append(_row(study, image, name, folder, born, automatic, blank, sentences, local))
    table = [[number, *row] for number, row in enumerate(shuffled(rows, base, "padchest"))]
    write_csv(root / TABLE, COLUMNS, table)
    return ids


def _row(
    study: TwinStudy,
    image: TwinImage,
    name: str,
    folder: int,
    born: str,
    automatic: bool,
    blank: bool,
    sentences: list[list[str]],
    rng: np.random.Generator,
) -> list[object]:
    labels = [e for s in sentences for e in s if not e.startswith("loc ")]
    places = [e for s in sentences for e in s if e.startswith("loc ")]
    height, width = image.pixels.shape
    projection = {"PA": "PA", "L": "L", "AP": "AP_horizontal" if rng.random() < 0.5 else "AP"}[image.view]
    return [
        name,
        folder,
        f"{_day(study):%Y%m%d}",
        study_id(study),
        patient_id(study),
        born,
        study.patient.sex,
        {"PA": "POSTEROANTERIOR", "L": "LATERAL", "AP": "ANTEROPOSTERIOR"}[image.view],
        projection,
        "Manual review of DICOM fields",
        "PED" if study.patient.age < 10 else "No",
        "CR" if rng.random() < 0.5 else "DX",
        "SyntheticTwin",
        "MONOCHROME2",
        0,
        "['1', '1']",
        "",
        12,
        2048.0,
        4096.0,
        height,
        width,
        "" if rng.random() < 0.4 else int(rng.integers(100, 400)),
        "" if rng.random() < 0.4 else int(rng.integers(1, 12)),
        "",
        "" if rng.random() < 0.4 else int(rng.integers(4, 40)),
        "",
        digits(7, "padchest report", study.number),
        spanish_report(study.findings, rng),
        "RNN_model" if automatic else "Physician",
        "" if blank else _printed(labels, rng),
        "" if blank else _printed(places, rng),
        "" if blank else repr(sentences),
        _printed_array(sorted(set(labels))),
        _printed_array(sorted(set(places))),
    ]


def _statements(study: TwinStudy, card: Card) -> list[Finding]:
    """What is drawn and has a label, once each."""
    seen: dict[str, Finding] = {}
    for finding in study.findings:
        if finding.presence == "present" and finding.concept in card.concepts:
            seen.setdefault(finding.concept, finding)
    return list(seen.values())


def _by_sentence(
    study: TwinStudy, drawn: Sequence[Finding], automatic: bool, rng: np.random.Generator
) -> list[list[str]]:
    """One list a sentence: labels, then `loc …` entries."""
    if not drawn and rng.random() < EXCLUDE:
        return [["exclude"]]
    findings = list(drawn)
    if automatic:
        said = {f.concept for s in study.sentences for f in s.findings if f.presence != "absent"}
        findings = [f for f in drawn if (not said or f.concept in said) and rng.random() > 0.05]
    out = [[f.concept, *_places(f)] for f in findings]
    return out or [["normal"]]


def _places(finding: Finding) -> list[str]:
    places = [f"loc {finding.side}"] if finding.side else []
    return places + ([f"loc {finding.location}"] if finding.location else [])


def _printed(items: Sequence[str], rng: np.random.Generator) -> str:
    """A printed Python list; some hold stray spaces, empty strings or repeats."""
    items = list(items)
    if items and rng.random() < MESSY:
        kind = int(rng.integers(3))
        place = int(rng.integers(len(items)))
        if kind == 0:
            items[place] = f" {items[place]}" if rng.random() < 0.5 else f"{items[place]} "
        elif kind == 1:
            items.insert(place, "")
        else:
            items.append(items[place])
    return repr(items)


def _printed_array(items: Sequence[str]) -> str:
    """A printed NumPy array of codes: no commas, and long ones wrap. The codes are made up."""
    codes = [f"'C{digits(7, 'code', item)}'" for item in items]
    lines = [" ".join(codes[i : i + 6]) for i in range(0, len(codes), 6)]
    return "[" + "\n ".join(lines) + "]"


def _day(study: TwinStudy) -> date:
    return date(2009 + study.patient.number % 8, 1, 1) + timedelta(days=study.days)
