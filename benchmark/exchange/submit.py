"""A bundle → a row of the registry, where every check holds."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchmark.core.errors import BenchError, DataError
from benchmark.core.files import temporary_prefix, write_json
from benchmark.data.cards import Card, load_card
from benchmark.exchange.bundle import (
    METRICS,
    RECORD,
    Bundle,
    card_record,
    predictions_name,
    read_bundle,
    read_scores,
)
from benchmark.exchange.recompute import check_possible, check_scores, difference, headline, metric_rows
from benchmark.exchange.registry import (
    BUNDLE,
    ENTRY,
    KEYS,
    Entry,
    EvidenceClass,
    check_free,
    read_entry,
    registry_folder,
    row_folders,
    row_name,
    same_cell,
)
from benchmark.exchange.signing import signer
from benchmark.exchange.truth import Labelled, agree, labels_here, labels_of, same_images
from benchmark.grid.layout import Project
from benchmark.score.joining import check_another_training

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Checked:
    """What a bundle was found to be. beside: one line for each row of the same cell in the registry.
    remarks: what the reading of the labels here noticed."""

    bundle: Bundle
    entry: Entry
    auroc: dict[str, float]
    beside: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        return {
            "name": self.bundle.record.name, "dataset": self.bundle.record.dataset, "auroc_macro": self.auroc,
            "other_bundles": list(self.beside), "remarks": list(self.remarks), **self.entry.model_dump(),
        }  # fmt: skip

    @property
    def text(self) -> str:
        record, a = self.bundle.record, self.auroc
        whose = {"here": "labels of this project", "bundle": "labels of the bundle", "none": "no labels here"}
        signed = f", signed by {self.entry.key}" if self.entry.key else ""
        lines = [
            f"{record.name} on {record.dataset} ({record.origin}), {len(record.seeds)} seeds: macro AUROC "
            f"{a['value']:.4f} [{a['low']:.4f}, {a['high']:.4f}]",
            f"evidence: {self.entry.evidence} ({whose[self.entry.labels]}{signed})",
        ]
        return "\n".join([*lines, *self.remarks, *self.beside])


def check(project: Project, folder: Path, *, data_root: Path | None = None, quoted: bool = False) -> Checked:
    """Hold a bundle against its card, its hashes and its own numbers.

    quoted: take it even where nothing but its word stands for the numbers. Raises BenchError in one line that
    says what does not hold, and by how much.
    """
    bundle = read_bundle(folder)
    record = bundle.record
    card = load_card(record.dataset)
    _same_card(bundle, card)
    classes = tuple(card.protocol_classes(record.protocol))
    for name, members in record.strata.items():
        odd = next((c for c in members if c not in classes), None)
        if odd is not None:
            raise DataError(f"{bundle.folder}: group '{name}' names '{odd}', no class of {record.dataset}.")
    scores = {seed: read_scores(path, classes) for seed, path in bundle.predictions.items()}
    key = signer(bundle, registry_folder(project.root) / KEYS)
    here = labels_here(project, record.dataset, record.origin, record.protocol, data_root)
    first = next(iter(scores.values()))
    if here is not None and not same_images(here, first) and (data_root is not None or not bundle.has_labels):
        check_scores(bundle.folder / predictions_name(record.seeds[0]), first, here, record.dataset)
    if here is not None and not same_images(here, first):
        here = None
    own = labels_of(bundle) if bundle.has_labels else None
    if here is not None and own is not None:
        agree(here, own, bundle.folder)
    labels = here or own
    evidence: EvidenceClass = "recomputed" if labels else "signed" if key else "quoted"
    if evidence == "quoted" and not quoted:
        raise BenchError(
            f"{folder}: nothing can be recomputed, as the labels of {record.dataset} are neither in the "
            "bundle nor here, and no trusted key signed it. Give --data-root DIR, add the site's key to "
            f"results-registry/{KEYS}, or take its word with --quoted."
        )
    if labels is not None:
        _recompute(bundle, scores, labels)
    else:
        try:
            check_possible(bundle.metrics())
        except DataError as error:
            raise DataError(f"{bundle.folder / METRICS}: {error}") from None
    _same_counts(bundle, scores)
    whose: Literal["here", "bundle", "none"] = (
        "here" if here is not None else "bundle" if own is not None else "none"
    )
    entry = Entry(evidence=evidence, labels=whose, key=key, bundle=bundle.digest)
    noticed = here.remarks if here is not None else ()
    return Checked(bundle, entry, headline(record, bundle.metrics()), _beside(project, bundle), noticed)


def add(project: Project, checked: Checked) -> Path:
    """Copy the bundle to results-registry/. Raises BenchError where it is there already."""
    target = registry_folder(project.root) / row_name(checked.bundle)
    check_free(target)
    target.parent.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=temporary_prefix(target.name)))
    try:
        shutil.copytree(checked.bundle.folder, folder / BUNDLE)
        write_json(folder / ENTRY, checked.entry.model_dump())
        folder.chmod(0o755)
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return target


def check_registry(project: Project) -> list[str]:
    """One line a row that holds, each recomputed where its labels are here. Raises BenchError for the first
    that does not."""
    lines = []
    for folder in row_folders(project.root):
        entry, _ = read_entry(folder)
        found = check(project, folder / BUNDLE, quoted=entry.evidence != "signed").entry
        if entry.evidence == "recomputed" and found.labels == "none":
            said = "recomputed when added; its labels are not here"
        elif found.evidence != entry.evidence:
            said = f"stands as {entry.evidence}, and is {found.evidence} here"
        else:
            said = found.evidence
        lines.append(f"{folder.name}: {said}")
    return lines


def _same_counts(bundle: Bundle, scores: Mapping[int, pd.DataFrame]) -> None:
    """Raises DataError where a record says more images or trainings than its scores are of."""
    read: dict[Path, np.ndarray] = {}
    for seed, frame in scores.items():
        path = bundle.folder / predictions_name(seed)
        if len(frame) != bundle.record.images:
            raise DataError(
                f"{path}: {RECORD} says {bundle.record.images:,} images, its scores are of {len(frame):,}. "
                "Export it again."
            )
        values = frame.sort_values("image_id").drop(columns="image_id").to_numpy()
        check_another_training(path, values, read)
        read[path] = values


def _same_card(bundle: Bundle, card: Card) -> None:
    record = bundle.record
    if record.protocol not in card.protocols:
        raise DataError(
            f"{bundle.folder}: {record.dataset} has no protocol '{record.protocol}'. "
            "See `bench ls datasets`, and evaluate under one that is there."
        )
    ours = card_record(card, record.protocol)
    if record.card.version != ours.version:
        raise DataError(
            f"{bundle.folder}: made with the card of {record.dataset} of version '{record.card.version}', "
            f"here it is '{ours.version}'; revisions never share a table. Evaluate it under this card."
        )
    if record.card.protocol != ours.protocol:
        raise DataError(
            f"{bundle.folder}: protocol '{record.protocol}' of {record.dataset} has other rules or classes "
            f"here ({ours.protocol[:8]} against {record.card.protocol[:8]}). Evaluate it under this card."
        )


def _recompute(bundle: Bundle, scores: Mapping[int, pd.DataFrame], labels: Labelled) -> None:
    record = bundle.record
    for seed, frame in scores.items():
        check_scores(bundle.folder / predictions_name(seed), frame, labels, record.dataset)
    rows = metric_rows(scores, labels, record.strata, record.identity())
    try:
        found = difference(bundle.metrics(), rows)
    except DataError as error:
        raise DataError(f"{bundle.folder / METRICS}: {error}") from None
    if found is not None:
        raise DataError(
            f"{bundle.folder / METRICS}: its numbers are not those of its scores: {found}. Export it again."
        )


def _beside(project: Project, bundle: Bundle) -> tuple[str, ...]:
    """How the bundle stands to those of the same cell in the registry, a line each."""
    lines = []
    for folder in same_cell(project.root, bundle):
        if folder.name == row_name(bundle) or folder == bundle.folder.parent:
            continue
        other = read_bundle(folder / BUNDLE)
        found = difference(other.metrics(), bundle.metrics())
        site = other.record.provenance.site
        lines.append(
            f"agrees with {folder.name} ({site}) to 1e-6"
            if found is None
            else f"differs from {folder.name} ({site}): {found}"
        )
    return tuple(lines)
