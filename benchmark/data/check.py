"""Does a folder hold the dataset that its card describes? Counts, images, labels, patients.

A problem makes the check fail; a note does not. Images are opened one after the other in worker processes,
so memory does not grow with the set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmark.core.cells import known_clusters
from benchmark.core.errors import DataError, closest
from benchmark.core.progress import Report
from benchmark.core.tables import Manifest, Noticed, Origin
from benchmark.data.card_faults import check_own_card
from benchmark.data.cards import Card, load_card
from benchmark.data.check_images import Against, check_against, check_alike, check_images
from benchmark.data.check_report import EXAMPLES, CheckReport, ClassCounts, ProtocolCounts, Remark, first
from benchmark.data.dataset import SPLITS, evaluation_set, misspelt, read_dataset
from benchmark.data.readers.files import image_index, listed

HEAD_PERCENTILE, TAIL_AT_MOST = 65.0, 10
"""CARZero's groups by frequency, where the card has no rule of its own."""


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
    header for its view. Raises DataError where the tables themselves cannot be read, and CardError.
    """
    check_own_card(name)
    card = load_card(name)
    with listed(Path(root), listing):
        manifest = read_dataset(name, root, origin, unknown_labels=True)
        report = CheckReport(name, origin, str(root))
        _counts(report, manifest, card)
        _reading(report, manifest, card)
    report.problems += [Remark(said, count) for said, count in misspelt(manifest, card).items()]
    _splits(report, manifest)
    _labels(report, manifest, card)
    if lexicon is not None:
        _concepts(report, manifest, card, lexicon)
    _protocols(report, manifest, card)
    hashes: dict[str, list[str]] = {}
    if images and listing is None:
        hashes = check_images(report, manifest, workers, on_progress)
    if against is not None:
        shares, tested, training = check_against(report, manifest, card, against, hashes)
        if alike and hashes:
            near = check_alike(report, against.dataset, tested, training, workers, on_progress)
            shares = replace(shares, alike=near)
        report.overlap = shares
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
                number = manifest.info.counts.get("all_reports", number)  # files, as sources count them
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
    for item in manifest.info.dropped:
        target = report.notes if item.what in known_faults else report.problems
        target.append(_remark("label without an image" if "absent" in item.what else item.what, item))
    for item in manifest.info.seen:
        target = report.problems if item.what.startswith("image file without") else report.notes
        target.append(_remark(item.what, item))
    if card.table is not None:
        listed = set(manifest.frame["path"])
        stray = [p for paths in image_index(manifest.root).values() for p in paths if p not in listed]
        if stray:
            report.problems.append(Remark("image file without a row", len(stray), first(sorted(stray))))
    known = [*card.classes, *card.aliases, *card.removed]
    unknown, met = manifest.info.unknown_labels, manifest.info.labels_met
    too_many = met and sum(unknown.values()) / met > card.unknown_labels_at_most
    for label, count in unknown.items():
        near = closest(label, known)
        if near:
            report.problems.append(Remark(f"unknown label '{label}'; did it mean '{near}'?", count))
        else:
            target = report.problems if too_many else report.notes
            target.append(Remark(f"label '{label}' is no class of the card", count))
    for word, numbers in manifest.info.lists.items():
        if numbers.get("listed") != numbers.get("found"):
            target = report.problems if report.origin == "official" else report.notes
            target.append(
                Remark(
                    f"list {word}: {numbers['found']:,} of its {numbers['listed']:,} images are here",
                    numbers["found"],
                )
            )


def _remark(what: str, item: Noticed) -> Remark:
    return Remark(what, item.count, first(item.examples))


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
        report.problems.append(Remark(f"patients in {where}", len(names), first(names)))


def _labels(report: CheckReport, manifest: Manifest, card: Card) -> None:
    """Positives, negatives, uncertain and unmentioned per class, and its group by frequency."""
    frame = manifest.frame
    official = {c: group for group, names in card.strata().items() for c in names}
    patients, nameless = known_clusters(frame["patient_id"], frame["image_id"])
    if 0 < nameless < len(frame):
        report.notes.append(Remark("images of unknown patients, each a cluster of its own", nameless))
    rows: list[ClassCounts] = []
    for name in manifest.classes:
        states = frame[name]
        values = states.fillna(0).to_numpy(dtype=np.int8)
        missing = states.isna().to_numpy()
        positive = values == 1
        rows.append(
            ClassCounts(
                name,
                positive=int(positive.sum()),
                negative=int(((values == 0) & ~missing).sum()),
                uncertain=int((values == -1).sum()),
                missing=int(missing.sum()),
                patients=len(set(patients[positive])),
                official_group=official.get(name),
                group="",
            )
        )
    groups = _groups([row.positive for row in rows], card)
    report.labels = [replace(row, group=group) for row, group in zip(rows, groups, strict=True)]
    empty = [row.name for row in rows if not row.positive]
    if empty:
        report.notes.append(Remark("classes without a positive: AUROC undefined", len(empty), first(empty)))
    full = [row.name for row in rows if row.positive and not row.negative + row.missing + row.uncertain]
    if full:
        report.notes.append(Remark("classes without a negative: AUROC undefined", len(full), first(full)))


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
    failed: list[str] = []
    for name, protocol in card.protocols.items():
        try:
            chosen = evaluation_set(manifest, card, name)
        except DataError as error:
            report.protocols[name] = ProtocolCounts(0, protocol.images, reason=str(error))
            failed.append(str(error))
            continue
        steps = chosen.info.selection
        report.protocols[name] = ProtocolCounts(len(chosen), protocol.images, len(chosen.classes), steps)
        target = report.problems if report.origin == "official" else report.notes
        sizes = {
            "images": (len(chosen), protocol.images),
            "patients": (chosen.info.patients, protocol.patients),
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
        twice = [c for c, count in Counter(chosen.classes).items() if count > 1]
        if twice:
            said = f"protocol {name}: classes listed more than once, which weigh so often in its means"
            report.problems.append(Remark(said, len(twice), first(twice)))
        wrong = [f"{c} {found} for {wanted}" for c, (found, wanted) in off.items() if found != wanted]
        if wrong:
            report.problems.append(
                Remark(
                    f"protocol {name}: classes with other positives than official", len(wrong), first(wrong)
                )
            )
    if failed and len(failed) == len(card.protocols):  # of a set for training too, its training part may do
        target = report.problems if card.role == "evaluation" else report.notes
        target.append(
            Remark("protocols that choose no image, and there is no other", len(failed), first(failed))
        )
