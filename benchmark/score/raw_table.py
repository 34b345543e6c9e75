"""Files of anyone as columns: CSV, TSV, Parquet, .npz and .npy, with the image and patient column found."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from benchmark.core.cells import is_blank
from benchmark.core.errors import DataError, closest
from benchmark.core.guard import (
    MAX_CELLS,
    MAX_EXACT,
    MAX_UNPACKED,
    bounded_size,
    bounded_zip,
    opened,
    parsing,
    read_parquet,
)
from benchmark.core.tables import META_COLUMNS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

ID_NAMES = (
    "image_id", "image", "id", "imageid", "image index", "filename", "file_name", "path", "dicom_id",
    "volumename", "study_id", "study",
)  # fmt: skip
PATIENT_NAMES = ("patient_id", "patient", "patientid", "patient id", "subject_id")
LIST_NAMES = ("finding labels", "labels")
"""Columns of official tables whose cells are lists of class names."""
TEXT_NAMES = frozenset({*ID_NAMES, *PATIENT_NAMES, *META_COLUMNS, *LIST_NAMES, "class"})
INDEX_NAMES = ("Unnamed: ", "__index_level_")
"""What pandas calls a row number that was written along; never a class."""
NULLS = ("", "None", "none", "NONE", "nan", "NaN", "NAN", "NA", "N/A", "n/a", "#N/A", "<NA>", "NULL", "null")
"""Texts that numeric columns of CSV files have for nothing; `core.cells` knows the same in any case."""


@dataclass(frozen=True)
class RawTable:
    """identifier, patient: names of the columns found, or None. classes: the columns that are classes, where
    the file says so, as those of this suite do. unnamed: columns have numbers for names, in an array file."""

    path: Path
    table: pa.Table
    identifier: str | None
    patient: str | None
    classes: tuple[str, ...] | None = None
    unnamed: bool = False

    @property
    def names(self) -> list[str]:
        """Columns beside image, patient and row numbers."""
        return [
            name
            for name in self.table.column_names
            if name and name not in (self.identifier, self.patient) and not name.startswith(INDEX_NAMES)
        ]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def text(self, name: str) -> np.ndarray:
        """(N,) text, "" where the cell is blank."""
        column = self.table[name].to_pandas()
        return np.array(["" if is_blank(v) else str(v) for v in column], dtype=object)

    def ids(self) -> np.ndarray:
        """(N,) image ids; row numbers without an image column. Raises DataError on a blank one."""
        if self.identifier is None:
            return np.array([f"row {i + 1}" for i in range(len(self))], dtype=object)
        ids = self.text(self.identifier)
        blank = np.flatnonzero(ids == "")
        if len(blank):
            row = self.row(blank[0])
            raise DataError(f"{self.path}: row {row} has no {self.identifier}; give every row its image.")
        return ids

    def patients(self) -> np.ndarray | None:
        return None if self.patient is None else self.text(self.patient)

    def unique_ids(self) -> np.ndarray:
        """`ids`. Raises DataError where one stands twice."""
        import pandas as pd

        ids = self.ids()
        repeated = pd.Series(ids).duplicated().to_numpy()
        if repeated.any():
            row = int(np.flatnonzero(repeated)[0])
            raise DataError(
                f"{self.path}: row {self.row(row)} repeats {self.identifier} '{ids[row]}' "
                f"({int(repeated.sum()):,} repeats); keep one row an image."
            )
        return ids

    def is_number(self, name: str) -> bool:
        """Whether every cell of a column is a number or blank, and one is a number."""
        try:
            return bool(np.isfinite(self.numbers(name)).any())
        except DataError:
            return False

    def is_text(self, name: str) -> bool:
        """Whether no cell of a column is a number."""
        if _numeric(self.table[name].type):
            return False
        distinct = {str(v) for v in self.table[name].to_pylist() if not is_blank(v)}  # a cell may be a list
        return not any(_number(v) is not None for v in distinct)

    def numbers(self, name: str) -> np.ndarray:
        """(N,) float64, NaN where blank. Raises DataError, naming the row, where a cell is no number or a
        whole number that has no exact 64-bit float."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self.table[name]
        if pa.types.is_boolean(column.type):
            column = pc.cast(column, pa.int8())
        if pa.types.is_integer(column.type):
            exact = pc.cast(column, pa.float64(), safe=False)
            large = pc.greater_equal(pc.abs(exact), float(MAX_EXACT))
            if pc.any(large).as_py():
                self._inexact(name, pc.index(large, True).as_py(), column)
            return np.asarray(exact.to_pandas(), dtype=float)
        if pa.types.is_null(column.type):
            return np.full(len(self), np.nan)
        if pa.types.is_floating(column.type):
            return np.asarray(pc.cast(column, pa.float64()).to_pandas(), dtype=float)
        values = np.full(len(self), np.nan)
        for row, cell in enumerate(column.to_pylist()):
            if is_blank(cell):
                continue
            number = _number(cell)
            if number is None:
                decimal = re.fullmatch(r"[+-]?\d+,\d+", str(cell).strip())
                advice = "write decimals with a point" if decimal else "correct the cell, or drop the column"
                raise DataError(
                    f"{self.path}: row {self.row(row)}, column '{name}' holds '{str(cell)[:40]}', "
                    f"not a number; {advice}."
                )
            if abs(number) >= MAX_EXACT and re.fullmatch(r"[+-]?\d+", str(cell).strip()):
                self._inexact(name, row, column)
            values[row] = number
        return values

    def _inexact(self, name: str, row: int, column: pa.ChunkedArray) -> None:
        raise DataError(
            f"{self.path}: row {self.row(row)}, column '{name}' holds {column[row].as_py()}, a whole number "
            "of 2^53 or more, which 64-bit floats round; use smaller numbers or decimals."
        )

    def row(self, row: int) -> int:
        """Row number as an editor shows it: a text file has a header."""
        return int(row) + (1 if self.path.suffix in (".parquet", ".pq", ".npz", ".npy") else 2)


def check_file(path: Path) -> None:
    """Raises DataError where there is no file; nothing of it is read."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise DataError(f"{path}: {what}. Give a CSV, TSV, Parquet or .npz file.")


def open_table(
    path: Path | str, *, id_column: str | None = None, patient_column: str | None = None
) -> RawTable:
    """Read a file. A column of that name is the image's or patient's, else one of the usual names.

    id_column that the file lacks is an error, patient_column is not: it may stand in another file.
    Raises DataError on a missing or damaged file, one without rows, and columns of one name.
    """
    path = Path(path)
    check_file(path)
    classes, unnamed = None, False
    if path.suffix in (".parquet", ".pq"):
        table, said = read_parquet(path, b"cxr_alignbench")
        listed = said.get("classes")
        classes = tuple(map(str, listed)) if isinstance(listed, list) else None
    elif path.suffix in (".npz", ".npy"):
        table, unnamed = _arrays(path)
    else:
        table = _text_table(path, {id_column, patient_column})
    names = table.column_names
    _no_duplicates(path, names)
    if table.num_rows == 0:
        raise DataError(f"{path}: no rows below the header; is it the right file?")
    identifier = _usual(names, ID_NAMES) if id_column is None else id_column
    if id_column is not None and id_column not in names:
        near = closest(id_column, names)
        guess = f" Did you mean '{near}'?" if near else ""
        raise DataError(f"{path}: no id column '{id_column}'.{guess}")
    patient = patient_column if patient_column in names else _usual(names, PATIENT_NAMES)
    return RawTable(path, table, identifier, None if patient == identifier else patient, classes, unnamed)


def _usual(names: Sequence[str], usual: Sequence[str]) -> str | None:
    lower = {n.strip().lower(): n for n in reversed(names)}
    return next((lower[u] for u in usual if u in lower), None)


def _text_table(path: Path, chosen: set[str | None]) -> pa.Table:
    """A delimited text file; columns that are read as text stay as they are written."""
    import pyarrow as pa
    import pyarrow.csv as pc

    bounded_size(path, "a table", MAX_UNPACKED)
    with parsing(path, "a table") as place:
        place.line = 1
        with opened(path) as handle:
            first = handle.readline(1 << 22).decode("utf-8-sig").rstrip("\r\n")
        delimiter = _delimiter(first)
        header = next(csv.reader(io.StringIO(first, newline=""), delimiter=delimiter), [])
    _no_duplicates(path, header)
    types = {h: pa.string() for h in header if h.strip().lower() in TEXT_NAMES or h in chosen}

    def read(types: dict[str, Any]) -> pa.Table:
        with parsing(path, "a table"), opened(path) as handle:
            return pc.read_csv(
                _Bounded(handle),
                parse_options=pc.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                convert_options=pc.ConvertOptions(column_types=types, null_values=NULLS),
            )

    table = read(types)
    large = {
        f.name: pa.string() for f in table.schema if pa.types.is_floating(f.type) and _large(table[f.name])
    }
    return read({**types, **large}) if large else table


def _large(column: pa.ChunkedArray) -> bool:
    """Whether a float column may have been rounded from whole numbers; those are read again as text."""
    import pyarrow.compute as pc

    most = pc.max(pc.if_else(pc.is_finite(column), pc.abs(column), 0.0)).as_py()
    return most is not None and most >= MAX_EXACT


def _delimiter(first: str) -> str:
    """A comma, unless the header has none and has a tab, `;` or `|`."""
    bare = re.sub(r'"[^"]*"', "", first)
    return "," if "," in bare else next((d for d in "\t;|" if d in bare), ",")


class _Bounded(io.RawIOBase):
    """A stream that refuses to unpack without end."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self._total = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._handle.read(size)
        self._total += len(data)
        if self._total > MAX_UNPACKED:
            raise DataError(f"unpacks to more than {MAX_UNPACKED:,} bytes. Is it the right file?")
        return data


def _arrays(path: Path) -> tuple[pa.Table, bool]:
    """One array (N, C) of numbers, with optional arrays of ids and patients (N,) and class names (C,) without
    objects; whether it has no class names."""
    import pyarrow as pa

    bounded_size(path, "an array file", MAX_UNPACKED)
    if path.suffix == ".npz":
        bounded_zip(path, "an array file")
    with parsing(path, "an array file", "Arrays of numbers and texts, without objects, can be read."):
        loaded = np.load(path, allow_pickle=False)
        arrays = {"data": loaded} if isinstance(loaded, np.ndarray) else {k: loaded[k] for k in loaded.files}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("a member is no array")
    scores = {k: v for k, v in arrays.items() if v.ndim == 2 and v.dtype.kind in "fiub"}
    if len(scores) != 1:
        found = ", ".join(f"{k} {list(v.shape)}" for k, v in list(arrays.items())[:6]) or "none"
        raise DataError(f"{path}: needs exactly one array (images, classes) of numbers; it has: {found}.")
    values = next(iter(scores.values()))
    values = values.astype(float if values.dtype.kind == "f" else values.dtype.newbyteorder("="), copy=False)
    if values.size > MAX_CELLS:
        raise DataError(f"{path}: an array of {values.size:,} numbers. Is it the right file?")
    del arrays[next(iter(scores))]
    names: list[str] | None = None
    columns: list[tuple[str, Any]] = []
    for key, array in arrays.items():
        lower = key.lower()
        if lower in ("classes", "names"):
            names = _text_array(path, key, array, values.shape[1], "columns")
        elif (name := lower.removesuffix("s")) in {*ID_NAMES, *PATIENT_NAMES} and array.ndim < 3:
            own = "image_id" if lower == "ids" else key if lower == name else name
            columns.append((own, _text_array(path, key, array, len(values), "rows")))
    titles = names or [f"column {j + 1}" for j in range(values.shape[1])]
    columns += [(title, pa.array(values[:, j].copy())) for j, title in enumerate(titles)]
    _no_duplicates(path, [name for name, _ in columns])
    return pa.table(dict(columns)), names is None


def _text_array(path: Path, key: str, array: np.ndarray, count: int, what: str) -> list[str]:
    """The names in an array. Raises DataError where they are not one a row or column, or no names: an array
    that was left out would take the patients from the intervals without a word."""
    if array.shape != (count,):
        raise DataError(
            f"{path}: array '{key}' {list(array.shape)} for {count:,} {what}; give one name for each."
        )
    if array.dtype.kind not in "USiu":
        raise DataError(f"{path}: array '{key}' holds {array.dtype}; give names as text or whole numbers.")
    with parsing(path, "an array file", "Save its names as UTF-8 text."):
        return [v.decode() if isinstance(v, bytes) else str(v) for v in array.tolist()]


def _no_duplicates(path: Path, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(f"{path}: column '{name}' appears twice; rename one of the two.")
        seen.add(name)


def _numeric(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return any(
        test(kind)
        for test in (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean, pa.types.is_null)
    )


def _number(cell: Any) -> float | None:
    """The number of a cell, or None; `1_000` is no number in a table."""
    try:
        return None if isinstance(cell, str) and "_" in cell else float(cell)
    except Exception:
        return None


def frame_columns(frame: pd.DataFrame, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Text columns of a manifest frame as (N,) arrays, without those it lacks."""
    return {n: frame[n].astype(object).where(frame[n].notna(), "").to_numpy() for n in names if n in frame}
