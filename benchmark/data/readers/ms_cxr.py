"""MS-CXR: phrases with boxes on MIMIC-CXR-JPG images.

    MS_CXR_Local_Alignment_v*.csv     dicom_id, category_name, label_text, path, x, y, w, h,
                                      image_width, image_height[, split]
    [mimic-cxr-jpg/]files/p1x/…       images of MIMIC-CXR-JPG, put or linked there

One row is one box; a phrase may have several. A class is positive where a phrase of it is annotated and not
mentioned elsewhere: absence was never annotated. Boxes are in pixels of the size that the row names and are
scaled to the file that is there. The split is the dataset's own, not that of MIMIC-CXR.
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
from benchmark.data.readers.common import Log, manifest, read_csv, require_ids
from benchmark.data.readers.files import find, relative, require_root
from benchmark.data.readers.mimic_tree import INSIDE, image_tree, located, views

BOX = ("x", "y", "w", "h")
COLUMNS = ("dicom_id", "category_name", "label_text", "path", *BOX, "image_width", "image_height")
SPLITS = {"val": "validate", "valid": "validate"}


@READERS.register("ms_cxr")
def read(root: Path, card: Card) -> Manifest:
    """Raises DataError for missing files and columns, unknown categories, boxes outside of their image."""
    root = require_root(root, card)
    log = Log()
    found = find(root, ["MS_CXR_Local_Alignment_v*.csv"], 2)
    if not found:
        raise DataError(f"{root}: no MS_CXR_Local_Alignment_v*.csv. Check --data-root; {card.access}")
    path = max(found, key=lambda p: _version(p.name))
    if len(found) > 1:
        log.note(f"{len(found)} releases of the table are here; {path.name} was read")
    log.files["phrases"] = relative(path, root)
    table = read_csv(path, COLUMNS, ("split",))
    require_ids(table, "dicom_id", path)
    for column in ("dicom_id", "category_name", "label_text", "path"):
        table[column] = table[column].str.strip()
    table["category_name"] = table["category_name"].map(lambda c: card.aliases.get(c, c))
    _check_categories(table, card, path)
    numbers = _numbers(table, path)

    tree = image_tree(root, card)
    images = table.drop_duplicates("dicom_id").reset_index(drop=True)
    places = [
        located(root, tree, p, f"{path}: image '{name}'", name)
        for p, name in zip(images["path"], images["dicom_id"], strict=True)
    ]
    _one_image(table, path)
    log.drop("image file is absent", images["dicom_id"][[p is None for p in places]])
    images["place"] = pd.Series(places, index=images.index, dtype=object)
    images = images[images["place"].notna()].reset_index(drop=True)
    if images.empty:
        raise DataError(f"{tree}/files: none of the images of {path.name} is here.")

    ids = [INSIDE.search(p) for p in images["place"]]
    if "split" in table:
        split = images["split"].str.strip().map(lambda s: SPLITS.get(s, s) or None)
    else:
        split = pd.Series([None] * len(images), dtype=object)
        log.note("this release of the table has no split")
    meta = pd.DataFrame(
        {
            "image_id": images["dicom_id"],
            "path": images["place"],
            "patient_id": [m.group(1) if m else None for m in ids],
            "study_id": [m.group(2) if m else None for m in ids],
            "view": views(root, images["dicom_id"], card, log),
            "split": split,
        }
    )
    labels: dict[str, Any] = {}
    for name in card.classes:
        has = images["dicom_id"].isin(table.loc[table["category_name"] == name, "dicom_id"])
        labels[name] = pd.array([1 if h else None for h in has], dtype="Int8")
    result = manifest(root, card, meta, labels, log, table=path)
    regions = _regions(root, table, numbers, images.set_index("dicom_id")["place"])
    info = result.info.counted(
        boxes=len(regions), phrases=len(regions.drop_duplicates(["image_id", "class", "phrase"]))
    )
    return replace(result, regions=regions, info=info)


def _version(name: str) -> tuple[int, ...]:
    return tuple(int(n) for n in name.split("_v")[-1].removesuffix(".csv").split(".") if n.isdigit())


def _check_categories(table: pd.DataFrame, card: Card, path: Path) -> None:
    for row, (name, phrase) in enumerate(zip(table["category_name"], table["label_text"], strict=True), 1):
        if name not in card.classes:
            raise DataError(f"{path}: row {row}: {UnknownName('category', name, card.classes)}")
        if not phrase:
            raise DataError(f"{path}: row {row}: label_text is blank; every box needs its phrase.")


def _one_image(table: pd.DataFrame, path: Path) -> None:
    """Raises DataError where the rows of an image contradict each other about its file, size or split."""
    for column in ("path", "image_width", "image_height", "split"):
        if column in table:
            values = table.groupby("dicom_id")[column].nunique()
            if (values > 1).any():
                name = values.index[values > 1][0]
                raise DataError(f"{path}: image '{name}' has two values of {column}. Use the official file.")


def _numbers(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Boxes and image sizes as numbers, boxes inside of their image."""
    columns = [*BOX, "image_width", "image_height"]
    numbers = table[columns].apply(pd.to_numeric, errors="coerce")
    sizes = numbers[["image_width", "image_height"]]
    sizes = sizes.where(np.isfinite(sizes) & (sizes > 0))
    wrong = first_wrong(numbers[list(BOX)], *(sizes[c].fillna(-1) for c in sizes))
    if wrong:
        row, what = wrong
        what = "the size of the image is no number" if sizes.iloc[row].isna().any() else f"the box {what}"
        raise DataError(f"{path}: row {row + 1}: {what} ({', '.join(columns)}). Use the official file.")
    return pd.DataFrame(numbers)


def _regions(root: Path, table: pd.DataFrame, numbers: pd.DataFrame, places: pd.Series) -> pd.DataFrame:
    rows = []
    sizes = {name: image_size(root / place) for name, place in places.items()}
    data = pd.concat([table[["dicom_id", "category_name", "label_text"]], numbers], axis=1)
    for name, category, phrase, x, y, w, h, width, height in data.itertuples(index=False):
        if name in sizes:
            sx, sy = sizes[name][1] / width, sizes[name][0] / height
            rows.append((name, category, "box", x * sx, y * sy, w * sx, h * sy, None, phrase))
    return pd.DataFrame(rows, columns=list(REGION_COLUMNS))
