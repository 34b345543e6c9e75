"""Predictions and labels of anyone: CSV, TSV or Parquet, a row an image (wide) or a pair (long)."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from benchmark.core.errors import DataError, closest
from benchmark.core.tables import META_COLUMNS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

ID_NAMES = ("image_id", "image", "id", "imageid", "image index", "filename", "file_name", "path", "dicom_id")
PATIENT_NAMES = ("patient_id", "patient", "patientid", "patient id", "subject_id")
INDEX_NAMES = ("Unnamed: ", "__index_level_")
"""What pandas calls a row number that was written along; never a class."""
Layout = Literal["auto", "wide", "long"]


@dataclass(frozen=True)
class ClassTable:
    """ids: (N,) text. classes: C names. values: (N, C) float64, NaN where the file has none.

    present: (N, C) bool, False where a long file has no such row. patients: (N,) text or None.
    others: columns that are no class (view, sex, …), one value an image.
    """

    path: Path
    ids: np.ndarray
    classes: tuple[str, ...]
    values: np.ndarray
    present: np.ndarray
    patients: np.ndarray | None = None
    others: dict[str, np.ndarray] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)


def read_class_table(
    path: Path | str,
    *,
    value: Literal["score", "label"],
    layout: Layout = "auto",
    id_column: str | None = None,
    patient_column: str | None = None,
    guess_id: bool = False,
) -> ClassTable:
    """Read scores or labels by class name.

    Long files have the columns class and score (or label). guess_id: `id_column` may be missing here.
    Raises DataError, naming file, column and row, on a missing file or id column, duplicate ids or
    columns, and cells that are not numbers.
    """
    path = Path(path)
    table, info = _read(path, id_column, patient_column)
    names = table.column_names
    _no_duplicates(path, names)
    if guess_id and id_column not in names:
        id_column = None
    identifier = _find(path, names, id_column, ID_NAMES, "id")
    if identifier is None:
        raise DataError(
            f"{path}: no image id column among '{', '.join(names[:4])}', …; name it with --id COLUMN."
        )
    patient = _find(path, names, patient_column, PATIENT_NAMES, "patient")
    ids = _text(table, identifier)
    blank = np.flatnonzero(ids == "")
    if len(blank):
        raise DataError(f"{path}: row {_line(path, blank[0])} has no {identifier}; give every row its image.")
    is_long = "class" in names and value in names
    if layout == "long" and not is_long:
        raise DataError(f"{path}: a long file needs the columns 'class' and '{value}'; use --layout wide.")
    if layout == "long" or (layout == "auto" and is_long):
        info = {**info, "long_label": "label" in names}
        return _long(path, table, ids, value, patient, info)
    return _wide(path, table, ids, identifier, patient, info)


def _wide(
    path: Path, table: pa.Table, ids: np.ndarray, identifier: str, patient: str | None, info: dict[str, Any]
) -> ClassTable:
    _unique_ids(path, ids, identifier)
    aside = {*META_COLUMNS, *ID_NAMES, *PATIENT_NAMES} - {identifier, patient}
    listed = info.get("classes")
    classes, others = [], {}
    for name in table.column_names:
        if name in (identifier, patient) or name.startswith(INDEX_NAMES) or not name:
            continue
        if name not in listed if listed is not None else name.strip().lower() in aside:
            others[name] = _text(table, name)
        else:
            classes.append(name)
    if not classes:
        raise DataError(f"{path}: no class column beside '{identifier}'; give one column a class.")
    values = np.empty((len(ids), len(classes)))
    for j, name in enumerate(classes):
        values[:, j] = _numbers(path, table, name)
    return ClassTable(
        path,
        ids,
        tuple(classes),
        values,
        np.ones(values.shape, dtype=bool),
        None if patient is None else _text(table, patient),
        others,
        info,
    )


def _long(
    path: Path,
    table: pa.Table,
    ids: np.ndarray,
    value: str,
    patient: str | None,
    info: dict[str, Any],
) -> ClassTable:
    import pandas as pd

    rows, unique = pd.factorize(ids)
    columns, classes = pd.factorize(_text(table, "class"))
    flat = rows * len(classes) + columns
    repeated = pd.Series(flat).duplicated().to_numpy()
    if repeated.any():
        i = int(np.flatnonzero(repeated)[0])
        raise DataError(
            f"{path}: row {_line(path, i)} repeats image '{ids[i]}', class '{classes[columns[i]]}' "
            f"({int(repeated.sum()):,} such rows); keep one score a pair."
        )
    values = np.full((len(unique), len(classes)), np.nan)
    present = np.zeros(values.shape, dtype=bool)
    values[rows, columns] = _numbers(path, table, value)
    present[rows, columns] = True
    patients = None
    if patient is not None:
        patients = np.full(len(unique), "", dtype=object)
        patients[rows] = _text(table, patient)
    return ClassTable(
        path, np.asarray(unique, dtype=object), tuple(map(str, classes)), values, present, patients, {}, info
    )


def read_patients(
    path: Path | str, ids: Sequence[str] | np.ndarray, id_column: str | None = None
) -> np.ndarray:
    """(N,) patients of `ids` from a file with an image and a patient column.

    Raises DataError where the columns are missing or an id has no patient.
    """
    path = Path(path)
    table, _ = _read(path, id_column, None)
    names = table.column_names
    identifier = _find(path, names, id_column, ID_NAMES, "id")
    patient = _find(path, names, None, PATIENT_NAMES, "patient")
    if identifier is None or patient is None:
        raise DataError(f"{path}: a patient file needs the columns 'image_id' and 'patient_id'.")
    known_ids = _text(table, identifier)
    _unique_ids(path, known_ids, identifier)
    known = dict(zip(known_ids, _text(table, patient), strict=True))
    lost = [i for i in ids if not known.get(i)]
    if lost:
        raise DataError(f"{path}: no patient for {len(lost):,} images, the first '{lost[0]}'; add them.")
    return np.array([known[i] for i in ids], dtype=object)


def _read(path: Path, id_column: str | None, patient_column: str | None) -> tuple[pa.Table, dict[str, Any]]:
    import json

    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    if not path.is_file():
        raise DataError(f"{path}: no such file. Give a CSV, TSV or Parquet file.")
    try:
        if path.suffix in (".parquet", ".pq"):
            table = pq.read_table(path)
            own = json.loads((table.schema.metadata or {}).get(b"cxr_alignbench", b"{}"))
            return table, own
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8-sig", newline="") as handle:
            first = handle.readline()
        delimiter = "\t" if "\t" in first and "," not in first else ","
        header = next(csv.reader(io.StringIO(first), delimiter=delimiter), [])
        text = {*ID_NAMES, *PATIENT_NAMES, *META_COLUMNS, "class"}
        chosen = {id_column, patient_column}
        types = {h: pa.string() for h in header if h.strip().lower() in text or h in chosen}
        _no_duplicates(path, header)
        table = pc.read_csv(
            path,
            parse_options=pc.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pc.ConvertOptions(column_types=types, strings_can_be_null=True),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(f"{path}: not a readable table ({str(error).splitlines()[0]}).") from None
    return table, {}


def _no_duplicates(path: Path, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(f"{path}: column '{name}' appears twice; rename one of the two.")
        seen.add(name)


def _find(
    path: Path, names: Sequence[str], wanted: str | None, usual: Sequence[str], what: str
) -> str | None:
    if wanted is not None:
        if wanted in names:
            return wanted
        near = closest(wanted, names)
        guess = f" Did you mean '{near}'?" if near else ""
        raise DataError(f"{path}: no {what} column '{wanted}'.{guess}")
    lower = {n.strip().lower(): n for n in reversed(names)}
    return next((lower[u] for u in usual if u in lower), None)


def _text(table: pa.Table, name: str) -> np.ndarray:
    column = table[name].to_pandas()
    return np.array(["" if v is None or v != v else str(v) for v in column], dtype=object)


def _numbers(path: Path, table: pa.Table, name: str) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table[name]
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_null(column.type):
        return np.asarray(pc.cast(column, pa.float64()).to_pandas(), dtype=float)
    if pa.types.is_boolean(column.type):
        return np.asarray(pc.cast(pc.cast(column, pa.int8()), pa.float64()).to_pandas(), dtype=float)
    values = column.to_pylist()
    for row, value in enumerate(values):
        if value is None:
            continue
        try:
            float(value)
        except (TypeError, ValueError):
            raise DataError(
                f"{path}: row {_line(path, row)}, column '{name}' holds '{value}', not a number; "
                "correct the cell, or drop the column."
            ) from None
    return np.array([np.nan if v is None else float(v) for v in values])


def _unique_ids(path: Path, ids: np.ndarray, identifier: str) -> None:
    import pandas as pd

    repeated = pd.Series(ids).duplicated().to_numpy()
    if repeated.any():
        row = int(np.flatnonzero(repeated)[0])
        raise DataError(
            f"{path}: row {_line(path, row)} repeats {identifier} '{ids[row]}' "
            f"({int(repeated.sum()):,} repeats); keep one row an image."
        )


def _line(path: Path, row: int) -> int:
    """Row number as an editor shows it: a text file has a header."""
    return int(row) + (1 if path.suffix in (".parquet", ".pq") else 2)


def frame_columns(frame: pd.DataFrame, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Text columns of a manifest frame as (N,) arrays, without those it lacks."""
    return {n: frame[n].astype(object).where(frame[n].notna(), "").to_numpy() for n in names if n in frame}
