"""RSNA Pneumonia Detection Challenge: DICOM files and one row per box.

    stage_2_train_images/<patientId>.dcm      stage_2_test_images/ (no labels were released)
    stage_2_train_labels.csv                  patientId,x,y,width,height,Target
    stage_2_detailed_class_info.csv           patientId,class (rows repeat per box)

View, sex and age come from the DICOM headers. Boxes are in a space of 1,024 pixels and are scaled to the
file that is there. `patientId` names an image; no key of the patient is published. An optional list of
names in `radzero_test_list.txt` becomes `list:radzero`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.core.errors import DataError
from benchmark.core.tables import REGION_COLUMNS, Manifest
from benchmark.data.cards import Card
from benchmark.data.readers import READERS
from benchmark.data.readers.boxes import first_wrong
from benchmark.data.readers.common import Log, manifest, patient_split, read_csv, require_names
from benchmark.data.readers.files import by_stem, find, find_one, image_index, only, relative, require_root
from benchmark.data.readers.nih_dicom import SHARES, SPACE, headers, name_list

BOX = ("x", "y", "width", "height")


@READERS.register("rsna_pneumonia")
def read(root: Path, card: Card) -> Manifest:
    """Raises DataError for missing files and columns, half-blank boxes and targets that contradict them."""
    root = require_root(root, card)
    log = Log()
    path = find_one(root, ["stage_2_train_labels.csv", "train_labels.csv"], card, "label table", 1)
    log.files["labels"] = relative(path, root)
    table = read_csv(path, ("patientId", *BOX, "Target"))
    require_names(table, "patientId", path)
    table["patientId"] = table["patientId"].str.strip()
    boxes = _boxes(table, path)
    _one_target(table, path)

    names = table["patientId"].drop_duplicates().to_list()
    places = by_stem(image_index(root, (".dcm",)))
    absent = [name for name in names if name not in places]
    log.drop("image file is absent", absent)
    known = set(names)
    unlabelled = {n: "stage_2_test_images" in found[0] for n, found in places.items() if n not in known}
    log.see("test image of the challenge, unlabelled", [name for name, test in unlabelled.items() if test])
    log.see("image file without a label row", [name for name, test in unlabelled.items() if not test])
    names = [name for name in names if name in places]
    if not names:
        raise DataError(f"{root}: none of the images of {path.name} is here. Expected {absent[0]}.dcm.")
    _details(root, table, card, log)

    paths = [only(root, name, places[name]) for name in names]
    about = headers(root, paths, card, log)
    positive = set(table.loc[table["Target"] == "1", "patientId"])
    labels: dict[str, Any] = {card.classes[0]: np.array([name in positive for name in names], dtype=np.int8)}
    labels |= name_list(root, "radzero_test_list.txt", names, log)
    meta = pd.DataFrame(
        {
            "image_id": names,
            "path": paths,
            "study_id": names,
            "split": patient_split(names, SHARES, card.name),
            "view": about["view"],
            "sex": about["sex"],
            "age": about["age"],
        }
    )
    log.note("no official split: train, validate and test by a hash of the image name, 70/15/15")
    result = manifest(root, card, meta, labels, log, table=path)
    regions = _regions(boxes, dict(zip(names, about["size"], strict=True)), card)
    return replace(result, regions=regions, info=result.info.counted(boxes=len(regions)))


def _boxes(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Rows with a box as numbers."""
    target = table["Target"] = table["Target"].str.strip()
    blank = (table[list(BOX)].apply(lambda c: c.str.strip()) == "").sum(axis=1)
    for wrong, what in (
        (~target.isin(["0", "1"]), "Target is not 0 or 1"),
        (~blank.isin([0, 4]), "the box is half blank"),
        ((target == "1") & (blank > 0), "Target is 1 without a box"),
        ((target == "0") & (blank == 0), "Target is 0 with a box"),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            held = ",".join(table.iloc[row].astype(str))
            raise DataError(f"{path}: row {row + 1}: {what} ({held[:80]}). Use the official file.")
    boxes = table[blank == 0].copy()
    numbers = boxes[list(BOX)].apply(pd.to_numeric, errors="coerce")
    wrong = first_wrong(numbers, SPACE, SPACE)
    if wrong:
        raise DataError(
            f"{path}: row {int(boxes.index[wrong[0]]) + 1}: the box {wrong[1]}; expected {', '.join(BOX)} in "
            f"{SPACE} x {SPACE} pixels. Use the official file."
        )
    boxes[list(BOX)] = numbers
    return pd.DataFrame(boxes)


def _one_target(table: pd.DataFrame, path: Path) -> None:
    targets = table.groupby("patientId")["Target"].nunique()
    if (targets > 1).any():
        raise DataError(
            f"{path}: '{targets.index[targets > 1][0]}' has Target 0 and 1. Use the official file."
        )


def _details(root: Path, table: pd.DataFrame, card: Card, log: Log) -> None:
    """Count the classes of the detail file, whose rows repeat per box, and what contradicts Target."""
    found = find(root, ["stage_2_detailed_class_info.csv"], 1)
    if not found:
        return
    details = read_csv(found[0], ("patientId", "class")).drop_duplicates(["patientId", "class"])
    log.files["classes"] = relative(found[0], root)
    repeated = details["patientId"].duplicated()
    if repeated.any():
        raise DataError(f"{found[0]}: '{details['patientId'][repeated].iloc[0]}' has two classes.")
    for name, count in details["class"].str.strip().value_counts().items():
        log.lists[str(name)] = {"listed": int(count), "found": int(count)}
    positive = set(table.loc[table["Target"] == "1", "patientId"])
    opaque = details["class"].str.strip() == "Lung Opacity"
    log.see(
        "detailed class contradicts Target",
        details.loc[opaque != details["patientId"].isin(positive), "patientId"],
    )
    unlisted = set(table["patientId"]) - set(details["patientId"])
    log.see("image without a detailed class", sorted(unlisted))


def _regions(boxes: pd.DataFrame, sizes: dict[str, tuple[int, int]], card: Card) -> pd.DataFrame:
    rows = []
    for name, x, y, w, h in boxes[["patientId", *BOX]].itertuples(index=False):
        if name in sizes:
            height, width = sizes[name]
            sx, sy = width / SPACE, height / SPACE
            rows.append((name, card.classes[0], "box", x * sx, y * sy, w * sx, h * sy, None, None))
    return pd.DataFrame(rows, columns=list(REGION_COLUMNS))
