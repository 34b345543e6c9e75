"""From files to a manifest, and from a manifest to the images and labels that one protocol evaluates."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from pydantic import BaseModel

from benchmark.core.cells import known_clusters, unknown_labels_said
from benchmark.core.errors import DataError
from benchmark.core.tables import Manifest, Origin
from benchmark.data.cards import Card, LabelPolicy, Policy, Protocol, View, load_card
from benchmark.data.readers import READERS

if TYPE_CHECKING:
    import pandas as pd

IGNORED = -1
SPLITS = ("train", "validate", "test")
COUNTS_AS: dict[Policy, int] = {"positive": 1, "negative": 0, "ignore": IGNORED}


class EvaluationFacts(BaseModel, frozen=True, extra="forbid"):
    """What a protocol chose, left out and expects, as results record it.

    official: whether the protocol is that of the dataset's authors. official_images: how many images the
    official files have of it, None where the card does not say. unknown_patients: images that are clusters of
    their own. selection: rule → images left after it. views: view → images. no_positives, no_negatives:
    classes without any.
    """

    protocol: str
    official: bool
    images: int
    official_images: int | None
    patients: int
    unknown_patients: int
    selection: dict[str, int]
    views: dict[str, int]
    labels: LabelPolicy
    no_positives: tuple[str, ...]
    no_negatives: tuple[str, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """For keys and the metadata of results."""
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class EvaluationSet:
    """What one protocol evaluates.

    frame: the chosen manifest rows, in manifest order. classes: C names in evaluation order. labels:
    (N, C) int8, 1, 0 or -1 (ignored). patients: (N,) text, the cluster unit.
    """

    frame: pd.DataFrame
    classes: tuple[str, ...]
    labels: np.ndarray
    patients: np.ndarray
    protocol: Protocol
    info: EvaluationFacts

    def __len__(self) -> int:
        return len(self.frame)


def read_dataset(name: str, root: Path | str, origin: Origin, *, unknown_labels: bool = False) -> Manifest:
    """Read a dataset from its official tree, or from a twin in that layout.

    unknown_labels: read on whatever share of the labels is no class, as a check does, which reports them.
    Raises UnknownName for the dataset or its reader, DataError where the files are not as the card says and
    where more labels are no class than the card allows: each of them counts as a negative.
    """
    card = load_card(name)
    result = READERS.get(card.reader)(Path(root), card)
    unknown, met = sum(result.info.unknown_labels.values()), result.info.labels_met
    if not unknown_labels and met and unknown / met > card.unknown_labels_at_most:
        raise DataError(
            f"{root}: {said_unknown(result.info.unknown_labels, card)}; that is {unknown / met:.1%} of "
            f"{met:,} labels. Name them in `concepts`, `aliases` or `removed` of the card, or raise its "
            "`unknown_labels_at_most`."
        )
    return dataclasses.replace(result, origin=origin)


def said_unknown(unknown: dict[str, int], card: Card) -> str:
    """How many labels are no class, and the nearest known name of the most frequent ones."""
    return unknown_labels_said(unknown, [*card.classes, *card.aliases, *card.removed])


def remarks(manifest: Manifest, card: Card) -> list[str]:
    """What every command says that read the manifest: labels that are no class, images left out, images whose
    patient is unknown. One line each; none where nothing is off."""
    unknown = manifest.info.unknown_labels
    lines = [said_unknown(unknown, card)] if unknown else []
    lines += [f"{item.count:,} images left out: {item.what}" for item in manifest.info.dropped]
    lines += [f"{count:,} images of {said}" for said, count in misspelt(manifest, card).items()]
    nameless = int(manifest.frame["patient_id"].isna().sum())
    if 0 < nameless < len(manifest):
        lines.append(f"{nameless:,} images of unknown patients: each is a cluster of its own")
    return lines


def misspelt(manifest: Manifest, card: Card) -> dict[str, int]:
    """`view 'pa', which the card does not know; did it mean 'PA'?` → its images.

    A view or a split in another case, or with other points, than the word it stands for is another word to a
    protocol, which then leaves its images out.
    """
    table = card.table.split_names if card.table else {}
    known = {
        "view": {*card.views, *get_args(View)},
        "split": {*SPLITS, *table, *(s for p in card.protocols.values() for s in p.split)},
    }
    out = {}
    for column, words in known.items():
        meant = {_letters(word): word for word in sorted(words)}
        for value, count in manifest.frame[column].value_counts().items():
            near = meant.get(_letters(str(value)))
            if near is not None and value not in words:
                out[f"{column} '{value}', which the card does not know; did it mean '{near}'?"] = int(count)
    return out


def _letters(word: str) -> str:
    return "".join(c for c in word.casefold() if c.isalnum())


def evaluation_set(manifest: Manifest, card: Card, protocol: str | None = None) -> EvaluationSet:
    """Rows, classes and labels of a protocol (None: the card's default). Rows stay in manifest order;
    classes are in the protocol's order and are found by name.

    Raises UnknownName for the protocol, DataError for a class or list that the manifest lacks and where
    no image is left.
    """
    name = protocol or card.default_protocol
    chosen = card.protocol(name)
    classes = card.protocol_classes(name)
    keep, steps = _select(manifest, card, chosen, str(name))
    frame = manifest.frame[keep].reset_index(drop=True)
    if frame.empty:
        raise DataError(
            f"{card.name}: protocol '{name}' leaves no image of {len(manifest)} "
            f"({', '.join(f'{k}: {v}' for k, v in steps.items())}). Choose another with --protocol."
        )
    labels = np.stack([_column(frame, card, chosen, str(name), c) for c in classes], axis=1)
    patients, nameless = known_clusters(frame["patient_id"], frame["image_id"])
    info = EvaluationFacts(
        protocol=str(name),
        official=chosen.official,
        images=len(frame),
        official_images=chosen.images,
        patients=len(set(patients)),
        unknown_patients=nameless,
        selection=steps,
        views={str(k): int(v) for k, v in frame["view"].fillna("none").value_counts().items()},
        labels=chosen.labels,
        no_positives=tuple(c for i, c in enumerate(classes) if not (labels[:, i] == 1).any()),
        no_negatives=tuple(c for i, c in enumerate(classes) if not (labels[:, i] == 0).any()),
        notes=chosen.notes,
    )
    return EvaluationSet(frame, classes, labels.astype(np.int8), patients, chosen, info)


def _select(
    manifest: Manifest, card: Card, protocol: Protocol, name: str
) -> tuple[np.ndarray, dict[str, int]]:
    """Row mask and the number of images left after each rule."""
    frame = manifest.frame
    keep = np.ones(len(frame), dtype=bool)
    steps = {"read": len(frame)}
    if protocol.image_list:
        column = f"list:{protocol.image_list}"
        if column not in frame:
            others = [k for k in card.protocols if k != name and card.protocols[k].image_list is None]
            hint = f" Or choose --protocol {others[0]}." if others else ""
            raise DataError(
                f"{card.name}: protocol '{name}' needs the image list '{protocol.image_list}', which is not "
                f"below {manifest.root}. Put the file there.{hint}"
            )
        keep &= frame[column].fillna(False).to_numpy(dtype=bool)
        steps[f"in list {protocol.image_list}"] = int(keep.sum())
    if protocol.split:
        keep &= frame["split"].isin(list(protocol.split)).to_numpy(dtype=bool)
        steps[f"split {' or '.join(protocol.split)}"] = int(keep.sum())
    if protocol.views != "all":
        keep &= frame["view"].isin(list(protocol.views)).to_numpy(dtype=bool)
        steps[f"view {' or '.join(protocol.views)}"] = int(keep.sum())
    return keep, steps


def _column(frame: pd.DataFrame, card: Card, protocol: Protocol, name: str, label: str) -> np.ndarray:
    """(N,) of 1, 0, -1 under the protocol's policy."""
    source = protocol.labels.source
    column = f"{label}@{source}" if source else label
    if column not in frame:
        raise DataError(
            f"{card.name}: protocol '{name}' needs labels '{column}', which the manifest lacks. "
            f"Read the dataset again (`bench data prepare {card.name}`)."
        )
    states = frame[column]
    missing = states.isna().to_numpy()
    values = states.fillna(0).to_numpy(dtype=np.int8)
    uncertain = values == -1
    values[uncertain] = COUNTS_AS[protocol.labels.uncertain_of(label)]
    values[missing] = COUNTS_AS[protocol.labels.missing]
    return values
