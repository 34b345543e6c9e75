"""VinDr-CXR: DICOM files, three readers on the training part, a consensus on the test part.

    train/<image_id>.dicom, test/<image_id>.dicom
    annotations/image_labels_{train,test}.csv       image_id, [rad_id,] 28 columns of 0 or 1
    annotations/annotations_{train,test}.csv        image_id, rad_id, class_name, x_min, y_min, x_max, y_max

Class columns hold the vote of more than half of an image's readers; `<class>@any` holds 1 where any reader
said so. On the test part, one consensus row an image, the two are equal. `Other disease` is `Other
diseases`. Regions are the boxes of all readers, in pixels of the original image; `No finding` has none.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.core.errors import DataError, UnknownName
from benchmark.core.tables import REGION_COLUMNS, Manifest
from benchmark.data.cards import Card
from benchmark.data.pixels import image_size
from benchmark.data.readers import READERS
from benchmark.data.readers.boxes import first_wrong
from benchmark.data.readers.common import Log, manifest, read_csv, require_names, zeros_and_ones
from benchmark.data.readers.files import by_stem, find, image_index, listing_of, only, relative, require_root

PARTS = ("train", "test")
CORNERS = ("x_min", "y_min", "x_max", "y_max")
READERS_IN_TRAIN = 3


@READERS.register("vindr_cxr")
def read(root: Path, card: Card) -> Manifest:
    """Raises DataError for missing files and columns, repeated readings, boxes of unknown classes and boxes
    outside of their image."""
    root = require_root(root, card)
    log = Log()
    places = by_stem(image_index(root, (".dicom", ".dcm", ".png", ".jpg")))
    votes: list[pd.DataFrame] = []
    boxes: list[pd.DataFrame] = []
    tables: list[Path] = []
    for part in PARTS:
        labels = find(root, [f"image_labels_{part}.csv"], 2)
        if not labels:
            log.note(f"no image_labels_{part}.csv: the {part} part is not here")
            continue
        tables.append(labels[0])
        log.files[f"{part} labels"] = relative(labels[0], root)
        votes.append(_votes(labels[0], part, card, log))
        annotations = find(root, [f"annotations_{part}.csv"], 2)
        if annotations:
            log.files[f"{part} boxes"] = relative(annotations[0], root)
            boxes.append(_boxes(annotations[0], card))
    if not votes:
        raise DataError(f"{root}: no image_labels_train.csv and no image_labels_test.csv. {card.access}")
    frame = pd.concat(votes, ignore_index=True)
    frame["path"] = [
        _place(name, places.get(name, []), part, root)
        for name, part in zip(frame["image_id"], frame["split"], strict=True)
    ]
    absent = frame["path"].isna()
    log.drop("image file is absent", frame.loc[absent, "image_id"])
    known = set(frame["image_id"])
    log.see("image file without a label row", [name for name in places if name not in known])
    frame = frame[~absent].reset_index(drop=True)
    log.note("class columns: more than half of an image's readers; <class>@any: at least one of them")

    labelled: dict[str, Any] = {}
    for name in card.classes:
        labelled[name] = (frame[name] * 2 > frame["readers"]).astype("int8")
        labelled[f"{name}@any"] = (frame[name] > 0).astype("int8")
    counts = frame[list(card.classes)].to_numpy()
    disputed = (counts > 0) & (counts < frame[["readers"]].to_numpy())
    log.see("readers disagree", frame["image_id"][np.flatnonzero(disputed.any(axis=1))])
    regions = _regions(boxes, dict(zip(frame["image_id"], frame["path"], strict=True)), root)
    if boxes:
        log.lists["boxes"] = {"listed": sum(map(len, boxes)), "found": len(regions)}
    result = manifest(root, card, frame[["image_id", "path", "split"]], labelled, log, table=tables[0])
    return replace(result, regions=regions, info=result.info.counted(boxes=len(regions)))


def _votes(path: Path, part: str, card: Card, log: Log) -> pd.DataFrame:
    """One row an image: positive votes a class, and the number of readers."""
    table = read_csv(path, ("image_id",))
    require_names(table, "image_id", path)
    table["image_id"] = table["image_id"].str.strip()
    table = table.rename(columns={c: _class(c, card) or c for c in table.columns})
    missing = [c for c in card.classes if c not in table]
    if missing:
        raise DataError(f"{path}:1: {UnknownName('class column', missing[0], table.columns)}")
    extra = [c for c in table.columns if c not in {*card.classes, "image_id"} and c.lower() != "rad_id"]
    log.labels.unknown.update(extra)
    reader = next((c for c in table.columns if c.lower() == "rad_id"), None)
    keys = ["image_id"] + ([reader] if reader else [])
    repeated = table.duplicated(keys)
    if repeated.any():
        row = int(np.flatnonzero(repeated)[0])
        raise DataError(
            f"{path}: row {row + 1}: {', '.join(str(table[k].iloc[row]) for k in keys)} occurs twice."
        )
    values = zeros_and_ones(table, {c: c for c in card.classes}, path)
    grouped = values.astype("int64").groupby(table["image_id"], sort=False)
    out = grouped.sum().assign(readers=grouped.size(), split=part).reset_index()
    expected = READERS_IN_TRAIN if part == "train" else 1
    log.see(f"not {expected} reading(s) in the {part} part", out.loc[out["readers"] != expected, "image_id"])
    return out


def _class(column: str, card: Card) -> str | None:
    """The class of a column or a box: its name, whatever the case, or an alias."""
    folded = {c.casefold(): c for c in card.classes} | {a.casefold(): c for a, c in card.aliases.items()}
    return folded.get(column.strip().casefold())


def _boxes(path: Path, card: Card) -> pd.DataFrame:
    table = read_csv(path, ("image_id", "class_name", *CORNERS))
    require_names(table, "image_id", path)
    text = table[list(CORNERS)].apply(lambda c: c.str.strip())
    blank = (text == "").sum(axis=1)
    names = table["class_name"].map(lambda c: _class(c, card))
    for row in np.flatnonzero(names.isna()):
        name = table["class_name"].iloc[row]
        raise DataError(f"{path}: row {row + 1}: {UnknownName('class', name, card.classes)}")
    numbers = text.apply(pd.to_numeric, errors="coerce")
    told = {
        "image_id": table["image_id"].str.strip(),
        "name": names,
        "where": str(path),
        "row": table.index + 1,
    }
    given = pd.DataFrame(numbers.assign(**told)[blank < 4])
    x1, y1, x2, y2 = (given[c] for c in CORNERS)
    wrong = first_wrong(np.stack([x1, y1, x2 - x1, y2 - y1], axis=1))
    if wrong:
        row, what = given["row"].iloc[wrong[0]], wrong[1]
        raise DataError(f"{path}: row {row}: the box {what}; expected {', '.join(CORNERS)}.")
    return given


def _place(name: str, found: list[str], part: str, root: Path) -> str | None:
    if len(found) > 1:
        found = [path for path in found if part in path.split("/")[:-1]] or found
    return only(root, name, found) if found else None


def _regions(boxes: list[pd.DataFrame], places: dict[str, str], root: Path) -> pd.DataFrame:
    """Boxes of the images that are here, image → path. Raises DataError for one that does not fit into its
    image, as those of the originals do not fit into smaller copies. A listing has no sizes."""
    if not boxes:
        return pd.DataFrame(columns=list(REGION_COLUMNS))
    table = pd.concat(boxes, ignore_index=True)
    table = table[table["image_id"].isin(list(places))]
    x, y = table["x_min"], table["y_min"]
    w, h = table["x_max"] - x, table["y_max"] - y
    if listing_of(root) is None:
        sizes = {name: image_size(root / places[name]) for name in table["image_id"].unique()}
        height, width = np.array([sizes[name] for name in table["image_id"]]).reshape(-1, 2).T
        wrong = first_wrong(np.stack([x, y, w, h], axis=1), width, height)
        if wrong:
            at, what = wrong
            raise DataError(
                f"{table['where'].iloc[at]}: row {table['row'].iloc[at]}: the box {what}, {width[at]} x "
                f"{height[at]} pixels. Boxes are in pixels of the official files; give those, no copies."
            )
    parts = {
        "image_id": table["image_id"],
        "class": table["name"],
        "kind": "box",
        "x": x,
        "y": y,
        "w": w,
        "h": h,
    }
    return pd.DataFrame(parts | {"rle": None, "phrase": None}).reset_index(drop=True)
