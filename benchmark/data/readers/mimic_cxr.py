"""MIMIC-CXR reports with MIMIC-CXR-JPG images and labels.

    mimic-cxr/files/p10/p10000032/s50414267.txt     or mimic-cxr/mimic-cxr-reports.zip, which holds them
    mimic-cxr-jpg/files/p10/p10000032/s50414267/<dicom_id>.jpg
    mimic-cxr-jpg/mimic-cxr-2.0.0-{metadata,split,chexpert,negbio}.csv.gz

The two trees may lie side by side below the root, or be one tree. Images are rows of the metadata file;
labels are per study and joined by (subject_id, study_id). An image without JPG is taken from the DICOM of
the report tree, if it is there. `report` is the whole text file. Labels of `negbio` become
`<class>@negbio`.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.core.errors import DataError
from benchmark.core.guard import bounded_zip, parsing
from benchmark.core.tables import Manifest
from benchmark.data.cards import Card
from benchmark.data.readers import READERS
from benchmark.data.readers.common import FETCH, Log, manifest, normal_views, read_csv, require_ids, states
from benchmark.data.readers.files import find, find_one, is_here, relative, require_root

METADATA = ("dicom_id", "subject_id", "study_id", "ViewPosition")
SPLIT = ("dicom_id", "study_id", "subject_id", "split")
SPLITS = {"train", "validate", "test"}
MAX_REPORTS = 1 << 32
"""Bytes that the archive of the reports may unpack to; the official one has some hundred millions."""
PATIENT_GROUP = re.compile(r"p1[0-9]$")


@READERS.register("mimic_cxr")
def read(root: Path, card: Card) -> Manifest:
    """Raises DataError for missing files and columns, repeated or blank ids, a tree without reports."""
    root = require_root(root, card)
    log = Log()
    metadata_path = _table(root, card, "metadata", log)
    frame = read_csv(metadata_path, METADATA, ())
    for column in METADATA[:3]:
        require_ids(frame, column, metadata_path)
        frame[column] = frame[column].str.strip()
    _unique(frame, "dicom_id", metadata_path)

    frame["split"] = _splits(frame, _table(root, card, "split", log), log)
    images = metadata_path.parent
    texts = _report_source(root)
    log.files["reports"] = relative(texts, root) or "."
    frame = _locate(frame, root, images, texts, metadata_path, log)
    frame["report"] = _reports(frame, root, texts, card, log)
    frame["view"] = normal_views(frame["ViewPosition"].set_axis(frame["dicom_id"]), card, log).to_numpy()

    chexpert, unlabelled = _labels(frame, _table(root, card, "chexpert", log), card)
    labels = dict(chexpert)
    log.see("study without a label row", unlabelled)
    negbio = find(root, ["mimic-cxr-*-negbio.csv*"])
    if negbio:
        log.files["negbio"] = relative(negbio[0], root)
        values, lacking = _labels(frame, negbio[0], card)
        labels |= {f"{c}@negbio": v for c, v in values.items()}
        log.see("study without a row in the negbio table alone", sorted(set(lacking) - set(unlabelled)))
    meta = pd.DataFrame(
        {
            "image_id": frame["dicom_id"],
            "path": frame["path"],
            "patient_id": frame["subject_id"],
            "study_id": frame["study_id"],
            "view": frame["view"],
            "split": frame["split"],
            "report": frame["report"],
        }
    )
    return manifest(root, card, meta, labels, log, table=metadata_path)


def _table(root: Path, card: Card, kind: str, log: Log) -> Path:
    path = find_one(root, [f"mimic-cxr-*-{kind}.csv.gz", f"mimic-cxr-*-{kind}.csv"], card, f"{kind} table")
    log.files[kind] = relative(path, root)
    return path


def _unique(frame: pd.DataFrame, column: str, path: Path) -> None:
    repeated = frame[column].duplicated()
    if repeated.any():
        row = int(np.flatnonzero(repeated)[0])
        raise DataError(f"{path}: row {row + 1}: {column} '{frame[column].iloc[row]}' occurs twice.")


def _splits(frame: pd.DataFrame, path: Path, log: Log) -> pd.Series:
    table = read_csv(path, SPLIT, ())
    require_ids(table, "dicom_id", path)
    _unique(table, "dicom_id", path)
    unknown = ~table["split"].isin(SPLITS)
    if unknown.any():
        row = int(np.flatnonzero(unknown)[0])
        raise DataError(
            f"{path}: row {row + 1}: split '{table['split'].iloc[row]}'; expected train, validate or test."
        )
    split = frame["dicom_id"].map(table.set_index("dicom_id")["split"])
    if split.isna().all():
        raise DataError(
            f"{path}: no row is of an image of the metadata table; it has {table['dicom_id'].iloc[0]}, that "
            f"{frame['dicom_id'].iloc[0]}. Use the official file."
        )
    log.see("image without a row in the split table", frame.loc[split.isna(), "dicom_id"])
    lost = ~table["dicom_id"].isin(frame["dicom_id"])
    log.see("row of the split table without metadata", table.loc[lost, "dicom_id"])
    return split


def _report_source(root: Path) -> Path:
    """The folder below the root whose `files/pNN/pNNNNNNNN` holds the report texts, or their archive."""
    seen_tree = None
    for folder in _trees(root):
        for group in sorted((folder / "files").glob("p1[0-9]")):
            seen_tree = seen_tree or group.parent
            for patient in sorted(group.iterdir())[:50]:
                if patient.is_dir() and any(e.name.endswith(".txt") for e in os.scandir(patient)):
                    return folder
    archives = find(root, ["mimic-cxr-reports*.zip"])
    if archives:
        return archives[0]
    raise DataError(
        f"{seen_tree or root}: no report texts (files/p10/p…/s….txt). "
        f"Put mimic-cxr-reports.zip of MIMIC-CXR, packed or unpacked, into {root}/mimic-cxr."
    )


@contextmanager
def _opened(texts: Path) -> Iterator[Callable[[str], bytes | None]]:
    """What gives the bytes of `files/p10/p…/s….txt`, or None where there is no such report."""
    if texts.is_dir():

        def unpacked(name: str) -> bytes | None:
            try:
                return (texts / name).read_bytes()
            except FileNotFoundError:
                return None

        yield unpacked
        return
    bounded_zip(texts, "a zip archive of reports", MAX_REPORTS)
    with parsing(texts, "a zip archive of reports", FETCH):
        archive = zipfile.ZipFile(texts)
    with archive:
        names = frozenset(archive.namelist())

        def packed(name: str) -> bytes | None:
            with parsing(f"{texts}: {name}", "a report", FETCH, private=True):
                return archive.read(name) if name in names else None

        yield packed


def _trees(root: Path) -> list[Path]:
    """Folders with a `files` folder, nearest first; the patients' own folders are not looked into."""
    found, level = [], [root]
    for _ in range(4):
        below: list[Path] = []
        for folder in level:
            if (folder / "files").is_dir():
                found.append(folder)
            names = sorted(p for p in folder.iterdir() if p.is_dir() and not PATIENT_GROUP.match(p.name))
            below += names
        level = below[:200]
    return found


def _folder(subject: str) -> str:
    return f"files/p{subject[:2]}/p{subject}"


def _locate(
    frame: pd.DataFrame, root: Path, images: Path, texts: Path, table: Path, log: Log
) -> pd.DataFrame:
    """Add `path`; rows without an image are left out and counted."""
    jpg = relative(images, root)
    dcm = relative(texts if texts.is_dir() else texts.parent, root)
    paths: list[str | None] = []
    from_dicom = []
    for dicom, subject, study in zip(frame["dicom_id"], frame["subject_id"], frame["study_id"], strict=True):
        if not (subject.isdigit() and study.isdigit()) or "/" in dicom or ".." in dicom:
            raise DataError(f"{table}: image '{dicom}': ids must be plain; got {subject}, {study}.")
        inside = f"{_folder(subject)}/s{study}/{dicom}"
        here = f"{jpg}/{inside}.jpg".removeprefix("./")
        if is_here(root, here):
            paths.append(here)
            continue
        here = f"{dcm}/{inside}.dcm".removeprefix("./")
        found = is_here(root, here)
        paths.append(here if found else None)
        if found:
            from_dicom.append(dicom)
    log.see("image read from DICOM, which looks different from the JPG", from_dicom)
    frame = frame.assign(path=pd.Series(paths, index=frame.index, dtype=object))
    absent = frame["path"].isna()
    log.drop("image file is absent", frame.loc[absent, "dicom_id"])
    if absent.all():
        raise DataError(f"{images}/files: no image of {table.name} is here. Expected {_example(frame)}.")
    return frame[~absent].reset_index(drop=True)


def _example(frame: pd.DataFrame) -> str:
    if frame.empty:
        return "rows in the metadata table"
    first = frame.iloc[0]
    return f"{_folder(first['subject_id'])}/s{first['study_id']}/{first['dicom_id']}.jpg"


def _reports(frame: pd.DataFrame, root: Path, texts: Path, card: Card, log: Log) -> list[str | None]:
    cache: dict[tuple[str, str], str | None] = {}
    latin: list[str] = []
    with _opened(texts) as read:
        for subject, study in zip(frame["subject_id"], frame["study_id"], strict=True):
            key = (subject, study)
            if key in cache:
                continue
            data = read(f"{_folder(subject)}/s{study}.txt")
            if data is None:
                cache[key] = None
                continue
            try:
                text = data.decode("utf-8-sig")
            except UnicodeDecodeError:
                text = data.decode("latin-1")
                latin.append(study)
            cache[key] = text if text.strip() else None
    log.see("report is not UTF-8, read as Latin-1", latin)
    log.see("study without report", [study for (_, study), text in cache.items() if text is None])
    if cache and all(text is None for text in cache.values()):
        raise DataError(
            f"{texts}: none of {len(cache)} studies has a report (s<study>.txt). "
            f"Unpack the reports of {card.title} there."
        )
    return [cache[key] for key in zip(frame["subject_id"], frame["study_id"], strict=True)]


def _labels(frame: pd.DataFrame, path: Path, card: Card) -> tuple[dict[str, pd.Series], list[str]]:
    """Class → states of every image, and the studies that have no row in the table."""
    columns = {c: c for c in card.classes}
    table = read_csv(path, ("subject_id", "study_id", *columns.values()), ())
    require_ids(table, "study_id", path)
    key = table["subject_id"].str.strip() + "/" + table["study_id"].str.strip()
    repeated = key.duplicated()
    if repeated.any():
        row = int(np.flatnonzero(repeated)[0])
        raise DataError(f"{path}: row {row + 1}: study '{table['study_id'].iloc[row]}' occurs twice.")
    values = pd.DataFrame(states(table, columns, path)).set_axis(pd.Index(key), axis=0)
    wanted = frame["subject_id"] + "/" + frame["study_id"]
    unlabelled = ~wanted.isin(values.index)
    if unlabelled.all():
        raise DataError(
            f"{path}: no row is of an image here; it has {key.iloc[0]}, the images are of {wanted.iloc[0]} "
            "(subject/study). Use the official file."
        )
    joined = values.reindex(wanted).reset_index(drop=True)
    lacking = wanted[unlabelled].str.split("/").str[1].drop_duplicates().tolist()
    return {name: joined[name] for name in columns}, lacking
