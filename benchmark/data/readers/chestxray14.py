"""ChestX-ray14 (NIH): Data_Entry, image lists, boxes, images in one or many folders.

    Data_Entry_2017_v2020.csv | Data_Entry_2017.csv
    BBox_List_2017.csv
    train_val_list.txt, test_list.txt      image names (NIH)
    *test_list*.txt                        path and 14 zeros or ones (the CheXNet list that CARZero uses)
    images_001/images/NAME.png | images_001/NAME.png | images/NAME.png

Both test lists are often called `test_list.txt`; they are told apart by content and may lie in subfolders.
An image of either list is `test`; the other patients are split into train and validate by a hash of the
patient id (or after `train_val_list.txt`). Class columns hold the labels of the CheXNet list where it lists
the image, else those of Data_Entry; `<class>@table` always holds Data_Entry's. `list:carzero` and
`list:nih` tell membership.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from benchmark.core.cells import blanks, tallied
from benchmark.core.errors import DataError
from benchmark.core.guard import parsing, read_text
from benchmark.core.tables import REGION_COLUMNS, Manifest
from benchmark.data.cards import Card
from benchmark.data.readers import READERS
from benchmark.data.readers.boxes import first_wrong
from benchmark.data.readers.common import (
    FETCH,
    Log,
    csv_rows,
    manifest,
    name_lists,
    normal_views,
    patient_split,
    read_csv,
    require_ids,
)
from benchmark.data.readers.files import below, find, find_one, image_index, only, relative, require_root
from benchmark.data.readers.people import ages, sexes

TABLE = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
COLUMNS = (
    "Image Index",
    "Finding Labels",
    "Follow-up #",
    "Patient ID",
    "Patient Age",
    "Patient Gender",
    "View Position",
)
SPLIT_SHARES = {"train": 0.9, "validate": 0.1}
SPLIT_SALT = "chestxray14"
LABELS_IN_LIST = 14
BOX_SPACE = 1024
"""Boxes are in pixels of the 1,024-pixel original, whatever the size of the copy."""


@READERS.register("chestxray14")
def read(root: Path, card: Card) -> Manifest:
    """Raises DataError for missing files and columns, repeated images and malformed lists."""
    root = require_root(root, card)
    log = Log()
    path = find_one(root, TABLE, card, "Data_Entry table", 1)
    log.files["table"] = relative(path, root)
    frame = read_csv(path, COLUMNS, ())
    frame["Image Index"] = frame["Image Index"].str.strip()
    frame["number"] = np.arange(1, len(frame) + 1)
    _check_names(frame, path)
    index = image_index(root, (".png",))
    frame["path"] = _paths(root, frame["Image Index"], index)
    absent = frame["path"].isna()
    log.drop("image file is absent", frame.loc[absent, "Image Index"])
    known = set(frame["Image Index"])
    log.see("image file without a row in the table", [n for n in index if n not in known])
    frame = frame[~absent].reset_index(drop=True)
    here = frame["Image Index"]

    unsaid = blanks(frame["Finding Labels"])
    if unsaid.any():
        row = frame["number"].iloc[int(np.flatnonzero(unsaid)[0])]
        raise DataError(
            f"{path}: row {row}: Finding Labels is blank, which is no negative; that is 'No Finding'. {FETCH}"
        )
    terms = name_lists(frame["Finding Labels"], "Finding Labels", path, separator="|", rows=frame["number"])
    log.see(
        "'No Finding' beside a finding, which counts",
        here[[len(names) > 1 and not set(card.removed).isdisjoint(names) for names in terms]],
    )
    table_matrix, log.labels = tallied(terms, card.classes, card.aliases, card.removed)
    carzero, nih, train_val = _lists(root, card, log)
    matrix = table_matrix.copy()
    columns: dict[str, object] = {}
    member = np.zeros(len(frame), dtype=bool)
    if carzero is not None:
        listed = here.isin(list(carzero)).to_numpy()
        member |= listed
        for row in np.flatnonzero(listed):
            matrix[row] = carzero[here.iloc[row]]
        differ = listed & (matrix != table_matrix).any(axis=1)
        log.see("labels of the CheXNet list differ from Data_Entry", here[differ])
        log.lists["carzero"] = {"listed": len(carzero), "found": int(listed.sum())}
        columns["list:carzero"] = listed
    if nih is not None:
        listed = here.isin(list(nih)).to_numpy()
        member |= listed
        log.lists["nih"] = {"listed": len(nih), "found": int(listed.sum())}
        columns["list:nih"] = listed
    labels: dict[str, object] = {name: matrix[:, i] for i, name in enumerate(card.classes)}
    labels |= {f"{name}@table": table_matrix[:, i] for i, name in enumerate(card.classes)}

    age = ages(frame["Patient Age"].set_axis(here), log).set_axis(here.index)
    patient = here.str[:8]
    meta = pd.DataFrame(
        {
            "image_id": here,
            "path": frame["path"],
            "patient_id": patient,
            "study_id": here.str.rsplit(".", n=1).str[0],
            "view": normal_views(frame["View Position"].set_axis(here), card, log).to_numpy(),
            "split": _split(patient, here, member, train_val, log),
            "sex": sexes(frame["Patient Gender"].set_axis(here), log).to_numpy(),
            "age": age,
        }
    )
    regions = _boxes(root, card, set(here), log)
    result = manifest(root, card, meta, labels | columns, log, table=path)
    info = result.info.model_copy(update={"box_space": (BOX_SPACE, BOX_SPACE)})
    return replace(result, regions=regions, info=info)


def _check_names(frame: pd.DataFrame, path: Path) -> None:
    require_ids(frame, "Image Index", path)
    names = frame["Image Index"]
    good = names.str.fullmatch(r"\d{8}_\d{3}\.png")
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        raise DataError(
            f"{path}: row {row + 1}: Image Index '{names.iloc[row]}' is not like 00000001_000.png."
        )
    repeated = names.duplicated()
    if repeated.any():
        row = int(np.flatnonzero(repeated)[0])
        raise DataError(f"{path}: row {row + 1}: image '{names.iloc[row]}' occurs twice.")
    number = pd.to_numeric(frame["Patient ID"], errors="coerce")
    differ = number != names.str[:8].astype(int)
    if differ.any():
        row = int(np.flatnonzero(differ)[0])
        raise DataError(
            f"{path}: row {row + 1}: Patient ID '{frame['Patient ID'].iloc[row]}' is not that of image "
            f"'{names.iloc[row]}'. Columns seem to be shifted; fetch the file again."
        )


def _paths(root: Path, names: pd.Series, index: dict[str, list[str]]) -> list[str | None]:
    return [only(root, name, index[name]) if name in index else None for name in names]


def _lists(
    root: Path, card: Card, log: Log
) -> tuple[dict[str, np.ndarray] | None, set[str] | None, set[str] | None]:
    """CheXNet list (name → labels), NIH test names, NIH train and validation names."""
    carzero: dict[str, np.ndarray] | None = None
    nih: set[str] | None = None
    for path in find(root, ["*test_list*.txt"], 1):
        lines = _lines(path)
        where = relative(path, root)
        if lines and len(lines[0].split()) > 1:
            if carzero is not None:
                raise DataError(
                    f"{path}: a second test list with labels, beside {log.files['carzero list']}. Keep one."
                )
            carzero = _labelled(path, lines)
            log.files["carzero list"] = where
        else:
            if nih is not None:
                raise DataError(
                    f"{path}: a second test list of names, beside {log.files['nih test list']}. Keep one."
                )
            nih = _names(path, lines)
            log.files["nih test list"] = where
    train_val = None
    for path in find(root, ["train_val_list.txt"], 1)[:1]:
        train_val = _names(path, _lines(path))
        log.files["nih train and validation list"] = relative(path, root)
    return carzero, nih, train_val


def _lines(path: Path) -> list[str]:
    lines = [line.strip() for line in read_text(path, "a list of images").splitlines()]
    if not any(lines):
        raise DataError(f"{path}: the list is empty. Fetch it again, or remove it.")
    return [line for line in lines if line]


def _names(path: Path, lines: list[str]) -> set[str]:
    for number, line in enumerate(lines, 1):
        if len(line.split()) != 1:
            raise DataError(f"{path}:{number}: expected one image name a line.")
    return {PurePosixPath(line).name for line in lines}


def _labelled(path: Path, lines: list[str]) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    for number, line in enumerate(lines, 1):
        name, *values = line.split()
        if len(values) != LABELS_IN_LIST or not set(values) <= {"0", "1"}:
            raise DataError(f"{path}:{number}: expected a path and {LABELS_IN_LIST} zeros or ones.")
        name = PurePosixPath(name).name
        if name in out:
            raise DataError(f"{path}:{number}: image '{name}' occurs twice.")
        out[name] = np.array(values, dtype=np.int8)
    return out


def _split(
    patient: pd.Series, names: pd.Series, test: np.ndarray, train_val: set[str] | None, log: Log
) -> list[str | None]:
    """test by list, else train and validate by patient; a test patient's other images belong to neither."""
    hashed = patient_split(patient, SPLIT_SHARES, SPLIT_SALT)
    test_patients = set(patient[test])
    if test.any() or train_val is not None:
        log.note(
            "test: the official lists; train and validate: the other patients, "
            f"{SPLIT_SHARES['validate']:.0%} of them for validation by a hash of the patient id"
        )
    else:
        shares = {"train": 0.7, "validate": 0.1, "test": 0.2}
        hashed = patient_split(patient, shares, SPLIT_SALT)
        log.note("no official list is here: train, validate and test by a hash of the patient id, 70/10/20")
    out: list[str | None] = []
    stray = []
    for name, who, is_test, side in zip(names, patient, test, hashed, strict=True):
        if is_test:
            out.append("test")
        elif who in test_patients or (train_val is not None and name not in train_val):
            out.append(None)
            stray.append(name)
        else:
            out.append(side)
    log.see("in no split: unlisted, or of a patient who has test images", stray)
    return out


def _boxes(root: Path, card: Card, here: set[str], log: Log) -> pd.DataFrame | None:
    """Boxes in pixels of the 1,024-pixel original. The header is wider than the rows and is skipped."""
    found = find(root, ["BBox_List_2017.csv"], 1)
    if not found:
        return None
    path = found[0]
    log.files["boxes"] = relative(path, root)
    rows = []
    elsewhere = 0
    for number, fields in enumerate(csv_rows(path), 1):
        if number == 1 or not any(fields):
            continue
        with parsing(f"{path}:{number}", "a row of a name, a finding and four numbers", FETCH):
            name, finding = below(root, fields[0].strip(), f"{path}:{number}"), fields[1].strip()
            x, y, w, h = (float(v) for v in fields[2:6])
        finding = card.aliases.get(finding, finding)
        if finding not in card.classes:
            raise DataError(f"{path}:{number}: unknown finding '{finding}'.")
        wrong = first_wrong([(x, y, w, h)], BOX_SPACE, BOX_SPACE)
        if wrong:
            said = ",".join(fields[2:6])
            raise DataError(
                f"{path}:{number}: the box {said} {wrong[1]}; expected x, y, width and height in "
                f"{BOX_SPACE} x {BOX_SPACE} pixels. {FETCH}"
            )
        if name not in here:
            elsewhere += 1
            continue
        rows.append((name, finding, "box", x, y, w, h, None, None))
    log.lists["boxes"] = {"listed": len(rows) + elsewhere, "found": len(rows)}
    return pd.DataFrame(rows, columns=list(REGION_COLUMNS))
