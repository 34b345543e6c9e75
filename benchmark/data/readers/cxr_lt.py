"""CXR-LT 2023 and 2024: long-tailed labels on MIMIC-CXR-JPG images.

    {train,development,val,test}*.csv      dicom_id, subject_id, study_id[, path][, view], 0/1 label columns
    [mimic-cxr-jpg/]files/p1x/…            images of MIMIC-CXR-JPG, put or linked there

Columns are found by name, since their order differs between releases and tasks. Tables of one split
(tasks 1, 2, 3) are merged by image; a class that no table of an image has stays unknown. `No Finding` of
2023 is `Normal` of 2024. A table without label columns (unlabelled images) is counted and left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.core.errors import DataError
from benchmark.core.tables import Manifest
from benchmark.data.cards import Card
from benchmark.data.readers import READERS
from benchmark.data.readers.common import Log, manifest, normal_views, read_csv, require_ids, states
from benchmark.data.readers.files import below, find, relative, require_root
from benchmark.data.readers.mimic_tree import bare, image_tree, located, official_path, views

IDS = ("dicom_id", "subject_id", "study_id")
SPLITS = {"train": "train", "dev": "validate", "val": "validate", "test": "test"}
PATHS = ("path", "fpath", "image_path")
VIEWS = ("ViewPosition", "view_position", "view")


@READERS.register("cxr_lt")
def read(root: Path, card: Card) -> Manifest:
    """Raises DataError for missing columns, unknown label columns of text, tables that contradict."""
    root = require_root(root, card)
    log = Log()
    tables = _tables(root, card, log)
    frame, labels = _merge(tables, card, log)
    tree = image_tree(root, card)
    first = next(iter(tables))
    places: list[str | None] = []
    for dicom, subject, study, path, source in frame[[*IDS, "path", "source"]].astype(str).to_numpy():
        where = f"{source}: image '{dicom}'"
        if path:
            below(root, path, where)
        usual = located(root, tree, official_path(subject, study, dicom), where, dicom)
        places.append(usual or (located(root, tree, path, where, dicom) if path else None))
    here = np.array([p is not None for p in places])
    log.drop("image file is absent", frame.loc[~here, "dicom_id"])
    if not here.any():
        raise DataError(f"{tree}/files: none of the images of {first.name} is here.")
    meta = pd.DataFrame(
        {
            "image_id": frame["dicom_id"],
            "path": pd.Series(places, dtype=object),
            "patient_id": frame["subject_id"],
            "study_id": frame["study_id"],
            "split": frame["split"],
            "view": frame["view"],
        }
    )
    if (meta["view"] == "").all():
        meta["view"] = views(root, frame["dicom_id"], card, log)
    else:
        meta["view"] = normal_views(frame["view"].set_axis(frame["dicom_id"]), card, log).to_numpy()
    chosen = {name: values[here] for name, values in labels.items()}
    return manifest(root, card, meta[here], chosen, log, table=first)


def _tables(root: Path, card: Card, log: Log) -> dict[Path, tuple[str, pd.DataFrame]]:
    """Labelled tables → split and rows."""
    out: dict[Path, tuple[str, pd.DataFrame]] = {}
    names = [f"{prefix}*.csv{packed}" for prefix in SPLITS for packed in ("", ".gz")]
    for path in find(root, names, 2):
        table = read_csv(path, IDS)
        split = next(v for k, v in SPLITS.items() if path.name.startswith(k))
        if not _columns(table, card):
            log.see(f"unlabelled image in {path.name}", table["dicom_id"])
            continue
        for column in IDS:
            require_ids(table, column, path)
        table["dicom_id"] = table["dicom_id"].str.strip()
        table["subject_id"] = bare(table["subject_id"], "p")
        table["study_id"] = bare(table["study_id"], "s")
        repeated = table["dicom_id"].duplicated()
        if repeated.any():
            row = int(np.flatnonzero(repeated)[0])
            raise DataError(f"{path}: row {row + 1}: dicom_id '{table['dicom_id'].iloc[row]}' occurs twice.")
        log.files[path.stem] = relative(path, root)
        known = {*IDS, *PATHS, *VIEWS, *_columns(table, card).values()}
        log.labels.unknown.update(
            c
            for c in table.columns
            if c not in known and set(table[c].str.strip()) <= {"0", "1", "0.0", "1.0"}
        )
        out[path] = split, table
    if not out:
        raise DataError(f"{root}: no labelled CXR-LT table (train*.csv, …). Check --data-root; {card.access}")
    return out


def _columns(table: pd.DataFrame, card: Card) -> dict[str, str]:
    """class → column of this table."""
    found = {card.aliases.get(c, c): c for c in table.columns}
    return {name: found[name] for name in card.classes if name in found}


def _merge(
    tables: dict[Path, tuple[str, pd.DataFrame]], card: Card, log: Log
) -> tuple[pd.DataFrame, dict[str, pd.api.extensions.ExtensionArray]]:
    """One row an image and one Int8 array a class."""
    parts = []
    for path, (split, table) in tables.items():
        part = table[list(IDS)].assign(split=split, source=str(path))
        part["path"] = _first(table, PATHS)
        part["view"] = _first(table, VIEWS)
        parts.append(part)
    every = pd.concat(parts, ignore_index=True)
    frame = every.drop_duplicates("dicom_id").reset_index(drop=True)
    for column in ("split", "subject_id", "study_id"):
        differ = every.groupby("dicom_id")[column].nunique() > 1
        if differ.any():
            name = differ.index[differ][0]
            files = sorted({Path(s).name for s in every.loc[every["dicom_id"] == name, "source"]})
            raise DataError(f"{' and '.join(files)} give image '{name}' two values of {column}. Keep one.")
    values = pd.DataFrame(index=pd.Index(frame["dicom_id"]), columns=list(card.classes), dtype="Int8")
    for path, (_, table) in tables.items():
        new = pd.DataFrame(states(table, _columns(table, card), path), index=pd.Index(table["dicom_id"]))
        unsaid = (~new.isin([0, 1]).all(axis=1)).to_numpy(dtype=bool)
        log.see(f"label of 0 or 1 is blank or uncertain in {path.name}", new.index[unsaid])
        old = values.loc[new.index, new.columns]
        clash = (old.notna() & new.notna() & (old != new).fillna(False)).to_numpy(dtype=bool)
        if clash.any():
            i, k = (int(v[0]) for v in np.nonzero(clash))
            raise DataError(
                f"{path}: image '{table['dicom_id'].iloc[i]}': '{list(new.columns)[k]}' is not what another "
                "table says. Keep one of the two."
            )
        for column in map(str, new):
            values.loc[new.index, column] = new[column].fillna(old[column])
    lacking = [name for name in card.classes if values[name].isna().all()]
    if lacking:
        log.note(f"no table has labels for {', '.join(lacking)}")
    return frame, {name: values[name].array for name in card.classes}


def _first(table: pd.DataFrame, names: tuple[str, ...]) -> pd.Series:
    for name in names:
        if name in table:
            return table[name].str.strip()
    return pd.Series([""] * len(table), index=table.index)
