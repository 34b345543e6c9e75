"""CXR-Align: a report, the same with one of its findings denied, and the same without that finding.

    cxr-align.json                {"mimic": {<dicom_id>: {report, negation, omitted, chosen, …}}}
    [mimic-cxr-jpg/]files/p1x/…   images of MIMIC-CXR-JPG, put or linked there

The manifest holds the three reports in columns `report`, `report_negated` and `report_omitted`. The class of
the chosen finding is positive and nothing is said of the others; names the card does not know are counted.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from benchmark.core.errors import DataError
from benchmark.core.guard import parsing, read_text
from benchmark.core.tables import Manifest
from benchmark.data.cards import Card
from benchmark.data.readers import READERS
from benchmark.data.readers.common import FETCH, Log, is_text, manifest
from benchmark.data.readers.files import find_one, image_index, relative, require_root
from benchmark.data.readers.mimic_tree import INSIDE, image_tree, views

KEYS = {"report": "report", "report_negated": "negation", "report_omitted": "omitted"}
"""Column → key of the file."""
GROUP = "mimic"


@READERS.register("cxr_align")
def read(root: Path, card: Card) -> Manifest:
    """Raises DataError for missing files and keys, a blank statement, and an image outside of the tree."""
    root = require_root(root, card)
    log = Log()
    path = find_one(root, ["cxr-align.json"], card, "statements", 2)
    log.files["statements"] = relative(path, root)
    cases = _cases(path)
    tree = relative(image_tree(root, card), root)
    stems = {PurePosixPath(name).stem: places[0] for name, places in image_index(root).items()}
    inside = {n: INSIDE.search(p) for n, p in stems.items() if n in cases and p.startswith(tree.lstrip("."))}
    here = [name for name in cases if inside.get(name) is not None]
    log.drop("image file is absent", [name for name in cases if name not in here])
    if not here:
        raise DataError(f"{root}: none of the {len(cases):,} images of {path.name} is here. {card.access}")
    ids = [found.groups() for name in here if (found := inside[name]) is not None]
    names = pd.Series(here, dtype=str)
    meta = pd.DataFrame(
        {
            "image_id": names,
            "path": [stems[name] for name in here],
            "patient_id": [patient for patient, *_ in ids],
            "study_id": [study for _, study, _ in ids],
            "view": views(root, names, card, log),
            "split": "test",
            "report": [cases[name]["report"] for name in here],
        }
    )
    known = {name.lower(): name for name in card.classes} | {a.lower(): c for a, c in card.aliases.items()}
    chosen = [known.get(cases[name]["chosen"].lower()) for name in here]
    for name, label in zip(here, chosen, strict=True):
        if label is None:
            log.labels.unknown[cases[name]["chosen"]] += 1
    log.labels.met = len(chosen)
    labels: dict[str, Any] = {
        name: pd.array([1 if label == name else None for label in chosen], dtype="Int8")
        for name in card.classes
    }
    result = manifest(root, card, meta, labels, log, table=path)
    own = result.frame["image_id"]
    for column in list(KEYS)[1:]:
        result.frame[column] = own.map(lambda n, c=column: cases[n][c]).astype("string")
    return result


def _cases(path: Path) -> dict[str, dict[str, str]]:
    """dicom_id → the three reports and the name of the chosen finding."""
    text = read_text(path, "a file of statements")
    with parsing(path, "valid JSON", FETCH):
        value = json.loads(text)
    group = value.get(GROUP) if isinstance(value, dict) else None
    if not isinstance(group, dict) or not group:
        raise DataError(f"{path}: expected an object with the cases under '{GROUP}'. {FETCH}")
    out = {}
    for number, (name, case) in enumerate(group.items(), 1):
        where = f"{path}: case {number}"
        if not isinstance(case, dict):
            raise DataError(f"{where}: expected an object with {', '.join((*KEYS.values(), 'chosen'))}.")
        found = {column: case.get(key) for column, key in (*KEYS.items(), ("chosen", "chosen"))}
        for column, said in found.items():
            if not is_text(said) or not str(said).strip():
                raise DataError(f"{where}: '{KEYS.get(column, column)}' is missing or blank. {FETCH}")
        out[str(name).removesuffix(".jpg")] = {column: str(said).strip() for column, said in found.items()}
    return out
