"""Does a folder hold the dataset that its card describes? Counts, images, labels, patients.

A problem makes the check fail; a note does not. Images are opened one after the other in worker processes,
so memory does not grow with the set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmark.core.cells import known_clusters
from benchmark.core.errors import DataError, closest
from benchmark.core.hashing import hash_bytes
from benchmark.core.progress import Report
from benchmark.core.tables import Manifest, Origin
from benchmark.data.alike import pairs_alike, perceptual_hashes
from benchmark.data.cards import Card, load_card
from benchmark.data.contents import cores
from benchmark.data.dataset import evaluation_set, read_dataset
from benchmark.data.decoded_volumes import open_volumes, volume_sources
from benchmark.data.opening import open_all
from benchmark.data.overlaps import overlapping
from benchmark.data.pixels import read_bytes
from benchmark.data.readers.files import image_index, listed
from benchmark.data.volumes import SUFFIXES as VOLUME_SUFFIXES

EXAMPLES = 5
SPLITS = ("train", "validate", "test")
HEAD_PERCENTILE, TAIL_AT_MOST = 65.0, 10
"""CARZero's groups by frequency, where the card has no rule of its own."""


@dataclass(frozen=True)
class Remark:
    """One thing that was noticed: how often, and a few names."""

    what: str
    count: int
    examples: tuple[str, ...] = ()
    """A count that `what` already says is not repeated in the text."""

    def __str__(self) -> str:
        shown = ", ".join(self.examples)
        more = ", …" if self.count > len(self.examples) and shown else ""
        said = self.what if f" {self.count:,}" in self.what else f"{self.what}: {self.count:,}"
        return said + (f" ({shown}{more})" if shown else "")


@dataclass
class CheckReport:
    """Everything `check_dataset` found. counts: where → quantity → (found, expected or None)."""

    dataset: str
    origin: Origin
    root: str
    counts: dict[str, dict[str, tuple[int, int | None]]] = field(default_factory=dict)
    problems: list[Remark] = field(default_factory=list)
    notes: list[Remark] = field(default_factory=list)
    labels: list[dict[str, Any]] = field(default_factory=list)
    protocols: dict[str, dict[str, Any]] = field(default_factory=dict)
    images: dict[str, Any] = field(default_factory=dict)
    overlap: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self)}


class Against(NamedTuple):
    """Another dataset, whose training part must not hold this one's patients."""

    dataset: str
    root: Path
    origin: Origin


def check_dataset(
    name: str,
    root: Path | str,
    origin: Origin,
    *,
    against: Against | None = None,
    images: bool = True,
    alike: bool = False,
    lexicon: Collection[str] | None = None,
    workers: int | None = None,
    on_progress: Report | None = None,
    listing: Path | None = None,
) -> CheckReport:
    """Read a dataset and report what is not as it should be.

    lexicon: the known concepts; a class that has none of them cannot be found in report texts.
    images: open every image (unreadable, duplicate and empty ones are found only then). A twin is smaller
    than its official set: there, differing counts are notes.
    alike: with `against` and `images`, also find images that look alike (`data.alike`), whose files differ;
    every image of both is decoded for it.
    listing: names of the image files, one a line, which then need not be here and are not opened. Readers
    of boxes still ask an image for its size (ms_cxr, chestxdet10, padchest_gr), those of Kaggle's sets a
    header for its view. Raises DataError where the tables themselves cannot be read.
    """
    card = load_card(name)
    with listed(Path(root), listing):
        manifest = read_dataset(name, root, origin, unknown_labels=True)
        report = CheckReport(name, origin, str(root))
        _counts(report, manifest, card)
        _reading(report, manifest, card)
    _splits(report, manifest)
    _labels(report, manifest, card)
    if lexicon is not None:
        _concepts(report, manifest, card, lexicon)
    _protocols(report, manifest, card)
    hashes: dict[str, list[str]] = {}
    if images and listing is None:
        hashes = _images(report, manifest, workers, on_progress)
    if against is not None:
        tested, training = _against(report, manifest, card, against, hashes)
        if alike and hashes:
            _alike(report, against.dataset, tested, training, workers, on_progress)
    return report


def _counts(report: CheckReport, manifest: Manifest, card: Card) -> None:
    frame = manifest.frame
    off = report.problems if report.origin == "official" else report.notes
    for where, expected in card.counts.items():
        part = frame if where == "all" else frame[frame["split"] == where]
        if part.empty:
            report.notes.append(Remark(f"split {where} is not here", expected.images or 0))
            continue
        found = {
            "images": len(part),
            "studies": int(part["study_id"].nunique()),
            "patients": int(part["patient_id"].nunique()),
            "reports": int(part.loc[part["report"].notna(), "study_id"].nunique()),
        }
        report.counts[where] = {}
        for quantity, number in found.items():
            wanted = getattr(expected, quantity)
            if quantity == "reports" and where == "all":
                number = int(
                    manifest.info["counts"].get("all_reports", number)
                )  # files, as sources count them
            report.counts[where][quantity] = (number, wanted)
            if wanted is not None and wanted != number:
                split = "" if where == "all" else f" in split {where}"
                what = f"{quantity}{split}: here {number:,}, the card says {wanted:,} ({expected.source})"
                off.append(Remark(what, number))
    if "all" not in report.counts:
        report.counts["all"] = {
            "images": (len(frame), None),
            "studies": (int(frame["study_id"].nunique()), None),
            "patients": (int(frame["patient_id"].nunique()), None),
        }


def _reading(report: CheckReport, manifest: Manifest, card: Card) -> None:
    """What the reader left out or noticed, and labels that no class has."""
    known_faults = {k.issue for k in card.known_issues if k.action == "drop"}
    for item in manifest.info.get("dropped", []):
        target = report.notes if item["what"] in known_faults else report.problems
        target.append(_remark("label without an image" if "absent" in item["what"] else item["what"], item))
    for item in manifest.info.get("seen", []):
        target = report.problems if item["what"].startswith("image file without") else report.notes
        target.append(_remark(item["what"], item))
    if card.table is not None:
        listed = set(manifest.frame["path"])
        stray = [p for paths in image_index(manifest.root).values() for p in paths if p not in listed]
        if stray:
            report.problems.append(Remark("image file without a row", len(stray), _first(sorted(stray))))
    known = [*card.classes, *card.aliases, *card.removed]
    unknown, met = manifest.info["unknown_labels"], manifest.info["labels_met"]
    too_many = met and sum(unknown.values()) / met > card.unknown_labels_at_most
    for label, count in unknown.items():
        near = closest(label, known)
        if near:
            report.problems.append(Remark(f"unknown label '{label}'; did it mean '{near}'?", count))
        else:
            target = report.problems if too_many else report.notes
            target.append(Remark(f"label '{label}' is no class of the card", count))
    for word, numbers in manifest.info.get("lists", {}).items():
        if numbers.get("listed") != numbers.get("found"):
            target = report.problems if report.origin == "official" else report.notes
            target.append(
                Remark(
                    f"list {word}: {numbers['found']:,} of its {numbers['listed']:,} images are here",
                    numbers["found"],
                )
            )


def _remark(what: str, item: dict[str, Any]) -> Remark:
    return Remark(what, int(item["count"]), tuple(str(e) for e in item["examples"][:EXAMPLES]))


def _splits(report: CheckReport, manifest: Manifest) -> None:
    """Patients on two sides of a split."""
    frame = manifest.frame
    usual = frame[frame["split"].isin(SPLITS) & frame["patient_id"].notna()]
    if usual.empty:
        return
    pairs = usual[["patient_id", "split"]].drop_duplicates().sort_values(["patient_id", "split"])
    crossing = pairs[pairs["patient_id"].duplicated(keep=False)]
    sides: dict[str, list[str]] = {}
    for patient, splits in crossing.groupby("patient_id")["split"]:
        sides.setdefault(" and ".join(splits), []).append(str(patient))
    for where, names in sides.items():
        report.problems.append(Remark(f"patients in {where}", len(names), _first(names)))


def _labels(report: CheckReport, manifest: Manifest, card: Card) -> None:
    """Positives, negatives, uncertain and unmentioned per class, and its group by frequency."""
    frame = manifest.frame
    official = {c: group for group, names in card.strata().items() for c in names}
    patients, nameless = known_clusters(frame["patient_id"], frame["image_id"])
    if 0 < nameless < len(frame):
        report.notes.append(Remark("images of unknown patients, each a cluster of its own", nameless))
    rows: list[dict[str, Any]] = []
    for name in manifest.classes:
        states = frame[name]
        values = states.fillna(0).to_numpy(dtype=np.int8)
        missing = states.isna().to_numpy()
        positive = values == 1
        rows.append(
            {
                "class": name,
                "positive": int(positive.sum()),
                "negative": int(((values == 0) & ~missing).sum()),
                "uncertain": int((values == -1).sum()),
                "missing": int(missing.sum()),
                "patients": len(set(patients[positive])),
                "official_group": official.get(name),
            }
        )
    for row, group in zip(rows, _groups([r["positive"] for r in rows], card), strict=True):
        row["group"] = group
    report.labels = rows
    empty = [r["class"] for r in rows if r["positive"] == 0]
    if empty:
        report.notes.append(Remark("classes without a positive: AUROC undefined", len(empty), _first(empty)))
    full = [r["class"] for r in rows if r["positive"] and not r["negative"] + r["missing"] + r["uncertain"]]
    if full:
        report.notes.append(Remark("classes without a negative: AUROC undefined", len(full), _first(full)))


def _concepts(report: CheckReport, manifest: Manifest, card: Card, lexicon: Collection[str]) -> None:
    """Classes that texts cannot name: with reports their sentences are left out of training."""
    outside = sorted({c for concepts in card.concepts.values() for c in concepts if c not in lexicon})
    if not outside:
        return
    near = {c: closest(c, lexicon) for c in outside[:EXAMPLES]}
    shown = tuple(f"{c}, near '{n}'" if n else c for c, n in near.items())
    what = "concepts outside the lexicon: sentences that name only them do not train, and are not counted"
    target = report.problems if manifest.frame["report"].notna().any() else report.notes
    target.append(Remark(what, len(outside), shown))


def _groups(counts: Sequence[int], card: Card) -> list[str]:
    rule = card.strata_rule
    percentile = rule.head_percentile if rule else HEAD_PERCENTILE
    at_most = rule.tail_at_most if rule else TAIL_AT_MOST
    cut = float(np.percentile(counts, percentile)) if counts else 0.0
    return ["tail" if n <= at_most else "head" if n > cut else "medium" for n in counts]


def _protocols(report: CheckReport, manifest: Manifest, card: Card) -> None:
    for name, protocol in card.protocols.items():
        try:
            chosen = evaluation_set(manifest, card, name)
        except DataError as error:
            report.protocols[name] = {"images": 0, "expected": protocol.images, "reason": str(error)}
            continue
        about = {"images": len(chosen), "expected": protocol.images, "classes": len(chosen.classes)}
        report.protocols[name] = about
        target = report.problems if report.origin == "official" else report.notes
        sizes = {
            "images": (len(chosen), protocol.images),
            "patients": (chosen.info["patients"], protocol.patients),
        }
        for what, (found, expected) in sizes.items():
            if expected is not None and expected != found:
                said = f"protocol {name}: {found:,} {what} of official {expected:,}"
                target.append(Remark(said, found))
        off = {
            c: (int((chosen.labels[:, i] == 1).sum()), protocol.positives[c])
            for i, c in enumerate(chosen.classes)
            if c in protocol.positives and len(chosen) == protocol.images
        }
        wrong = [f"{c} {found} for {wanted}" for c, (found, wanted) in off.items() if found != wanted]
        if wrong:
            report.problems.append(
                Remark(
                    f"protocol {name}: classes with other positives than official", len(wrong), _first(wrong)
                )
            )


def _images(
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
    report.images = {
        "opened": len(paths),
        "unreadable": [{"image_id": names[row], "reason": reasons[row]} for row in sorted(reasons)],
        "duplicates": [sorted(ids) for ids in twice],
        "kinds": dict(shapes.most_common()),
    }
    if reasons:
        first = [reasons[row] for row in sorted(reasons)[:EXAMPLES]]
        report.problems.append(Remark("unreadable images", len(reasons), tuple(first)))
    if twice:
        pairs = [" = ".join(ids[:3]) for ids in twice]
        report.problems.append(Remark("images with the same content", sum(map(len, twice)), _first(pairs)))
    if blank:
        shown = [names[row] for row in sorted(blank)]
        report.problems.append(Remark("images of one single value", len(blank), _first(shown)))
    return by_hash


def _against(
    report: CheckReport, manifest: Manifest, card: Card, against: Against, hashes: dict[str, list[str]]
) -> tuple[_Part, _Part]:
    """Patients, images and contents that another dataset's training part shares with this one; returns what
    of both was compared."""
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
    report.overlap = {
        "against": against.dataset,
        "training_images": len(training),
        "same_ids": one_space,
        "patients": 0,
        "images": 0,
        "contents": 0,
    }
    target = report.problems if one_space else report.notes
    for column, key in (("patient_id", "patients"), ("image_id", "images")):
        shared = sorted(set(tested[column].dropna()) & set(training[column].dropna()))
        report.overlap[key] = len(shared)
        if shared:
            doubt = "" if one_space else " (the two sets number them independently)"
            what = f"{key} that are also in the training part of {against.dataset}{doubt}"
            target.append(Remark(what, len(shared), _first(shared)))
    if hashes:
        ids = set(tested["image_id"])
        same = _same_contents(other.root, training["path"], {h for h, n in hashes.items() if ids & set(n)})
        report.overlap["contents"] = len(same)
        if same:
            what = f"images whose bytes are also in the training part of {against.dataset}"
            report.problems.append(Remark(what, len(same), _first([hashes[h][0] for h in same])))
    return _Part(manifest.root, tested), _Part(other.root, training)


class _Part(NamedTuple):
    """Rows of a manifest below its root."""

    root: Path
    frame: pd.DataFrame

    @property
    def paths(self) -> list[Path]:
        return [self.root / str(path) for path in self.frame["path"]]


def _alike(
    report: CheckReport, other: str, tested: _Part, training: _Part, workers: int | None, said: Report | None
) -> None:
    """Images of both parts that look alike, though their bytes may differ. A note: two films of one patient
    may look alike too, so that a person has to compare them."""
    count = workers or cores()
    own, seen = (perceptual_hashes(part.paths, count, said) for part in (tested, training))
    rows = [np.flatnonzero(known) for _, known in (own, seen)]
    pairs = pairs_alike(own[0][rows[0]], seen[0][rows[1]])
    names = [part.frame["image_id"].astype(str).to_numpy() for part in (tested, training)]
    best: dict[str, tuple[str, int]] = {}
    for a, b, bits in pairs:
        best.setdefault(str(names[0][rows[0][a]]), (str(names[1][rows[1][b]]), bits))
    report.overlap["alike"] = len(best)
    if best:
        shown = [f"{name} ~ {match} ({bits} bits)" for name, (match, bits) in best.items()]
        what = f"images that look like one of the training part of {other}; compare them"
        report.notes.append(Remark(what, len(best), _first(shown)))


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


def _first(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(n) for n in names[:EXAMPLES])
