"""Images of the MIMIC-CXR-JPG tree, for the label sets that bring no images of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from benchmark.core.errors import DataError
from benchmark.data.cards import Card
from benchmark.data.readers.common import Log, normal_views, read_csv
from benchmark.data.readers.files import below, find, is_here, listing_of, relative

INSIDE = re.compile(r"files/p1\d/p(\d{8})/s(\d{8})/([0-9a-f-]+)\.(?:jpg|dcm|png)")


def image_tree(root: Path, card: Card) -> Path:
    """The folder whose `files/p1x/…` holds images: the root or a folder in it.

    Raises DataError that says how to bring label files and images together.
    """
    told = listing_of(root)
    if told is not None:
        inside = sorted((p for p in told if "files/p1" in p), key=lambda p: (not p.endswith(".jpg"), p))
        if inside:
            return root / inside[0].partition("files/p1")[0]
    candidates = [root, *sorted(p for p in root.iterdir() if p.is_dir() and p.name != "files")]
    candidates += [p for q in candidates[1:] for p in sorted(q.iterdir()) if p.is_dir() and p.name != "files"]
    candidates = [p for p in candidates if (p / "files").is_dir() and any((p / "files").glob("p1[0-9]"))]
    for folder in candidates:
        if any((folder / "files").glob("p1[0-9]/p*/s*/*.jpg")):
            return folder
    if candidates:
        return candidates[0]
    raise DataError(
        f"{root}: no MIMIC-CXR-JPG images (files/p10/…) beside the {card.title} tables. "
        f"Put or link the image tree there: {root}/mimic-cxr-jpg."
    )


def official_path(subject: str, study: str, dicom: str) -> str:
    return f"files/p{subject[:2]}/p{subject}/s{study}/{dicom}.jpg"


def located(root: Path, tree: Path, path: str, where: str, dicom: str) -> str | None:
    """Path below the root of an official `files/…` path, JPG or DICOM, or None where it is absent.

    Raises DataError for a path that leaves the tree, is not of that form, or of another image than `dicom`.
    """
    clean = below(tree, path.strip(), where)
    at = clean.find("files/")
    found = INSIDE.fullmatch(clean[at:]) if at >= 0 else None
    if found and found[3] != dicom:
        raise DataError(
            f"{where}: its path is of image '{found[3]}'. Columns seem to be shifted; fetch it again."
        )
    if not found:
        raise DataError(f"{where}: '{path}' is not like files/p10/p10000032/s50414267/<dicom_id>.jpg.")
    stem = clean[at:].rsplit(".", 1)[0]
    stem = f"{relative(tree, root)}/{stem}".removeprefix("./")
    return next((stem + s for s in (".jpg", ".dcm", ".png") if is_here(root, stem + s)), None)


def views(root: Path, images: pd.Series, card: Card, log: Log) -> pd.Series:
    """Normalised view of every dicom_id, from MIMIC-CXR-JPG's metadata table where it is there."""
    found = find(root, ["mimic-cxr-*-metadata.csv.gz", "mimic-cxr-*-metadata.csv"], 2)
    if not found:
        log.note("no MIMIC-CXR-JPG metadata table beside the images: views are not known")
        return pd.Series([None] * len(images), index=images.index, dtype=object)
    log.files["metadata"] = relative(found[0], root)
    table = read_csv(found[0], ("dicom_id", "ViewPosition")).drop_duplicates("dicom_id")
    raw = images.map(table.set_index("dicom_id")["ViewPosition"]).fillna("")
    return normal_views(raw.set_axis(images), card, log).set_axis(images.index)


def bare(values: Iterable[str], letter: str) -> list[str]:
    """Ids without the letter that some releases write before them (p10000032, s50414267)."""
    return [v.strip().removeprefix(letter) for v in values]
