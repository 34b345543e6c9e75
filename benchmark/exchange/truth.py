"""Labels that a bundle's scores are held against: those of this project, of official files, or its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.errors import DataError
from benchmark.core.patient_ids import check_one_form
from benchmark.core.tables import Manifest, Origin, read_table, write_table
from benchmark.data.cards import Card, load_card
from benchmark.exchange.bundle import LABELS, SUBGROUP, Bundle, check_ids
from benchmark.grid.layout import Project, source_name

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Labelled:
    """ids: (N,) text. classes: C names. labels: (N, C) int8, 1, 0 or -1 (ignored). patients: (N,) text.
    subgroups: name → (N,) level, empty where unknown. remarks: what the reading noticed, one line each."""

    ids: np.ndarray
    classes: tuple[str, ...]
    labels: np.ndarray
    patients: np.ndarray
    subgroups: Mapping[str, np.ndarray] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def save(self, path: Path) -> None:
        import pandas as pd

        own = pd.DataFrame({"image_id": self.ids, "patient_id": self.patients})
        classes = pd.DataFrame(self.labels, columns=list(self.classes))
        groups = pd.DataFrame({f"{SUBGROUP}{k}": v for k, v in self.subgroups.items()})
        write_table(path, pd.concat([own, classes, groups], axis=1), {"classes": list(self.classes)})


def may_travel(card: Card, origin: Origin) -> bool:
    """Whether labels of these images may be given on: those of a twin are of nobody."""
    return origin == "twin" or card.redistribute


def labels_here(
    project: Project | None, dataset: str, origin: Origin, protocol: str, data_root: Path | None = None
) -> Labelled | None:
    """Labels from official files below `data_root`, else from what the project prepared; None without."""
    from benchmark.data.dataset import read_dataset

    card = load_card(dataset)
    if data_root is not None:
        return _of_manifest(read_dataset(dataset, data_root, "official"), card, protocol)
    if project is None:
        return None
    folder = project.prepared(source_name(dataset, origin))
    if not (folder / "manifest.parquet").is_file():
        return None
    return _of_manifest(Manifest.load(folder), card, protocol)


def _of_manifest(manifest: Manifest, card: Card, protocol: str) -> Labelled:
    from benchmark.data.chosen import chosen_set
    from benchmark.data.dataset import remarks
    from benchmark.evaluation.evaluation_data import subgroups_of

    chosen = chosen_set(manifest, card, protocol)
    return Labelled(
        chosen.frame["image_id"].astype(str).to_numpy(dtype=object),
        tuple(chosen.classes),
        np.asarray(chosen.labels),
        np.asarray(chosen.patients),
        subgroups_of(chosen.frame),
        tuple(remarks(manifest, card)),
    )


def labels_of(bundle: Bundle) -> Labelled:
    """The labels in a bundle. Raises DataError on columns that do not belong there, and on other labels."""
    path = bundle.folder / LABELS
    record = bundle.record
    card = load_card(record.dataset)
    if not may_travel(card, record.origin):
        raise DataError(
            f"{path}: the licence of {record.dataset} does not allow to give labels on. Take the file out of "
            "the bundle and tell the site."
        )
    frame, _ = read_table(path)
    classes = tuple(card.protocol_classes(record.protocol))
    groups = [str(c) for c in frame.columns if str(c).startswith(SUBGROUP)]
    known = {"image_id", "patient_id", *classes, *(f"{SUBGROUP}{g}" for g in ("sex", "age", "view", "site"))}
    for name in frame.columns:
        if name not in known:
            raise DataError(
                f"{path}: column '{str(name)[:60]}' is no part of labels. Export the bundle again."
            )
    lacking = [c for c in ("image_id", "patient_id", *classes) if c not in frame]
    if lacking:
        raise DataError(f"{path}: no column '{lacking[0]}'. Export the bundle again.")
    check_ids(path, frame)
    check_one_form(frame["patient_id"], path, lambda row: f"image '{frame['image_id'].iloc[row]}'")
    labels = frame[list(classes)].to_numpy()
    if not np.isin(labels, (1, 0, -1)).all():
        raise DataError(f"{path}: a label is none of 1, 0, -1. Export the bundle again.")
    return Labelled(
        frame["image_id"].astype(str).to_numpy(dtype=object),
        classes,
        labels.astype(np.int8),
        frame["patient_id"].astype(str).to_numpy(dtype=object),
        {g.removeprefix(SUBGROUP): frame[g].astype(str).to_numpy(dtype=object) for g in groups},
    )


def agree(ours: Labelled, theirs: Labelled, path: Path) -> None:
    """Raises DataError, with how many and which, where labels of the same images differ."""
    place = {name: i for i, name in enumerate(theirs.ids)}
    order = np.array([place[i] for i in ours.ids])
    differ = ours.labels != theirs.labels[order]
    if differ.any():
        row, column = map(int, np.argwhere(differ)[0])
        raise DataError(
            f"{path}: {int(differ.sum()):,} labels differ from those here, the first of image "
            f"'{ours.ids[row]}', class '{ours.classes[column]}'. Was it evaluated on other files?"
        )


def same_images(labels: Labelled, frame: pd.DataFrame) -> bool:
    return len(labels.ids) == len(frame) and set(labels.ids) == set(frame["image_id"])
