"""ChestX-Det10: one JSON list per split, one box per named finding.

    train.json, test.json       [{"file_name": …, "syms": [name per box], "boxes": [[x1, y1, x2, y2], …]}]
    train_data/*.png, test_data/*.png

Boxes are corners in a space of 1,024 pixels; regions are scaled to the pixels of the file that is there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.core.errors import DataError, UnknownName
from benchmark.core.files import read_json
from benchmark.core.tables import REGION_COLUMNS, Manifest
from benchmark.data.cards import Card
from benchmark.data.pixels import image_size
from benchmark.data.readers import READERS
from benchmark.data.readers.common import Log, manifest
from benchmark.data.readers.files import below, find, image_index, only, relative, require_root

FILES = {"train": ("train.json", "ChestX_Det_train.json"), "test": ("test.json", "ChestX_Det_test.json")}
SPACE = 1024


@READERS.register("chestxdet10")
def read(root: Path, card: Card) -> Manifest:
    """Raises DataError for entries of another form, unknown findings and names in both splits."""
    root = require_root(root, card)
    log = Log()
    index = image_index(root, (".png",))
    entries: list[dict[str, Any]] = []
    sources: dict[str, Path] = {}
    for split, names in FILES.items():
        found = find(root, names, 2)
        if not found:
            log.note(f"no {names[0]}: the {split} part is not here")
            continue
        path = sources[split] = found[0]
        log.files[split] = relative(path, root)
        entries += [_entry(item, path, n, split, card) for n, item in enumerate(_list(path), 1)]
    if not sources:
        raise DataError(f"{root}: no test.json and no train.json. Check --data-root; {card.access}")
    table = sources.get("test") or sources["train"]

    for entry in entries:
        entry["path"] = _path(root, entry, index)
    known = {entry["name"] for entry in entries}
    log.see("image file without an entry", [name for name in index if name not in known])
    log.see("no finding", [e["name"] for e in entries if not e["syms"]])
    log.drop("image file is absent", [e["name"] for e in entries if e["path"] is None])
    entries = [e for e in entries if e["path"] is not None]

    column = {name: i for i, name in enumerate(card.classes)}
    matrix = np.zeros((len(entries), len(column)), dtype=np.int8)
    boxes: list[tuple[Any, ...]] = []
    for row, entry in enumerate(entries):
        if entry["syms"]:
            height, width = image_size(root / entry["path"])
            scale = np.array([width, height, width, height]) / SPACE
        for name, box in zip(entry["syms"], entry["boxes"], strict=True):
            matrix[row, column[name]] = 1
            x1, y1, x2, y2 = (np.asarray(box, dtype=float) * scale).tolist()
            boxes.append((entry["name"], name, "box", x1, y1, x2 - x1, y2 - y1, None, None))
    meta = pd.DataFrame(
        {
            "image_id": [e["name"] for e in entries],
            "path": [e["path"] for e in entries],
            "split": [e["split"] for e in entries],
        },
        dtype=object,
    )
    result = manifest(root, card, meta, {c: matrix[:, i] for c, i in column.items()}, log, table=table)
    regions = pd.DataFrame(boxes, columns=list(REGION_COLUMNS))
    return replace(result, regions=regions, info=result.info.counted(boxes=len(boxes)))


def _list(path: Path) -> list[Any]:
    value = read_json(path)
    if not isinstance(value, list):
        raise DataError(f"{path}: expected a list of entries. Use the official file.")
    return value


def _entry(item: Any, path: Path, number: int, split: str, card: Card) -> dict[str, Any]:
    where = f"{path}: entry {number}"
    if not isinstance(item, dict) or not {"file_name", "syms", "boxes"} <= set(item):
        raise DataError(f"{where}: expected `file_name`, `syms` and `boxes`. Use the official file.")
    name, syms, boxes = str(item["file_name"]), item["syms"], item["boxes"]
    if not isinstance(syms, list) or not isinstance(boxes, list):
        raise DataError(f"{where} ({name}): `syms` and `boxes` are not two lists. Use the official file.")
    if len(syms) != len(boxes):
        raise DataError(f"{where} ({name}): {len(syms)} findings for {len(boxes)} boxes.")
    below(path.parent, name, where)
    syms = [card.aliases.get(str(s).strip(), str(s).strip()) for s in syms]
    for sym in syms:
        if sym not in card.classes:
            raise DataError(f"{where} ({name}): {UnknownName('finding', sym, card.classes)}")
    for box in boxes:
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(v, (int, float)) for v in box):
            raise DataError(f"{where} ({name}): box {box}; expected four numbers x1, y1, x2, y2.")
        if not (0 <= box[0] <= box[2] <= SPACE and 0 <= box[1] <= box[3] <= SPACE):
            raise DataError(f"{where} ({name}): box {box} is not x1, y1, x2, y2 within {SPACE} pixels.")
    return {"name": name, "syms": syms, "boxes": boxes, "split": split}


def _path(root: Path, entry: dict[str, Any], index: dict[str, list[str]]) -> str | None:
    """The file of that name, in the folder of its split where several folders have one."""
    found = index.get(entry["name"], [])
    if len(found) > 1:
        found = [path for path in found if entry["split"] in path.split("/")[-2]] or found
    return only(root, entry["name"], found) if found else None
