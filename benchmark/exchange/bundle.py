"""A bundle: the results of one row (a method, or a cell, on one evaluation set) in a folder of their own.

bundle.json                  what it is, where it comes from, and the sha256 of every other file
predictions-seed-N.parquet   image_id, then one column of scores a class
labels.parquet               image_id, patient_id, classes, `subgroup:NAME`; only where the licence allows it
metrics.parquet              METRIC_COLUMNS: every seed, and the means over seeds with an empty seed
signature.json               of bundle.json; only where it was signed

No image, no report text and no path is in it. Equal results give equal bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError, field_validator

from benchmark.core.errors import DataError
from benchmark.core.files import read_json
from benchmark.core.hashing import hash_file, hash_value
from benchmark.core.tables import METRIC_COLUMNS, Origin, read_table
from benchmark.evaluation.statistics.metric_values import RowIdentity
from benchmark.grid.strict import Strict

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.data.cards import Card

RECORD, LABELS, METRICS, SIGNATURE = "bundle.json", "labels.parquet", "metrics.parquet", "signature.json"
SUBGROUP = "subgroup:"
LONGEST_ID = 200
"""Characters of an image id; a longer cell is text."""
Text = Field(min_length=1, max_length=500)
Texts = dict[str, Annotated[str, Text]]
RUN_FIELDS = frozenset({
    "method", "seed", "epochs", "steps", "best_epoch", "val_loss", "val_auroc", "converged", "seconds",
    "device", "commit", "options", "training", "train_images", "val_images", "parameters_trained",
    "model_sha256", "data_key", "text_key", "images_key", "identity", "numerics", "selected_by",
    "sentences_seen",
})  # fmt: skip
"""What of run.json travels; whatever else a record holds stays."""


class CardRecord(Strict):
    """Which card the row was evaluated under. protocol: hash of its rules, classes and named groups."""

    version: str = Text
    protocol: str = Field(pattern="^[0-9a-f]{64}$")


class Provenance(Strict):
    """Who made the row and from what. weights: seed → sha256 of the weights; runs: seed → the record of the
    training, without times of day, hosts and paths."""

    site: str = Text
    commit: str = Text
    encoder: str = Text
    trained_on: str = Text
    prompts: str = Text
    source: str = Text
    weights: Texts
    versions: Texts
    runs: dict[str, dict[str, Any]]


class BundleRecord(Strict):
    """bundle.json. name: the row's, as the registry and the tables use it. strata: named groups of classes.
    files: name → sha256."""

    format: Literal["cxr-alignbench-bundle/1"]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")
    title: str = Text
    method: str = Text
    variant: str = Text
    dataset: str = Text
    origin: Origin
    protocol: str = Text
    card: CardRecord
    seeds: tuple[int, ...] = Field(min_length=1)
    images: int = Field(gt=0)
    strata: dict[str, tuple[str, ...]]
    labels: str = Text
    provenance: Provenance
    files: dict[str, str]

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value):
            raise ValueError("a seed stands twice")
        return value

    def identity(self) -> RowIdentity:
        """What its rows are of, but for the seed."""
        return RowIdentity(
            run_id=self.name, method=self.method, variant=self.variant,
            encoder=self.provenance.encoder, dataset=self.dataset, origin=self.origin,
            split=self.protocol, prompts=self.provenance.prompts, task="classification",
        )  # fmt: skip


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are as its record says."""

    folder: Path
    record: BundleRecord

    @property
    def digest(self) -> str:
        """sha256 of bundle.json, which holds those of all other files."""
        return hash_file(self.folder / RECORD)

    @property
    def predictions(self) -> dict[int, Path]:
        return {seed: self.folder / predictions_name(seed) for seed in self.record.seeds}

    @property
    def has_labels(self) -> bool:
        return LABELS in self.record.files

    def metrics(self) -> pd.DataFrame:
        """METRIC_COLUMNS as the bundle says them. Raises DataError where columns differ."""
        frame, _ = read_table(self.folder / METRICS)
        if list(frame.columns) != list(METRIC_COLUMNS):
            odd = next((c for c in frame.columns if c not in METRIC_COLUMNS), None)
            what = f"column '{odd}' is none of a metrics table" if odd else "columns are missing"
            raise DataError(f"{self.folder / METRICS}: {what}. Export the bundle again.")
        return frame


def predictions_name(seed: int) -> str:
    return f"predictions-seed-{seed}.parquet"


def card_record(card: Card, protocol: str) -> CardRecord:
    """What of a card decides the numbers of a protocol."""
    rules = card.protocol(protocol).model_dump(mode="json", exclude={"title", "notes", "prompts"})
    parts = [card.version, rules, card.protocol_classes(protocol), card.strata(), card.subsets, card.pseudo]
    return CardRecord(version=card.version, protocol=hash_value(parts))


def read_bundle(folder: Path) -> Bundle:
    """Raises DataError where a file is missing, changed, of another name, or bundle.json is not as it should
    be; the line names what is missing in it."""
    path = folder / RECORD
    if not path.is_file():
        raise DataError(f"{folder}: no {RECORD} here, so no bundle. Make one by `bench export`.")
    try:
        record = BundleRecord.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the record"
        said = "is missing" if first["type"] == "missing" else first["msg"].lower()
        said = said.removeprefix("value error, ")
        raise DataError(f"{path}: {where}: {said}. Export the bundle again.") from None
    expected = {predictions_name(seed) for seed in record.seeds} | {METRICS}
    lacking = sorted(expected - set(record.files))
    surplus = sorted(set(record.files) - expected - {LABELS})
    if lacking or surplus:
        what = f"lacks {lacking[0]}" if lacking else f"lists {surplus[0]}, which no bundle has"
        raise DataError(f"{path}: {what}. Export the bundle again.")
    _check_said(path, record)
    for name, digest in record.files.items():
        if (folder / name).is_symlink() or not (folder / name).is_file():
            raise DataError(f"{folder / name}: listed in {RECORD}, but there is no such file. Copy it whole.")
        if hash_file(folder / name) != digest:
            raise DataError(f"{folder / name}: was changed after the export (sha256). Export it again.")
    known = {*record.files, RECORD, SIGNATURE}
    others = sorted(entry.name for entry in folder.iterdir() if entry.name not in known)
    if others:
        raise DataError(f"{folder / others[0]}: is no part of the bundle. Remove it.")
    return Bundle(folder, record)


def _check_said(path: Path, record: BundleRecord) -> None:
    """Raises DataError where a record says of its labels and trainings what its files and seeds are not."""
    said = "of a synthetic twin: included" if record.origin == "twin" else "included"
    if LABELS in record.files and record.labels != said:
        odd = f"labels: '{record.labels:.60}', but {LABELS} is in it; expected '{said}'"
    elif LABELS not in record.files and not record.labels.startswith("not included"):
        odd = f"labels: '{record.labels:.60}', but {LABELS} is not in it; expected 'not included'"
    else:
        odd = ""
    made, seeds = record.provenance, {str(seed) for seed in record.seeds}
    for name, own in (("weights", made.weights), ("runs", made.runs)):
        for seed in own:
            if seed not in seeds:
                odd = odd or f"provenance.{name}: '{seed:.60}' is none of its seeds"
    for seed, run in made.runs.items():
        for key in run.keys() - RUN_FIELDS:
            odd = odd or f"provenance.runs.{seed}: '{key:.60}' is no part of the record of a training"
        if str(run.get("seed", seed)) != seed:
            odd = odd or f"provenance.runs.{seed}: is of another seed"
    if odd:
        raise DataError(f"{path}: {odd}. Export the bundle again.")


def read_scores(path: Path, classes: tuple[str, ...]) -> pd.DataFrame:
    """image_id and one column a class, in this order.

    Raises DataError for any other column (text and labels never travel as predictions), ids that stand twice
    or read like text, and missing classes. No cell is quoted.
    """
    import pandas as pd

    frame, meta = read_table(path)
    others = [c for c in frame.columns if c != "image_id" and c not in classes]
    if others:
        kind = "text" if not pd.api.types.is_numeric_dtype(frame[others[0]]) else "numbers"
        raise DataError(
            f"{path}: column '{str(others[0])[:60]}' ({kind}) is neither image_id nor a class; only scores "
            "travel. Take it out and export again."
        )
    lacking = [c for c in ("image_id", *classes) if c not in frame]
    if lacking:
        raise DataError(f"{path}: no column '{lacking[0]}' ({len(lacking)} such). Export the bundle again.")
    if set(meta) - {"classes"}:
        raise DataError(f"{path}: its metadata hold more than class names. Export the bundle again.")
    for name in classes:
        if not pd.api.types.is_numeric_dtype(frame[name]) or not np.isfinite(frame[name]).all():
            raise DataError(f"{path}: class '{name}': every image needs a number. Score those images again.")
    check_ids(path, frame)
    return frame[["image_id", *classes]]


def check_ids(path: Path, frame: pd.DataFrame) -> None:
    """Raises DataError for ids that are no names or stand twice; the line gives the row."""
    ids = frame["image_id"].astype("string").fillna("")
    odd = ~ids.str.fullmatch(rf"\S{{1,{LONGEST_ID}}}")
    if odd.any():
        row = int(odd.to_numpy().argmax()) + 1
        raise DataError(f"{path}: row {row}: image_id is empty, long or has spaces, so no name of an image.")
    twice = ids.duplicated()
    if twice.any():
        row = int(twice.to_numpy().argmax()) + 1
        raise DataError(
            f"{path}: row {row} repeats image '{ids.iloc[row - 1]}' ({int(twice.sum()):,} such rows); keep "
            "one row an image."
        )
