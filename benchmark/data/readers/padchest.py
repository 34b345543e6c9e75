"""PadChest: the 36-column CSV with images in numbered folders, and CARZero's label file of the manual part.

    PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv[.gz]
    0/ … 54/NAME.png        or every image in one folder
    manual_image.json       optional: {image name: [labels]}, 39,053 images

`split` is `test` for the images labelled by physicians and `automatic` for those labelled by a network.
Where the label file is there, it decides both which images are `test` and what their labels are; without
the CSV the study, taken from the image name, stands in for the patient, and `info` says so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.core.cells import blanks, tallied
from benchmark.core.errors import DataError
from benchmark.core.guard import parsing, read_text
from benchmark.core.tables import Manifest
from benchmark.data.cards import Card
from benchmark.data.readers import READERS
from benchmark.data.readers.common import (
    Log,
    manifest,
    name_lists,
    normal_views,
    read_csv,
    require_ids,
    require_names,
)
from benchmark.data.readers.files import below, find, image_index, only, relative, require_root
from benchmark.data.readers.people import ages_at, sexes

TABLE = ("PADCHEST_chest_x_ray_images_labels*.csv.gz", "PADCHEST_chest_x_ray_images_labels*.csv")
MANUAL = ("manual_image.json",)
REQUIRED = (
    "ImageID",
    "ImageDir",
    "StudyDate_DICOM",
    "StudyID",
    "PatientID",
    "PatientBirth",
    "PatientSex_DICOM",
    "Projection",
    "Report",
    "MethodLabel",
    "Labels",
)
METHODS = {"Physician": "test", "RNN_model": "automatic"}


@READERS.register("padchest")
def read(root: Path, card: Card) -> Manifest:
    """Raises DataError for missing files and columns, blank or rounded ids, repeated images, a label
    field that is no list."""
    root = require_root(root, card)
    log = Log()
    tables, manual = find(root, TABLE, 1), find(root, MANUAL, 1)
    if not tables and not manual:
        raise DataError(
            f"{root}: neither {TABLE[0]} nor {MANUAL[0]} is here. Check --data-root; {card.access}"
        )
    listed = _manual(manual[0], log) if manual else None
    if manual:
        log.files["manual"] = relative(manual[0], root)
    if tables:
        log.files["table"] = relative(tables[0], root)
        return _from_table(root, card, tables[0], listed, log)
    assert listed is not None
    return _from_list(root, card, manual[0], listed, log)


def _from_table(
    root: Path, card: Card, path: Path, listed: dict[str, tuple[str, ...]] | None, log: Log
) -> Manifest:
    frame = read_csv(path, REQUIRED, ())
    for column in ("ImageID", "PatientID", "StudyID"):
        frame[column] = frame[column].str.strip()
    frame["number"] = np.arange(1, len(frame) + 1)
    require_names(frame, "ImageID", path)
    for column in ("PatientID", "StudyID"):
        blank = blanks(frame[column])
        log.drop(f"{column} is blank", frame.loc[blank, "ImageID"])
        frame = frame[~blank].reset_index(drop=True)
    for column in ("PatientID", "StudyID"):
        require_ids(frame, column, path)
    repeated = frame["ImageID"].duplicated()
    if repeated.any():
        row = int(np.flatnonzero(repeated)[0])
        raise DataError(
            f"{path}: row {frame['number'].iloc[row]}: ImageID '{frame['ImageID'].iloc[row]}' occurs twice."
        )
    frame["path"] = _paths(root, frame, path, log)
    absent = frame["path"].isna()
    log.drop("image file is absent", frame.loc[absent, "ImageID"])
    frame = frame[~absent].reset_index(drop=True)

    labels = _labels(frame, path, log)
    split = frame["MethodLabel"].str.strip().map(METHODS)
    strange = split.isna()
    if strange.any():
        odd = frame.loc[strange].iloc[0]
        raise DataError(
            f"{path}: row {odd['number']}: MethodLabel '{odd['MethodLabel']}'; "
            "expected Physician or RNN_model."
        )
    if listed is not None:
        labels, split = _apply_list(frame, labels, split, listed, log)
    matrix, log.labels = tallied(labels, card.classes, card.aliases, card.removed)

    study, birth = (frame[c].set_axis(frame["ImageID"]) for c in ("StudyDate_DICOM", "PatientBirth"))
    report = frame["Report"].str.strip()
    meta = pd.DataFrame(
        {
            "image_id": frame["ImageID"],
            "path": frame["path"],
            "patient_id": frame["PatientID"],
            "study_id": frame["StudyID"],
            "view": normal_views(frame["Projection"].set_axis(frame["ImageID"]), card, log).to_numpy(),
            "split": split,
            "report": report.where(report != "", None),
            "sex": sexes(frame["PatientSex_DICOM"].set_axis(frame["ImageID"]), log).to_numpy(),
            "age": ages_at(study, birth, log).to_numpy(),
        }
    )
    columns = {name: matrix[:, i] for i, name in enumerate(card.classes)}
    return manifest(root, card, meta, columns, log, table=path)


def _from_list(root: Path, card: Card, path: Path, listed: dict[str, tuple[str, ...]], log: Log) -> Manifest:
    index = image_index(root, (".png",))
    names = [below(root, name, str(path)) for name in listed]
    here = [name for name in names if name in index]
    log.drop("image file is absent", [name for name in names if name not in index])
    log.lists["manual"] = {"listed": len(names), "found": len(here)}
    if not here:
        raise DataError(f"{root}: none of the {len(names)} images of {path.name} is here. Check --data-root.")
    matrix, log.labels = tallied([listed[n] for n in here], card.classes, card.aliases, card.removed)
    study = [study_of(name) for name in here]
    log.note(
        "no patient ids without the main CSV: the study, taken from the image name, stands for the patient"
    )
    meta = pd.DataFrame(
        {
            "image_id": here,
            "path": [only(root, name, index[name]) for name in here],
            "patient_id": study,
            "study_id": study,
            "split": "test",
        }
    )
    columns = {name: matrix[:, i] for i, name in enumerate(card.classes)}
    return manifest(root, card, meta, columns, log, table=path)


def study_of(name: str) -> str:
    """The part of an image name before its last underscore; earlier ones belong to the study."""
    return name.rsplit(".", 1)[0].rpartition("_")[0] or name


def _paths(root: Path, frame: pd.DataFrame, table: Path, log: Log) -> list[str | None]:
    index = image_index(root, (".png",))
    out: list[str | None] = []
    for name, folder in zip(frame["ImageID"], frame["ImageDir"].str.strip(), strict=True):
        known = index.get(name)
        if known is None:
            below(root, f"{folder}/{name}", str(table))
            out.append(None)
            continue
        folder = folder.removesuffix(".0")
        exact = [p for p in known if p == f"{folder}/{name}" or p.endswith(f"/{folder}/{name}")]
        out.append(only(root, name, exact or known))
    listed = set(frame["ImageID"])
    log.see("image file without a row in the table", [n for n in index if n not in listed])
    return out


def _labels(frame: pd.DataFrame, path: Path, log: Log) -> list[tuple[str, ...]]:
    out = name_lists(frame["Labels"], "Labels", path, rows=frame["number"])
    blank = blanks(frame["Labels"])
    log.see("Labels is blank: negative for every class", frame.loc[blank, "ImageID"])
    return out


def _apply_list(
    frame: pd.DataFrame,
    labels: list[tuple[str, ...]],
    split: pd.Series,
    listed: dict[str, tuple[str, ...]],
    log: Log,
) -> tuple[list[tuple[str, ...]], pd.Series]:
    """The label file names the test images and their labels; differences from the table are counted."""
    names = frame["ImageID"].tolist()
    member = [n in listed for n in names]
    log.lists["manual"] = {"listed": len(listed), "found": sum(member)}
    pairs = [(n, old, listed.get(n)) for n, old in zip(names, labels, strict=True)]
    differ = [n for n, old, new in pairs if new is not None and set(new) != set(old)]
    log.see("labels of manual_image.json differ from the table; the former are used", differ)
    manual = split == "test"
    log.see(
        "labelled by a physician, not in manual_image.json", frame.loc[manual & ~np.array(member), "ImageID"]
    )
    new_split = split.where(~manual, "physician-unlisted").where(~np.array(member), "test")
    return [old if new is None else new for _, old, new in pairs], new_split


def _manual(path: Path, log: Log) -> dict[str, tuple[str, ...]]:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(items)
        if len(out) != len(items):
            name = next(k for i, (k, _) in enumerate(items) if k in dict(items[:i]))
            raise DataError(f"{path}: image '{name}' occurs twice.")
        return out

    text = read_text(path, "a label file")
    with parsing(path, "valid JSON", "Fetch it again."):
        value = json.loads(text, object_pairs_hook=pairs)
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected an object, image name → list of labels.")
    out = {}
    for name, names in value.items():
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise DataError(f"{path}: image '{name}': labels must be a list of strings.")
        out[name] = tuple(dict.fromkeys(n.strip() for n in names if n.strip()))
    return out
