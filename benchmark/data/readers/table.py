"""The generic reader: one CSV of images and labels, described by the card's `table` options. No code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.core.cells import blanks, tallied
from benchmark.core.errors import CardError, DataError
from benchmark.core.tables import Manifest
from benchmark.data.cards import Card
from benchmark.data.readers import READERS
from benchmark.data.readers.common import (
    Log,
    manifest,
    name_lists,
    normal_views,
    read_csv,
    require_ids,
    rounded,
    states,
)
from benchmark.data.readers.files import below, is_here, require_root
from benchmark.data.readers.people import ages, sexes
from benchmark.data.table_options import LabelColumns, LabelList

SPLITS = {"train", "validate", "test"}


@READERS.register("table")
def read(root: Path, card: Card) -> Manifest:
    """Raises DataError for a missing file, column or id, a repeated image, a label that is no state and
    a path that leaves the data root."""
    root = require_root(root, card)
    options = card.table
    if options is None:
        raise CardError(f"{card.name}: `reader: table` needs `table` options.")
    log = Log()
    path = root / below(root, options.file, f"{card.name} card")
    log.files["table"] = options.file
    fields = {
        "study_id": options.study,
        "patient_id": options.patient,
        "view": options.view,
        "split": options.split,
        "report": options.report,
        "sex": options.sex,
        "age": options.age,
        "site": options.site,
    }
    used = {k: v for k, v in fields.items() if v}
    labels = options.labels
    if isinstance(labels, LabelColumns):
        label_columns = {c: labels.columns.get(c, c) for c in card.classes}
        wanted = list(label_columns.values())
    else:
        label_columns, wanted = {}, [labels.column]
    frame = read_csv(
        path,
        [options.image, *used.values(), *wanted],
        (),
        delimiter=options.delimiter,
        encoding=options.encoding,
    )
    frame[options.image] = frame[options.image].str.strip()
    require_ids(frame, options.image, path)
    names = frame[options.image]
    repeated = names.duplicated()
    if repeated.any():
        row = int(np.flatnonzero(repeated)[0])
        raise DataError(f"{path}: row {row + 1}: image '{names.iloc[row]}' occurs twice.")
    places = [
        below(root, f"{options.folder}/{name}{options.suffix}".lstrip("/"), f"{path}: row {i}")
        if not name.startswith("/")
        else below(root, name, f"{path}: row {i}")
        for i, name in enumerate(names, 1)
    ]
    here = np.array([is_here(root, place) for place in places], dtype=bool)
    log.drop("image file is absent", names[~here])
    if not here.any():
        raise DataError(
            f"{path}: none of {len(frame)} images is here, e.g. {places[0] if places else 'no row'}."
        )
    columns = _labels(frame, card, labels, label_columns, path, log, options.image)

    meta = pd.DataFrame({"image_id": names, "path": places})
    for field, column in used.items():
        text = frame[column].str.strip()
        meta[field] = text.where(~blanks(text), None)
    if "age" in meta:
        meta["age"] = ages(frame[used["age"]].set_axis(names), log).to_numpy()
    if "patient_id" not in meta:
        meta["patient_id"] = names
        log.note("the table names no patients: every image is its own cluster")
    else:
        rounded(frame, used["patient_id"], path)
        log.see("patient is unknown: the image is its own cluster", names[meta["patient_id"].isna()])
    if "study_id" not in meta:
        meta["study_id"] = names
    else:
        rounded(frame, used["study_id"], path)
    if "view" in meta:
        meta["view"] = normal_views(frame[used["view"]].set_axis(names), card, log).to_numpy()
    if "sex" in meta:
        meta["sex"] = sexes(frame[used["sex"]].set_axis(names), log).to_numpy()
    if "split" in meta:
        meta["split"] = meta["split"].map(lambda v: options.split_names.get(v, v), na_action="ignore")
        odd = sorted(set(meta["split"].dropna()) - SPLITS)
        if odd:
            log.note(f"splits other than train, validate and test: {', '.join(odd)}")
    else:
        meta["split"] = "test"
    kept = {name: column[here] for name, column in columns.items()}
    return manifest(root, card, meta[here], kept, log, table=path)


def _labels(
    frame: pd.DataFrame,
    card: Card,
    labels: LabelColumns | LabelList,
    columns: dict[str, str],
    path: Path,
    log: Log,
    image: str,
) -> dict[str, np.ndarray]:
    if isinstance(labels, LabelColumns):
        return dict(states(frame, columns, path))
    lists = name_lists(frame[labels.column], labels.column, path, separator=labels.separator)
    matrix, log.labels = tallied(lists, card.classes, card.aliases, (*labels.normal, *card.removed))
    blank = blanks(frame[labels.column]) & ~frame[labels.column].str.strip().isin(labels.normal).to_numpy()
    log.see("labels are blank: no class is mentioned", frame.loc[blank, image])
    values = matrix.astype(object)
    values[blank] = None
    return {name: values[:, i] for i, name in enumerate(card.classes)}
