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
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ValidationError

from benchmark.core.errors import DataError
from benchmark.core.files import atomic_path
from benchmark.core.guard import parsing, read_parquet

if TYPE_CHECKING:
    import pandas as pd

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


@dataclass(frozen=True)
class Manifest:
    """Images of one dataset as one reader saw them.

    frame: META_COLUMNS then `classes`; identifiers are text; class columns are nullable Int8.
    root: the folder that `path` is relative to. regions: REGION_COLUMNS, boxes in pixels of the
    original image, masks as COCO-style uncompressed column-major run lengths in `rle` (JSON).
    info: reader, card version, counts, dropped images with reasons.
    The files hold no root, so that equal data give equal bytes in any folder; who loads them knows it.
    """

    dataset: str
    origin: Origin
    root: Path
    classes: tuple[str, ...]
    frame: pd.DataFrame
    regions: pd.DataFrame | None = None
    info: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frame)

    def save(self, folder: Path | str) -> None:
        """Write manifest.parquet into `folder`, and regions.parquet where there are regions."""
        meta = {
            "dataset": self.dataset,
            "origin": self.origin,
            "classes": list(self.classes),
            "info": self.info,
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
            info=info,
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
        classes, said = _said(path, meta, classes=list, info=dict)
        try:
            info = ScoresRecord.model_validate(said)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise DataError(f"{path}: its metadata are not of predictions ({what}).") from None
        return cls(classes=tuple(classes), frame=frame, info=info)


def _said(path: Path | str, meta: dict[str, Any], **kinds: type) -> list[Any]:
    """What the metadata say under these keys. Raises DataError where one is missing or of another type."""
    for key, kind in kinds.items():
        if not isinstance(meta.get(key), kind):
            raise DataError(f"{path}: its metadata lack '{key}'; no stage of this suite wrote it.")
    return [meta[key] for key in kinds]


def write_table(path: Path | str, frame: pd.DataFrame, meta: dict[str, Any]) -> None:
    """Parquet, atomically; equal content gives equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    note = json.dumps(meta, sort_keys=True, ensure_ascii=False).encode()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: note})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_table(path: Path | str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Frame and metadata. Raises DataError where the file is missing or not Parquet."""
    if not Path(path).exists():
        raise DataError(f"{path}: no such file. The stage that writes it has not run.")
    table, meta = read_parquet(path, _KEY)
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
