"""CT-RATE: chest CT as NIfTI, reports and 18 labels; and CT-RATE-LT, 15 rarer labels of the same volumes.

    [dataset/]train_fixed/train_1/train_1_a/train_1_a_1.nii.gz   or train/ with the older headers; valid alike
    [dataset/]multi_abnormality_labels/{train,valid}_predicted_labels.csv   VolumeName and 18 columns of 0/1
    [dataset/]radiology_text_reports/{train,validation}_reports.csv
    [dataset/]metadata/{train,validation}_metadata.csv
    CT-RATE-LT-label.csv                                           VolumeName and 15 columns, for CT-RATE-LT

One row a volume, that is a reconstruction; patient, scan and reconstruction are in its name. The list
`first_reconstruction` holds the volume of each scan with the lowest number that is here. Volumes of the older
trees take spacing and rescale from the metadata table, those of `_fixed` from their headers.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmark.core.cells import is_blank
from benchmark.core.errors import DataError
from benchmark.core.tables import Manifest
from benchmark.data.cards import Card
from benchmark.data.decoded_volumes import TOLD_COLUMNS
from benchmark.data.readers import READERS
from benchmark.data.readers.common import Log, manifest, read_csv, zeros_and_ones
from benchmark.data.readers.files import find, find_one, image_index, only, relative, require_root
from benchmark.data.readers.people import ages, sexes
from benchmark.data.volume_grid import MAX_SPACING, MIN_SPACING

NAME = re.compile(
    r"(?P<split>train|valid)_(?P<patient>\d+)_(?P<scan>[a-z]+)_(?P<reconstruction>\d+)(\.nii\.gz)?"
)
SPLITS = {"train": "train", "valid": "test"}
"""CT-RATE has no test part; its validation part is what all publications evaluate."""
FIRST = "list:first_reconstruction"
NOT_GIVEN = "not given."
SECTIONS = {
    "ClinicalInformation_EN": "CLINICAL INFORMATION",
    "Technique_EN": "TECHNIQUE",
    "Findings_EN": "FINDINGS",
    "Impressions_EN": "IMPRESSION",
}
LT_TABLE = "CT-RATE-LT-label.csv"


class _Name(NamedTuple):
    image: str
    split: str
    patient: str
    scan: str
    reconstruction: int


@READERS.register("ct_rate")
def read(root: Path, card: Card) -> Manifest:
    """Raises DataError for a name that is no volume's, a missing column, a label that is no 0 or 1."""
    root = require_root(root, card)
    log = Log()
    tables = find(root, ["train_predicted_labels.csv", "valid_predicted_labels.csv"], 2)
    if not tables:
        raise DataError(
            f"{root}: no table train_predicted_labels.csv or valid_predicted_labels.csv. Check --data-root."
        )
    return _read(root, card, tables, log)


@READERS.register("ct_rate_lt")
def read_lt(root: Path, card: Card) -> Manifest:
    """The table of CT-RATE-LT on CT-RATE's volumes; `*_uncorrect.csv` is not read. Raises as `read`."""
    root = require_root(root, card)
    return _read(root, card, [find_one(root, [LT_TABLE], card, "table of CT-RATE-LT")], Log())


def _read(root: Path, card: Card, tables: list[Path], log: Log) -> Manifest:
    parts, labels = [], []
    columns = {c: next((a for a, name in card.aliases.items() if name == c), c) for c in card.classes}
    for path in tables:
        table = read_csv(path, ["VolumeName", *columns.values()])
        names = [_name(text, path, row) for row, text in enumerate(table["VolumeName"], 1)]
        parts.append(pd.DataFrame(names))
        labels.append(zeros_and_ones(table, columns, path))
        known = {"VolumeName", *columns.values()}
        log.labels.unknown.update(c for c in table.columns if c not in known)
        log.files[path.stem] = relative(path, root)
    frame, values = pd.concat(parts, ignore_index=True), pd.concat(labels, ignore_index=True)
    index = image_index(root, (".nii.gz",))
    path_of = {name[: -len(".nii.gz")]: only(root, name, _best(paths)) for name, paths in index.items()}
    told, sex, age = _metadata(root, log)
    places = frame["image"].map(path_of)
    here = places.notna().to_numpy()
    log.drop("image file is absent", frame.loc[~here, "image"])
    listed = set(frame["image"])
    stray = [n for n in path_of if NAME.fullmatch(n) and n not in listed]
    log.see("image file without a row in the label table", sorted(stray))
    frame, values, places = frame[here], values[here], places[here]
    if frame.empty:
        raise DataError(f"{root}: none of the volumes of {tables[0].name} is here. Check --data-root.")
    reports = _reports(root, log)
    scans = frame["scan"].map(reports)
    log.see("scan without a report", sorted(set(frame.loc[scans.isna(), "scan"])) if reports else [])
    meta = pd.DataFrame(
        {
            "image_id": frame["image"],
            "path": places,
            "patient_id": frame["patient"],
            "study_id": frame["scan"],
            "split": frame["split"].map(SPLITS),
            "report": scans,
            "sex": frame["image"].map(sex),
            "age": frame["image"].map(age),
        }
    )
    lowest = frame.groupby("scan")["reconstruction"].transform("min")
    extra: dict[str, Any] = {FIRST: (frame["reconstruction"] == lowest).to_numpy()}
    old = ~places.str.contains("_fixed/", regex=False).to_numpy()
    log.see(
        "volume with an older header: spacing and rescale are those of the metadata", frame.loc[old, "image"]
    )
    unsized = [n for n in frame.loc[old, "image"] if np.isnan(told.get(n, {}).get("spacing_z", np.nan))]
    if unsized:
        raise DataError(
            f"{root}: {len(unsized):,} volumes with an older header, whose spacing is wrong, have none in "
            f"metadata/*_metadata.csv, the first {unsized[0]}. Fetch that, or the volumes of *_fixed."
        )
    chosen = {str(c): values[c].array for c in values} | extra
    result = manifest(root, card, meta, chosen, log, table=tables[0])
    ids = result.frame["image_id"]
    older = ids.isin(frame.loc[old, "image"]).to_numpy()
    added = {}
    for column in TOLD_COLUMNS:
        kind = column.removeprefix("told:")
        numbers = np.array([told.get(n, {}).get(kind, np.nan) for n in ids], dtype=float)
        known = ~np.isnan(numbers) & (older | (not kind.startswith("spacing")))
        added[column] = pd.Series(numbers, dtype="Float64").where(known)
    return dataclasses.replace(result, frame=result.frame.assign(**added))


def _name(text: str, path: Path, row: int) -> _Name:
    match = NAME.fullmatch(text.strip())
    if match is None:
        raise DataError(f"{path}: row {row}: '{text}' is no name of a volume like valid_53_a_1.nii.gz.")
    patient = f"{match['split']}_{match['patient']}"
    scan = f"{patient}_{match['scan']}"
    number = match["reconstruction"]
    return _Name(f"{scan}_{number}", match["split"], patient, scan, int(number))


def _best(paths: list[str]) -> list[str]:
    """Of one volume in two trees, that with the corrected header."""
    return [p for p in paths if "_fixed/" in p] or paths


def _reports(root: Path, log: Log) -> dict[str, str]:
    """Scan → text with the heads of SECTIONS. All reconstructions of a scan have one report."""
    out: dict[str, str] = {}
    for path in find(root, ["train_reports.csv", "validation_reports.csv"], 2):
        table = read_csv(path, ["VolumeName", *SECTIONS])
        log.files[path.stem] = relative(path, root)
        for row, fields in enumerate(table[["VolumeName", *SECTIONS]].itertuples(index=False), 1):
            name = _name(str(fields[0]), path, row)
            texts = {h: " ".join(str(t).split()) for h, t in zip(SECTIONS.values(), fields[1:], strict=True)}
            said = [f"{h}: {t}" for h, t in texts.items() if t and t.lower() != NOT_GIVEN]
            text = "\n".join(said)
            if out.setdefault(name.scan, text) != text:
                raise DataError(
                    f"{path}: row {row}: scan {name.scan} has two reports. Use the official file."
                )
    return {scan: text for scan, text in out.items() if text}


def _metadata(root: Path, log: Log) -> tuple[dict[str, dict[str, float]], dict[str, str], dict[str, float]]:
    """Volume → spacing in mm, slope and intercept; sex; age in years. Empty without the tables."""
    told: dict[str, dict[str, float]] = {}
    sex: dict[str, str] = {}
    age: dict[str, float] = {}
    wanted = ["XYSpacing", "ZSpacing", "RescaleSlope", "RescaleIntercept"]
    for path in find(root, ["train_metadata.csv", "validation_metadata.csv"], 2):
        table = read_csv(path, ["VolumeName", *wanted], ["PatientSex", "PatientAge"])
        log.files[path.stem] = relative(path, root)
        images = [_name(text, path, row).image for row, text in enumerate(table["VolumeName"], 1)]
        for row, (image, xy, z, slope, intercept) in enumerate(
            zip(images, *(table[c] for c in wanted), strict=True), 1
        ):
            y, x = _pair(xy, path, row)
            said = {
                "spacing_z": _number(z, "ZSpacing", path, row, size=True),
                "spacing_y": y,
                "spacing_x": x,
                "slope": _number(slope, "RescaleSlope", path, row),
                "intercept": _number(intercept, "RescaleIntercept", path, row),
            }
            if repr(told.setdefault(image, said)) != repr(said):
                raise DataError(f"{path}: row {row}: volume {image} has two rows that differ. Keep one.")
        if "PatientSex" in table:
            known = sexes(table["PatientSex"].set_axis(images), log).dropna()
            sex |= {str(n): str(s) for n, s in known.items()}
        if "PatientAge" in table:
            years = ages(table["PatientAge"].set_axis(images), log).dropna()
            age |= {str(n): float(a) for n, a in years.items()}
    return told, sex, age


def _pair(text: str, path: Path, row: int) -> tuple[float, float]:
    """Of the text `[x, y]`, y and x; one number counts for both."""
    parts = text.strip("[]() ").replace(",", " ").split()
    numbers = [_number(t, "XYSpacing", path, row, size=True) for t in parts]
    if len(numbers) not in (1, 2):
        raise DataError(f"{path}: row {row}: XYSpacing '{text}' is no pair [x, y]. Fetch the file again.")
    return numbers[-1], numbers[0]


def _number(text: str, column: str, path: Path, row: int, *, size: bool = False) -> float:
    """size: of a voxel in mm; below 0 it would turn the volume upside down, in metres make it a point."""
    if is_blank(text):
        return float("nan")
    try:
        value = float(text)
    except ValueError:
        raise DataError(f"{path}: row {row}: {column} '{text}' is no number. Fetch the file again.") from None
    if not np.isfinite(value) or (size and not MIN_SPACING <= value <= MAX_SPACING):
        raise DataError(f"{path}: row {row}: {column} is {value:g}. Fetch the file again.")
    return value
