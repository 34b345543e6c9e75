"""The three tables that travel between stages, with their schemas.

manifest     one row an image: META columns, then one column a class (1, 0, -1 uncertain, null not mentioned)
predictions  one row an image: image_id, patient_id, then one float column a class
metrics      tidy: one value a row, columns METRIC_COLUMNS

What belongs to the whole table (dataset, origin, hashes, versions) is JSON in the file's own metadata.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from benchmark.core.errors import DataError
from benchmark.core.files import atomic_path
from benchmark.core.guard import parsing, read_parquet

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Origin = Literal["official", "twin"]
TWIN_NOTICE = "SYNTHETIC TWIN"

META_COLUMNS = (
    "image_id",
    "path",
    "patient_id",
    "study_id",
    "view",
    "split",
    "report",
    "sex",
    "age",
    "site",
)
REGION_COLUMNS = ("image_id", "class", "kind", "x", "y", "w", "h", "rle", "phrase")
METRIC_COLUMNS = (
    "run_id",
    "method",
    "variant",
    "encoder",
    "dataset",
    "origin",
    "split",
    "prompts",
    "seed",
    "task",
    "class",
    "stratum",
    "metric",
    "value",
    "low",
    "high",
    "n_pos",
    "n_neg",
    "n_ignored",
    "n_patients",
    "note",
)
_KEY = b"cxr_alignbench"
Record = TypeVar("Record", bound=BaseModel)


class Noticed(BaseModel, frozen=True):
    """Rows of one peculiarity. examples: names of some."""

    what: str
    count: int
    examples: tuple[str, ...] = ()


class ReadingRecord(BaseModel, frozen=True):
    """What a reader found, as far as it says so.

    counts: of images, studies, patients, reports and what else the set has. views, splits: value → images.
    files: what it is → name of the file. lists: official list of images → how many it has (`listed`) and are
    here (`found`). dropped: rows that were left out. seen: peculiarities of rows that stay. labels_met:
    labels read; unknown_labels: those of no class → how often. box_space: (width, height) in which the files
    give boxes, None where it is that of the image. reports_by_class: class → reports that state it.
    """

    reader: str = ""
    card_version: str = ""
    counts: dict[str, int] = {}
    views: dict[str, int] = {}
    splits: dict[str, int] = {}
    files: dict[str, str] = {}
    lists: dict[str, dict[str, int]] = {}
    dropped: tuple[Noticed, ...] = ()
    seen: tuple[Noticed, ...] = ()
    labels_met: int = 0
    unknown_labels: dict[str, int] = {}
    notes: tuple[str, ...] = ()
    box_space: tuple[int, int] | None = None
    reports_by_class: dict[str, int] | None = None

    def counted(self, **more: int) -> ReadingRecord:
        """With further counts."""
        return self.model_copy(update={"counts": {**self.counts, **more}})

    def as_json(self) -> dict[str, Any]:
        """The fields that the reader gave."""
        return self.model_dump(mode="json", exclude_unset=True)


@dataclass(frozen=True)
class Manifest:
    """Images of one dataset as one reader saw them.

    frame: META_COLUMNS then `classes`; identifiers are text; class columns are nullable Int8.
    root: the folder that `path` is relative to. regions: REGION_COLUMNS, boxes in pixels of the
    original image, masks as COCO-style uncompressed column-major run lengths in `rle` (JSON).
    The files hold no root, so that equal data give equal bytes in any folder; who loads them knows it.
    """

    dataset: str
    origin: Origin
    root: Path
    classes: tuple[str, ...]
    frame: pd.DataFrame
    regions: pd.DataFrame | None = None
    info: ReadingRecord = field(default_factory=ReadingRecord)

    def __len__(self) -> int:
        return len(self.frame)

    def save(self, folder: Path | str) -> None:
        """Write manifest.parquet into `folder`, and regions.parquet where there are regions."""
        meta = {
            "dataset": self.dataset,
            "origin": self.origin,
            "classes": list(self.classes),
            "info": self.info.as_json(),
        }
        if self.regions is not None:
            write_table(Path(folder) / "regions.parquet", self.regions, {"dataset": self.dataset})
        else:
            (Path(folder) / "regions.parquet").unlink(missing_ok=True)
        write_table(Path(folder) / "manifest.parquet", self.frame, meta)

    @classmethod
    def load(cls, folder: Path | str, root: Path | str = Path()) -> Manifest:
        """root: the folder that `path` is relative to, for those who read images."""
        path = Path(folder) / "manifest.parquet"
        frame, meta = read_table(path)
        dataset, origin, classes, info = _said(path, meta, dataset=str, origin=str, classes=list, info=dict)
        regions_path = Path(folder) / "regions.parquet"
        regions = read_table(regions_path)[0] if regions_path.exists() else None
        return cls(
            dataset=dataset,
            origin=origin,
            root=Path(root),
            classes=tuple(classes),
            frame=frame,
            regions=regions,
            info=_model(ReadingRecord, info, path),
        )


class ScoresRecord(BaseModel, frozen=True):
    """What made the scores of a file, as far as it says so.

    reference: of scores that no method made, the name of their row. split, protocol: the protocol's name.
    precision: of the features. device, commit, versions: of what trained the weights. trained_on: dataset, or
    `as published`.
    """

    reference: str = ""
    run_id: str = ""
    method: str = ""
    variant: str = ""
    encoder: str = ""
    dataset: str = ""
    origin: str = ""
    split: str = ""
    prompts: str = ""
    seed: int | None = None
    task: str = ""
    protocol: str = ""
    prompt_hash: str = ""
    weights_hash: str = ""
    data_hash: str = ""
    precision: str | None = None
    device: str | None = None
    commit: str | None = None
    versions: dict[str, str] = {}
    trained_on: str | None = None


@dataclass(frozen=True)
class Predictions:
    """Scores (N, C) of every image against every class, with what made them.

    frame: image_id, patient_id, then `classes` as float columns; higher means more positive.
    """

    classes: tuple[str, ...]
    frame: pd.DataFrame
    info: ScoresRecord

    def save(self, path: Path | str) -> None:
        info = self.info.model_dump(mode="json", exclude_unset=True)
        write_table(path, self.frame, {"classes": list(self.classes), "info": info})

    @classmethod
    def load(cls, path: Path | str) -> Predictions:
        """Raises DataError where no stage of this suite wrote the file."""
        frame, meta = read_table(path)
        classes, info = _said(path, meta, classes=list, info=dict)
        return cls(classes=tuple(classes), frame=frame, info=_model(ScoresRecord, info, path))


def _said(path: Path | str, meta: dict[str, Any], **kinds: type) -> list[Any]:
    """What the metadata say under these keys. Raises DataError where one is missing or of another type."""
    for key, kind in kinds.items():
        if not isinstance(meta.get(key), kind):
            raise DataError(f"{path}: its metadata lack '{key}'; no stage of this suite wrote it.")
    return [meta[key] for key in kinds]


def _model(kind: type[Record], said: dict[str, Any], path: Path | str) -> Record:
    """Raises DataError, naming the field, where the metadata do not fit."""
    try:
        return kind.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise DataError(f"{path}: no stage of this suite wrote its metadata ({what}).") from None


def write_table(path: Path | str, frame: pd.DataFrame, meta: dict[str, Any]) -> None:
    """Parquet, atomically; equal content gives equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    note = json.dumps(meta, sort_keys=True, ensure_ascii=False).encode()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: note})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_arrow(path: Path | str) -> tuple[pa.Table, dict[str, Any]]:
    """Table of Arrow and metadata. Raises DataError where the file is missing or not Parquet."""
    if not Path(path).exists():
        raise DataError(f"{path}: no such file. The stage that writes it has not run.")
    return read_parquet(path, _KEY)


def read_table(path: Path | str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """As `read_arrow`, the table as a frame."""
    table, meta = read_arrow(path)
    with parsing(path, "a Parquet file"):
        return table.to_pandas(), meta


def metric_frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows → a frame with exactly METRIC_COLUMNS; unknown keys are a programming error."""
    import pandas as pd

    for row in rows:
        surplus = set(row) - set(METRIC_COLUMNS)
        if surplus:
            raise KeyError(f"not metric columns: {sorted(surplus)}")
    return pd.DataFrame(list(rows), columns=list(METRIC_COLUMNS))
