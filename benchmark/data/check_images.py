"""The images of a set: opened one after the other, and held against those of another set's training part."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmark.core.errors import DataError
from benchmark.core.hashing import hash_bytes
from benchmark.core.progress import Report
from benchmark.core.tables import Manifest, Origin
from benchmark.data.alike import pairs_alike, perceptual_hashes
from benchmark.data.cards import Card, load_card
from benchmark.data.check_report import CheckReport, InCommon, OpenedImages, Remark, UnreadableImage, first
from benchmark.data.contents import cores
from benchmark.data.dataset import read_dataset
from benchmark.data.decoded_volumes import open_volumes, volume_sources
from benchmark.data.opening import open_all
from benchmark.data.overlaps import overlapping
from benchmark.data.pixels import read_bytes
from benchmark.data.volumes import SUFFIXES as VOLUME_SUFFIXES


class Against(NamedTuple):
    """Another dataset, whose training part must not hold this one's patients."""

    dataset: str
    root: Path
    origin: Origin


class Taken(NamedTuple):
    """Rows of a manifest below its root."""

    root: Path
    frame: pd.DataFrame

    @property
    def paths(self) -> list[Path]:
        return [self.root / str(path) for path in self.frame["path"]]


def check_images(
    report: CheckReport, manifest: Manifest, workers: int | None, on_progress: Report | None
) -> dict[str, list[str]]:
    """Open every image; return content hash → image ids."""
    names = manifest.frame["image_id"].astype(str).to_list()
    paths = [str(manifest.root / p) for p in manifest.frame["path"]]
    volumes = any(p.lower().endswith(VOLUME_SUFFIXES) for p in paths[:1])
    hashes: list[str] = [""] * len(paths)
    reasons: dict[int, str] = {}
    blank: list[int] = []
    shapes: Counter[str] = Counter()
    done = 0
    for opened in open_volumes(volume_sources(manifest)) if volumes else open_all(paths, workers):
        for item in opened:
            hashes[item.row] = item.hash
            if item.error:
                reasons[item.row] = item.error
            else:
                shapes[item.kind] += 1
            if item.blank:
                blank.append(item.row)
        done += len(opened)
        if on_progress:
            on_progress(done, len(paths))
    by_hash: dict[str, list[str]] = {}
    for name, digest in zip(names, hashes, strict=True):
        if digest:
            by_hash.setdefault(digest, []).append(name)
    twice = [ids for ids in by_hash.values() if len(ids) > 1]
    report.images = OpenedImages(
        len(paths),
        tuple(UnreadableImage(names[row], reasons[row]) for row in sorted(reasons)),
        tuple(tuple(sorted(ids)) for ids in twice),
        dict(shapes.most_common()),
    )
    if reasons:
        shown = [reasons[row] for row in sorted(reasons)]
        report.problems.append(Remark("unreadable images", len(reasons), first(shown)))
    if twice:
        pairs = [" = ".join(ids[:3]) for ids in twice]
        report.problems.append(Remark("images with the same content", sum(map(len, twice)), first(pairs)))
    if blank:
        shown = [names[row] for row in sorted(blank)]
        report.problems.append(Remark("images of one single value", len(blank), first(shown)))
    return by_hash


def check_against(
    report: CheckReport, manifest: Manifest, card: Card, against: Against, hashes: dict[str, list[str]]
) -> tuple[InCommon, Taken, Taken]:
    """Patients, images and contents that another dataset's training part shares with this one, and what of
    both was compared."""
    other_card = load_card(against.dataset)
    other = read_dataset(against.dataset, against.root, against.origin)
    frame = other.frame
    training = frame[(frame["split"] == "train") | frame["split"].isna()]
    one_space = (
        against.dataset == card.name or against.dataset in card.overlaps or card.name in other_card.overlaps
    )
    known = overlapping(card.name).get(against.dataset)
    if known is not None:
        report.notes.append(Remark(f"holds images of {against.dataset}: {known}", 1))
    tested = manifest.frame[manifest.frame["split"].isna() | (manifest.frame["split"] != "train")]
    if against.dataset != card.name and len(tested) == 0:
        tested = manifest.frame
    found = {"patients": 0, "images": 0, "contents": 0}
    target = report.problems if one_space else report.notes
    for column, key in (("patient_id", "patients"), ("image_id", "images")):
        shared = sorted(set(tested[column].dropna()) & set(training[column].dropna()))
        found[key] = len(shared)
        if shared:
            doubt = "" if one_space else " (the two sets number them independently)"
            what = f"{key} that are also in the training part of {against.dataset}{doubt}"
            target.append(Remark(what, len(shared), first(shared)))
    if hashes:
        ids = set(tested["image_id"])
        same = _same_contents(other.root, training["path"], {h for h, n in hashes.items() if ids & set(n)})
        found["contents"] = len(same)
        if same:
            what = f"images whose bytes are also in the training part of {against.dataset}"
            report.problems.append(Remark(what, len(same), first([hashes[h][0] for h in same])))
    shares = InCommon(against.dataset, len(training), one_space, **found)
    return shares, Taken(manifest.root, tested), Taken(other.root, training)


def check_alike(
    report: CheckReport, other: str, tested: Taken, training: Taken, workers: int | None, said: Report | None
) -> int:
    """How many images of one part look like one of the other, though their bytes may differ. A note: two
    films of one patient may look alike too, so that a person has to compare them."""
    count = workers or cores()
    own, seen = (perceptual_hashes(part.paths, count, said) for part in (tested, training))
    rows = [np.flatnonzero(known) for _, known in (own, seen)]
    pairs = pairs_alike(own[0][rows[0]], seen[0][rows[1]])
    names = [part.frame["image_id"].astype(str).to_numpy() for part in (tested, training)]
    best: dict[str, tuple[str, int]] = {}
    for a, b, bits in pairs:
        best.setdefault(str(names[0][rows[0][a]]), (str(names[1][rows[1][b]]), bits))
    if best:
        shown = [f"{name} ~ {match} ({bits} bits)" for name, (match, bits) in best.items()]
        what = f"images that look like one of the training part of {other}; compare them"
        report.notes.append(Remark(what, len(best), first(shown)))
    return len(best)


def _same_contents(root: Path, paths: pd.Series, wanted: set[str]) -> list[str]:
    found = set()
    for path in paths:
        try:
            digest = hash_bytes(read_bytes(root / str(path)))
        except DataError:
            continue
        if digest in wanted:
            found.add(digest)
    return sorted(found)
