"""SIIM-ACR Pneumothorax Segmentation: DICOM files and relative run lengths.

    dicom-images-train/<study>/<series>/<image>.dcm
    train-rle.csv                                     ImageId, EncodedPixels

The name of the second column begins with a space, and so may its values; `-1` is a negative. One row is one
mask: the masks of an image are united. Run lengths are in a space of 1,024 x 1,024 pixels; a mask is scaled
(nearest pixel) to the file that is there. View, sex and age come from the DICOM headers. An optional list
of names in `radzero_test_list.txt` becomes `list:radzero`.
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
from benchmark.data.masks import bounding_box, decode_relative, encode_mask, relative_runs
from benchmark.data.readers import READERS
from benchmark.data.readers.common import Log, manifest, patient_split, read_csv, require_names
from benchmark.data.readers.files import by_stem, find_one, image_index, only, relative, require_root
from benchmark.data.readers.nih_dicom import SHARES, SPACE, headers, name_list


@READERS.register("siim_pneumothorax")
def read(root: Path, card: Card) -> Manifest:
    """Raises DataError for missing files and columns, malformed runs, and an image both with and without."""
    root = require_root(root, card)
    log = Log()
    path = find_one(root, ["train-rle.csv", "stage_2_train.csv"], card, "run-length table", 2)
    log.files["labels"] = relative(path, root)
    table = read_csv(path, ("ImageId", "EncodedPixels"))
    require_names(table, "ImageId", path)
    table["ImageId"] = table["ImageId"].str.strip()
    runs = table["EncodedPixels"] = table["EncodedPixels"].str.strip()
    if (runs == "").any():
        row = int(np.flatnonzero(runs == "")[0])
        raise DataError(f"{path}: row {row + 1}: EncodedPixels is blank; a negative has -1.")
    masks = {str(name): rows.to_list() for name, rows in runs.groupby(table["ImageId"], sort=False)}
    for row, text in enumerate(runs, 1):
        try:
            relative_runs(text, SPACE * SPACE)
        except DataError as error:
            raise DataError(f"{path}: row {row}: {error} Use the official file.") from None
    for name, texts in masks.items():
        if "-1" in texts and len(set(texts)) > 1:
            raise DataError(f"{path}: image '{name}' has a mask and -1. Use the official file.")
    log.see("several masks, united", [name for name, texts in masks.items() if len(texts) > 1])

    places = by_stem(image_index(root, (".dcm",)))
    absent = [name for name in masks if name not in places]
    log.drop("image file is absent", absent)
    log.see("image file without a label row", [name for name in places if name not in masks])
    names = [name for name in masks if name in places]
    if not names:
        raise DataError(f"{root}: none of the images of {path.name} is here. Expected {absent[0]}.dcm.")
    paths = [only(root, name, places[name]) for name in names]
    about = headers(root, paths, card, log)
    positive = np.array([masks[name] != ["-1"] * len(masks[name]) for name in names])
    labels: dict[str, Any] = {card.classes[0]: positive.astype(np.int8)}
    labels |= name_list(root, "radzero_test_list.txt", names, log)
    meta = pd.DataFrame(
        {
            "image_id": names,
            "path": paths,
            "study_id": [Path(p).parts[-3] if len(Path(p).parts) > 2 else None for p in paths],
            "split": patient_split(names, SHARES, card.name),
            "view": about["view"],
            "sex": about["sex"],
            "age": about["age"],
        }
    )
    log.note("no official split: train, validate and test by a hash of the image name, 70/15/15")
    result = manifest(root, card, meta, labels, log, table=path)
    regions = []
    for name, size, has in zip(names, about["size"], positive, strict=True):
        if has:
            regions.append(_region(name, masks[name], size, card, path))
    frame = pd.DataFrame(regions, columns=list(REGION_COLUMNS))
    return replace(result, regions=frame, info=result.info.counted(masks=len(frame)))


def _region(name: str, texts: list[str], size: tuple[int, int], card: Card, path: Path) -> tuple[Any, ...]:
    mask = decode_relative(texts, SPACE, SPACE)
    if not mask.any():
        raise DataError(f"{path}: image '{name}' has an empty mask; a negative has -1.")
    height, width = size
    if size != (SPACE, SPACE):
        rows = (np.arange(height) * SPACE + SPACE // 2) // height
        columns = (np.arange(width) * SPACE + SPACE // 2) // width
        smaller = mask[np.minimum(rows, SPACE - 1)][:, np.minimum(columns, SPACE - 1)]
        if not smaller.any():
            y, x = (int(v[0]) for v in np.nonzero(mask))
            smaller[min(y * height // SPACE, height - 1), min(x * width // SPACE, width - 1)] = True
        mask = smaller
    return (name, card.classes[0], "mask", *map(float, bounding_box(mask)), encode_mask(mask), None)
