"""CheXpert: train.csv, valid.csv, test_labels.csv; and the 5x200 subset of the training part.

    CheXpert-v1.0[-small]/{train,valid}.csv        Path, Sex, Age, Frontal/Lateral, AP/PA, 14 labels
    CheXpert-v1.0[-small]/train/patient00001/study1/view1_frontal.jpg
    CheXpert-v1.0 batch 1 (validate & csv)/{train.csv,valid.csv,valid/…}       the full-resolution release
    CheXpert-v1.0 batch 2 (train 1)/patient00001/study1/view1_frontal.jpg
    [CheXpert/]test/patient64741/…                 with test_labels.csv: Path and the 14 labels
    chexpert_5x200.csv                             columns of train.csv, 1,000 rows

`Path` begins with the release folder in train and valid and not in test; everything before `train/`,
`valid/` or `test/` is stripped, and images are looked for in any release folder below the root.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.core.errors import DataError
from benchmark.core.tables import Manifest
from benchmark.data.cards import Card
from benchmark.data.readers import READERS
from benchmark.data.readers.common import (
    Log,
    manifest,
    normal_views,
    read_csv,
    require_ids,
    states,
    zeros_and_ones,
)
from benchmark.data.readers.files import below, find, find_one, folders_in, is_here, relative, require_root
from benchmark.data.readers.people import SEXES, ages

LABELS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
DETAILS = ("Sex", "Age", "Frontal/Lateral", "AP/PA")
TABLES = {
    "train": ("train.csv",),
    "validate": ("valid.csv",),
    "test": ("test_labels.csv", "test.csv", "groundtruth.csv"),
}
BATCH = re.compile(r"batch \d+ \(train \d+\)", re.IGNORECASE)
PARTS = re.compile(r"(?:^|/)((?:train|valid|test)/.*)$")
PIECES = re.compile(r"^(?:train|valid|test)/(patient\d+)/(study\d+)/view\d+_(frontal|lateral)\.jpg$")


@READERS.register("chexpert")
def read(root: Path, card: Card) -> Manifest:
    """All parts that are there. Raises DataError where none is, for a malformed path or label."""
    root = require_root(root, card)
    log = Log()
    frames, paths = [], []
    for split, patterns in TABLES.items():
        found = find(root, patterns, 2)
        if not found:
            log.note(f"no {patterns[0]}: the {split} part is not here")
            continue
        log.files[split] = relative(found[0], root)
        frames.append(_part(found[0], split, card, log, mined=split == "train"))
        paths.append(found[0])
    if not frames:
        names = ", ".join(n[0] for n in TABLES.values())
        raise DataError(f"{root}: none of {names} is here. Check --data-root; {card.access}")
    return _manifest(root, card, pd.concat(frames, ignore_index=True), paths[-1], log)


@READERS.register("chexpert5x200")
def read_5x200(root: Path, card: Card) -> Manifest:
    """The 1,000 images of GLoRIA's subset: five classes, 200 images each, exactly one class an image.

    Raises DataError for a row that has none or several of the classes.
    """
    root = require_root(root, card)
    log = Log()
    path = find_one(root, ("chexpert_5x200.csv", "chexpert-5x200*.csv"), card, "5x200 table", 2)
    log.files["table"] = relative(path, root)
    frame = _part(path, "test", card, log, mined=True)
    several = frame[list(card.classes)].eq(1).sum(axis=1) != 1
    if several.any():
        row = int(np.flatnonzero(several)[0])
        raise DataError(f"{path}: row {row + 1}: expected exactly one of {', '.join(card.classes)}.")
    return _manifest(root, card, frame, path, log)


def _part(path: Path, split: str, card: Card, log: Log, *, mined: bool) -> pd.DataFrame:
    """mined: labels are of reports, which may leave a class open; radiologists say 0 or 1."""
    table = read_csv(path, ("Path", *card.classes), DETAILS)
    require_ids(table, "Path", path)
    lost = [c for c in DETAILS if c not in table]
    if lost and split != "test":
        raise DataError(f"{path}:1: no column '{lost[0]}'. Expected the official header.")
    for column in lost:
        table[column] = ""
    out = table[["Path", *DETAILS]].copy()
    inside = table["Path"].str.strip().str.replace("\\", "/").str.extract(PARTS)[0]
    pieces = inside.str.extract(PIECES)
    bad = pieces[0].isna()
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"{path}: row {row + 1}: Path '{table['Path'].iloc[row]}' is not like "
            "train/patient00001/study1/view1_frontal.jpg."
        )
    out["inside"] = inside
    out["patient"], out["study"], out["side"] = pieces[0], pieces[0] + "/" + pieces[1], pieces[2]
    out["split"], out["row"] = split, range(1, len(out) + 1)
    log.see(
        "Sex is neither Male nor Female",
        inside[~table["Sex"].isin(["Male", "Female", ""])] if "Sex" in table else [],
    )
    four = states if mined else zeros_and_ones
    values = pd.DataFrame(four(table, {c: c for c in card.classes}, path))
    return pd.concat([out, values], axis=1)


def _manifest(root: Path, card: Card, frame: pd.DataFrame, table: Path, log: Log) -> Manifest:
    repeated = frame["inside"].duplicated()
    if repeated.any():
        row = int(np.flatnonzero(repeated)[0])
        raise DataError(
            f"{table}: row {frame['row'].iloc[row]}: image '{frame['inside'].iloc[row]}' occurs twice."
        )
    frame["path"] = _locate(root, frame, table)
    absent = frame["path"].isna()
    log.drop("image file is absent", frame.loc[absent, "inside"])
    if absent.all():
        raise DataError(
            f"{root}: none of the {len(frame)} listed images is here, e.g. {frame['inside'].iloc[0]}. "
            "Give the folder that holds train/, valid/ or the folders of the batches with --data-root."
        )
    frame = frame[~absent].reset_index(drop=True)
    age = ages(frame["Age"].set_axis(frame["inside"]), log).set_axis(frame.index)
    log.see("Age is 0", frame.loc[age == 0, "inside"])
    meta = pd.DataFrame(
        {
            "image_id": frame["inside"],
            "path": frame["path"],
            "patient_id": frame["patient"],
            "study_id": frame["study"],
            "view": normal_views(_view(frame), card, log).to_numpy(),
            "split": frame["split"],
            "sex": frame["Sex"].str.strip().str.upper().map(SEXES),
            "age": age.where(age > 0),
        }
    )
    return manifest(root, card, meta, {c: frame[c] for c in card.classes}, log, table=table)


def _view(frame: pd.DataFrame) -> pd.Series:
    """AP/PA where the table gives it, else `frontal` or `lateral` from the name."""
    named = frame["side"].map({"frontal": "frontal", "lateral": "Lateral"})
    given = frame["AP/PA"].str.strip()
    return given.where((given != "") & (frame["side"] == "frontal"), named).set_axis(frame["inside"])


def _locate(root: Path, frame: pd.DataFrame, table: Path) -> list[str | None]:
    """The first of: the root, the table's folder, any folder directly below the root, that has the file.

    The full-resolution release has the training patients right below its batch folders, without `train/`.
    """
    folders = [root, table.parent, *folders_in(root)]
    places = [(f"{relative(p, root)}/".removeprefix("./"), 0) for p in dict.fromkeys(folders)]
    places += [(p, len("train/")) for p, _ in places if BATCH.search(p.rstrip("/").rpartition("/")[2])]
    out: list[str | None] = []
    for inside in frame["inside"]:
        inside = below(root, inside, str(table))
        cuts = [(p, n) for p, n in places if not n or inside.startswith("train/")]
        here = next(((p, n) for p, n in cuts if is_here(root, p + inside[n:])), None)
        out.append(here[0] + inside[here[1] :] if here else None)
        if here and here != places[0]:
            places.remove(here)
            places.insert(0, here)
    return out
