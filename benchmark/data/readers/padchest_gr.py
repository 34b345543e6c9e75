"""PadChest-GR: sentences of single findings, with boxes, on frontal PadChest images.

    grounded_reports_*.json     a list of studies: StudyID, ImageID, findings: [{sentence_en, abnormal, boxes,
                                extra_boxes, labels, …}]; boxes are corners in shares of width and height
    master_table.csv            ImageID, PatientID, split[, PatientAge][, PatientSex_DICOM]; a row a label
    …/<ImageID>                 16-bit PNG, in any folder

A class is positive where an abnormal sentence carries its label and negative elsewhere: radiologists checked
the list of findings of every image. A label that the card does not know at all is counted as unknown. The
region of a sentence belongs to the first of its labels that the card names, else to `other finding`, so that
every sentence is one trial. The report is its English sentences.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.core.errors import DataError
from benchmark.core.guard import parsing, read_text
from benchmark.core.tables import REGION_COLUMNS, Manifest
from benchmark.data.cards import Card
from benchmark.data.pixels import image_size
from benchmark.data.readers import READERS
from benchmark.data.readers.common import (
    FETCH,
    Log,
    is_text,
    manifest,
    read_csv,
    require_ids,
    require_names,
)
from benchmark.data.readers.files import find, find_one, image_index, only, relative, require_root
from benchmark.data.readers.people import ages, sexes

SPLITS = {"validation": "validate", "val": "validate"}
OTHER = "other finding"


@READERS.register("padchest_gr")
def read(root: Path, card: Card) -> Manifest:
    """Raises DataError for missing files, keys and columns, a study or image that occurs twice, boxes outside
    of their image."""
    root = require_root(root, card)
    log = Log()
    path = find_one(root, ["grounded_reports_*.json"], card, "grounded reports")
    log.files["reports"] = relative(path, root)
    studies = _studies(path)
    about = _table(root, card, log)
    index = image_index(root, (".png",))
    here: list[dict[str, Any]] = []
    for study in studies:
        if study["ImageID"] in index:
            here.append(study)
        else:
            log.drop("image file is absent", [study["ImageID"]])
    if not here:
        raise DataError(f"{root}: none of the {len(studies):,} images of {path.name} is here. {card.access}")
    names = [study["ImageID"] for study in here]
    unknown = [n for n in names if n not in about.index]
    if len(unknown) == len(names):
        raise DataError(
            f"{root / log.files['master table']}: no row is of an image of {path.name}; it has "
            f"{about.index[0]}, that {names[0]}. Use the official files."
        )
    log.see("study without a row in the master table", unknown)
    told = about.reindex(names)
    said = [" ".join(f["sentence_en"] for f in study["findings"]) for study in here]
    meta = pd.DataFrame(
        {
            "image_id": names,
            "path": [only(root, name, index[name]) for name in names],
            "patient_id": told["PatientID"].to_numpy(),
            "study_id": [study["StudyID"] for study in here],
            "split": told["split"].map(lambda s: SPLITS.get(s, s), na_action="ignore").to_numpy(),
            "report": [text or None for text in said],
            "sex": sexes(told["PatientSex_DICOM"].fillna(""), log).to_numpy(),
            "age": ages(told["PatientAge"].fillna(""), log).to_numpy(),
        }
    )
    labels: dict[str, Any] = {name: np.zeros(len(here), dtype=np.int8) for name in card.classes}
    for row, study in enumerate(here):
        for finding in study["findings"]:
            for label in finding["labels"] if finding["abnormal"] else ():
                name = card.aliases.get(label, label)
                labels[name if name in labels else OTHER][row] = 1
                log.labels.met += 1
                if name not in labels and name not in card.removed:
                    log.labels.unknown[name] += 1
    columns = {name: pd.array(values, dtype="Int8") for name, values in labels.items()}
    result = manifest(root, card, meta, columns, log, table=path)
    regions = _regions(root, here, meta["path"].tolist(), card, path)
    info = result.info.counted(
        sentences=sum(len(study["findings"]) for study in here),
        boxed_sentences=len(regions.drop_duplicates(["image_id", "phrase"])),
        boxes=len(regions),
        boxes_of_a_second_reader=sum(len(f["extra_boxes"]) for s in here for f in s["findings"]),
    )
    return replace(result, regions=regions, info=info)


def _studies(path: Path) -> list[dict[str, Any]]:
    text = read_text(path, "a file of grounded reports")
    with parsing(path, "valid JSON", FETCH):
        value = json.loads(text)
    if not isinstance(value, list):
        raise DataError(f"{path}: expected a list of studies. {FETCH}")
    seen: set[str] = set()
    out = []
    for row, item in enumerate(value, 1):
        where = f"{path}: study {row}"
        if not isinstance(item, dict) or not isinstance(item.get("findings"), list):
            raise DataError(f"{where}: expected StudyID, ImageID and a list `findings`.")
        study = {key: item.get(key) for key in ("StudyID", "ImageID")}
        for key, name in study.items():
            if not is_text(name) or not str(name).strip() or "/" in str(name) or "\\" in str(name):
                raise DataError(f"{where}: {key} is missing or no plain name. {FETCH}")
        if study["ImageID"] in seen:
            raise DataError(f"{where}: image '{study['ImageID']}' occurs twice.")
        seen.add(str(study["ImageID"]))
        out.append({**study, "findings": [_finding(f, where) for f in item["findings"]]})
    return out


def _finding(value: Any, where: str) -> dict[str, Any]:
    """One sentence with its keys; what a negative sentence leaves out is empty."""
    if not isinstance(value, dict) or not is_text(value.get("sentence_en")):
        raise DataError(f"{where}: a finding without `sentence_en`. {FETCH}")
    found = {
        "sentence_en": value["sentence_en"].strip(),
        "abnormal": value.get("abnormal", None if value.get("labels") else False),
        "labels": value.get("labels") or [],
        "boxes": value.get("boxes") or [],
        "extra_boxes": value.get("extra_boxes") or [],
    }
    if not isinstance(found["abnormal"], bool):
        raise DataError(f"{where}: `abnormal` of a finding is neither true nor false. {FETCH}")
    for key in ("labels", "boxes", "extra_boxes"):
        if not isinstance(found[key], list):
            raise DataError(f"{where}: `{key}` is no list. {FETCH}")
    if not all(is_text(label) for label in found["labels"]):
        raise DataError(f"{where}: `labels` must be a list of names. {FETCH}")
    for box in (*found["boxes"], *found["extra_boxes"]):
        _check_box(box, where)
    return found


def _check_box(box: Any, where: str) -> None:
    numbers = isinstance(box, list) and len(box) == 4 and all(isinstance(v, int | float) for v in box)
    if not numbers or not (0 <= box[0] < box[2] <= 1.001 and 0 <= box[1] < box[3] <= 1.001):
        raise DataError(f"{where}: a box is not x1 < x2, y1 < y2 in shares of the image. {FETCH}")


def _table(root: Path, card: Card, log: Log) -> pd.DataFrame:
    """ImageID → patient, split, sex and age, from the rows of the master table, which repeat them."""
    if not find(root, ["master_table.csv"]) and find(root, ["master_table.csv.zip"]):
        raise DataError(f"{root}: master_table.csv.zip is packed. Unpack it there.")
    path = find_one(root, ["master_table.csv"], card, "master table")
    log.files["master table"] = relative(path, root)
    table = read_csv(path, ("ImageID", "PatientID", "split"), ("PatientAge", "PatientSex_DICOM"))
    require_names(table, "ImageID", path)
    require_ids(table, "PatientID", path)
    for column in ("PatientAge", "PatientSex_DICOM"):
        if column not in table:
            table[column] = ""
    for column in ("ImageID", "PatientID", "split"):
        table[column] = table[column].str.strip()
    for column in ("PatientID", "split"):
        differ = table.groupby("ImageID")[column].nunique() > 1
        if differ.any():
            raise DataError(f"{path}: image '{differ.index[differ][0]}' has two values of {column}.")
    return table.drop_duplicates("ImageID").set_index("ImageID")


def _regions(
    root: Path, studies: list[dict[str, Any]], places: list[str], card: Card, path: Path
) -> pd.DataFrame:
    rows = []
    for study, place in zip(studies, places, strict=True):
        boxed = [f for f in study["findings"] if f["boxes"]]
        if not boxed:
            continue
        height, width = image_size(root / place)
        for finding in boxed:
            named = [card.aliases.get(label, label) for label in finding["labels"]]
            name = next((n for n in named if n in card.concepts), OTHER)
            if not finding["sentence_en"]:
                raise DataError(f"{path}: image '{study['ImageID']}': boxes without a sentence. {FETCH}")
            for x1, y1, x2, y2 in finding["boxes"]:
                box = (x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height)
                rows.append((study["ImageID"], name, "box", *box, None, finding["sentence_en"]))
    return pd.DataFrame(rows, columns=list(REGION_COLUMNS))
