"""Predictions and labels of anyone by class name: a row an image (wide) or a pair (long)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from benchmark.core.cells import label_names
from benchmark.core.errors import DataError
from benchmark.core.patient_ids import check_one_form
from benchmark.core.tables import META_COLUMNS
from benchmark.score.raw_table import ID_NAMES, LIST_NAMES, PATIENT_NAMES, RawTable, open_table

Layout = Literal["auto", "wide", "long"]
NOTHING = ("no finding", "normal")
"""Names in lists of findings that say that there is none; a class only where scores are given for it."""


@dataclass(frozen=True)
class ClassTable:
    """ids: (N,) text. classes: C names. values: (N, C) float64, NaN where the file has none.

    present: (N, C) bool, False where a long file has no such row. patients: (N,) text or None.
    others: columns that are no class (view, sex, …), one value an image. aside: which of them were not
    known as such by their name. named: whether the file has an image column. unnamed: classes have numbers
    for names, in an array file. long_label: a long file with a column of labels beside that of scores.
    """

    path: Path
    ids: np.ndarray
    classes: tuple[str, ...]
    values: np.ndarray
    present: np.ndarray
    patients: np.ndarray | None = None
    patient_column: str | None = None
    others: dict[str, np.ndarray] = field(default_factory=dict)
    aside: tuple[str, ...] = ()
    named: bool = True
    unnamed: bool = False
    long_label: bool = False


def is_long(raw: RawTable, value: str, layout: Layout) -> bool:
    """Whether a file has a row a pair. Raises DataError where it should and lacks the columns."""
    found = "class" in raw.table.column_names and value in raw.table.column_names
    if layout == "long" and not found:
        raise DataError(
            f"{raw.path}: a long file needs the columns 'class' and '{value}'; use --layout wide."
        )
    return layout == "long" or (layout == "auto" and found)


def class_table(
    raw: RawTable,
    value: Literal["score", "label"],
    *,
    layout: Layout = "auto",
    wanted: Collection[str] | None = None,
    by_order: bool = False,
    skip_text: bool = False,
) -> ClassTable:
    """Scores or labels by class name.

    Long files have the columns class and score (or label). A column of scores must be numbers. A column of
    labels is a class where `wanted` (None: any) names it or its cells are labels; the others are kept as
    subgroups. by_order: the file needs no image column. skip_text: columns of scores without any number are
    no class.
    Raises DataError, naming file, column and row, on a missing image column, repeated ids, and cells that
    are not numbers.
    """
    if raw.identifier is None and not by_order:
        shown = ", ".join(raw.table.column_names[:4])
        raise DataError(
            f"{raw.path}: no image id column among '{shown}', …; name it with --id COLUMN, or, where both "
            "files have the same rows in the same order, use --rows by-order."
        )
    if is_long(raw, value, layout):
        if raw.identifier is None:
            raise DataError(f"{raw.path}: a long file needs an image id column; name it with --id COLUMN.")
        return _long(raw, value)
    return _wide(raw, value, wanted, skip_text)


def _wide(raw: RawTable, value: str, wanted: Collection[str] | None, skip_text: bool) -> ClassTable:
    ids = raw.unique_ids()
    known = {*META_COLUMNS, *ID_NAMES, *PATIENT_NAMES}
    classes: list[str] = []
    others: list[str] = []
    aside: list[str] = []
    lists = [n for n in raw.names if n.strip().lower() in LIST_NAMES and raw.is_text(n)]
    if value == "label" and lists and raw.classes is None:
        return _listed(raw, ids, lists[0], wanted)
    for name in raw.names:
        told = name.strip().lower() in known if raw.classes is None else name not in raw.classes
        if told or (skip_text and value == "score" and raw.is_text(name)):
            others.append(name)
        elif value == "label" and wanted is not None and name not in wanted and not _labels(raw, name):
            others.append(name)
            aside.append(name)
        else:
            classes.append(name)
    if not classes:
        raise DataError(f"{raw.path}: no class column beside '{raw.identifier}'; give one column a class.")
    values = np.empty((len(ids), len(classes)))
    for j, name in enumerate(classes):
        values[:, j] = raw.numbers(name)
    return _of_columns(raw, ids, classes, values, others, aside)


def _of_columns(
    raw: RawTable,
    ids: np.ndarray,
    classes: list[str],
    values: np.ndarray,
    others: list[str],
    aside: list[str],
) -> ClassTable:
    """A table of one row an image, which therefore has a value of every class."""
    return ClassTable(
        raw.path, ids, tuple(classes), values, np.ones(values.shape, dtype=bool), raw.patients(), raw.patient,
        {name: raw.text(name) for name in others}, tuple(aside), raw.identifier is not None, raw.unnamed,
    )  # fmt: skip


def _labels(raw: RawTable, name: str) -> bool:
    """Whether a column's cells are labels: 1, 0, -1 or blank, and not all of them blank."""
    if not raw.is_number(name):
        return False
    values = raw.numbers(name)
    return bool((np.isnan(values) | np.isin(values, (1, 0, -1))).all())


def _listed(raw: RawTable, ids: np.ndarray, column: str, wanted: Collection[str] | None) -> ClassTable:
    """Labels of a column of lists, as official tables have them: what an image's list names is present."""
    rows: list[tuple[str, ...]] = []
    for row, cell in enumerate(raw.text(column)):
        try:
            rows.append(label_names(cell))
        except ValueError as error:
            raise DataError(
                f"{raw.path}: row {raw.row(row)}, column '{column}' holds '{cell[:40]}': {error}; correct it."
            ) from None
    names = {name for row in rows for name in row}
    classes = sorted(n for n in names if n.lower() not in NOTHING or n in (wanted or ()))
    if not classes:
        raise DataError(f"{raw.path}: column '{column}' names no finding; is it the right file?")
    values = np.array([[float(c in row) for c in classes] for row in map(frozenset, rows)])
    others = [n for n in raw.names if n != column]
    return _of_columns(raw, ids, classes, values, others, aside=others)


def _long(raw: RawTable, value: str) -> ClassTable:
    import pandas as pd

    ids = raw.ids()
    rows, unique = pd.factorize(ids)
    names = raw.text("class")
    nameless = np.flatnonzero(names == "")
    if len(nameless):
        raise DataError(f"{raw.path}: row {raw.row(nameless[0])} has no class; give every row its class.")
    columns, classes = pd.factorize(names)
    flat = rows * len(classes) + columns
    repeated = pd.Series(flat).duplicated().to_numpy()
    if repeated.any():
        i = int(np.flatnonzero(repeated)[0])
        raise DataError(
            f"{raw.path}: row {raw.row(i)} repeats image '{ids[i]}', class '{classes[columns[i]]}' "
            f"({int(repeated.sum()):,} such rows); keep one score a pair."
        )
    values = np.full((len(unique), len(classes)), np.nan)
    present = np.zeros(values.shape, dtype=bool)
    values[rows, columns] = raw.numbers(value)
    present[rows, columns] = True
    kept = {n: raw.text(n) for n in raw.names if n not in ("class", "score", "label")}
    others = {n: _one_each(raw, n, rows, cells) for n, cells in kept.items()}
    patients = raw.patients()
    if patients is not None:
        patients = _one_each(raw, str(raw.patient), rows, patients)
    return ClassTable(
        raw.path,
        np.asarray(unique, dtype=object),
        tuple(map(str, classes)),
        values,
        present,
        patients,
        raw.patient,
        {n: v for n, v in others.items() if v is not None},
        long_label="label" in raw.table.column_names,
    )


def _one_each(raw: RawTable, name: str, rows: np.ndarray, cells: np.ndarray) -> np.ndarray | None:
    """(images,) value of a column of a long file. None where it differs between the rows of an image, which
    is an error for the patient column."""
    values = np.full(rows.max() + 1, "", dtype=object)
    values[rows] = cells
    differs = np.flatnonzero(values[rows] != cells)
    if len(differs) == 0:
        return values
    if name == raw.patient:
        i = differs[0]
        raise DataError(
            f"{raw.path}: row {raw.row(i)}: image '{raw.ids()[i]}' has the patients '{cells[i]}' and "
            f"'{values[rows[i]]}'; give every image one."
        )
    return None


def read_patients(path: Path | str, ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """(N,) patients of `ids`, "" where unknown, from a file with an image and a patient column.

    Raises DataError where the columns are missing, a patient has two forms or the file lacks an id.
    """
    raw = open_table(path)
    patients = raw.patients()
    if raw.identifier is None or patients is None:
        raise DataError(f"{path}: a patient file needs the columns 'image_id' and 'patient_id'.")
    check_one_form(patients, path, lambda row: f"row {raw.row(row)}")
    known = dict(zip(raw.unique_ids(), patients, strict=True))
    lost = [i for i in ids if i not in known]
    if lost:
        raise DataError(f"{path}: no patient for {len(lost):,} images, the first '{lost[0]}'; add them.")
    return np.array([known[i] for i in ids], dtype=object)
