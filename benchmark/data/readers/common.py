"""What every reader needs: reading tables as text, label states, and the final checks."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from benchmark.core.cells import LabelTally, blanks, label_names, label_state
from benchmark.core.errors import DataError, closest
from benchmark.core.guard import opened, parsing
from benchmark.core.patient_ids import check_one_form
from benchmark.core.tables import META_COLUMNS, Manifest, Noticed, ReadingRecord
from benchmark.data.cards import Card

EXAMPLES = 10
FETCH = "Fetch the file again."
ROUNDED = re.compile(r"\s*(?:\d+[.,]\d+[eE]\+?\d+|\d+[eE]\+\d+|\d{15}0{8,})\s*")
"""A number of more than 15 digits as a spreadsheet writes it: with an exponent, or zeros from there on."""
MAX_LINE, MAX_TABLE = 1 << 22, 1 << 32
"""Characters; the longest official table has some hundred millions."""


@dataclass
class Log:
    """What a reader saw and left out, gathered while it reads."""

    files: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, list[str]] = field(default_factory=dict)
    seen: dict[str, list[str]] = field(default_factory=dict)
    labels: LabelTally = field(default_factory=LabelTally)
    notes: list[str] = field(default_factory=list)
    lists: dict[str, dict[str, int]] = field(default_factory=dict)

    def drop(self, reason: str, names: Iterable[str]) -> None:
        """Count rows that are left out."""
        names = [str(n) for n in names]
        if names:
            self.dropped.setdefault(reason, []).extend(names)

    def see(self, what: str, names: Iterable[str]) -> None:
        """Count a peculiarity of rows that stay."""
        names = [str(n) for n in names]
        if names:
            self.seen.setdefault(what, []).extend(names)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def record(self, card: Card, frame: pd.DataFrame) -> ReadingRecord:
        """frame: of the manifest."""

        def short(table: Mapping[str, list[str]]) -> tuple[Noticed, ...]:
            return tuple(
                Noticed(what=k, count=len(v), examples=tuple(v[:EXAMPLES])) for k, v in table.items()
            )

        return ReadingRecord(
            reader=card.reader,
            card_version=card.version,
            counts={
                "images": len(frame),
                "studies": int(frame["study_id"].nunique()),
                "patients": int(frame["patient_id"].nunique()),
                "reports": int(frame.loc[frame["report"].notna(), "study_id"].nunique()),
            },
            views=_count(frame["view"]),
            splits=_count(frame["split"]),
            files=self.files,
            lists=self.lists,
            dropped=short(self.dropped),
            seen=short(self.seen),
            labels_met=self.labels.met,
            unknown_labels=dict(self.labels.unknown.most_common()),
            notes=tuple(self.notes),
        )


def read_csv(
    path: Path,
    required: Sequence[str],
    optional: Sequence[str] | None = None,
    *,
    delimiter: str = ",",
    encoding: str = "utf-8-sig",
) -> pd.DataFrame:
    """A table as text: blank fields are "", nothing is guessed, quoted newlines are kept.

    optional: keep only these beside the required columns, where they are there; None keeps every column.

    A table without rows, a missing column, a row of another width than the header, a truncated gzip, one that
    unpacks to more than MAX_TABLE characters or to a line of more than MAX_LINE, wrong bytes, and a quote
    that is not closed, which would take the rows below it along, raise DataError that names the row. A
    header that ends in a comma may be one field wider than the rows.
    """
    rows: list[list[str]] = []
    with parsing(path, "a CSV table", FETCH) as place, _text(path, encoding) as handle:
        reader = csv.reader(bounded_lines(handle, path), delimiter=delimiter, strict=True)
        header = [name.strip() for name in next(reader, [])]
        columns = _columns(path, header, required, optional, delimiter)
        widths = {len(header), len(header) - 1} if header[-1] == "" else {len(header)}
        places = [header.index(name) for name in columns]
        place.row = 1
        for fields in reader:
            if len(fields) not in widths:
                if not fields:
                    continue
                many = "fewer" if len(fields) < min(widths) else "more"
                raise DataError(
                    f"{path}: row {place.row} has {many} fields ({len(fields)}) than the header "
                    f"({len(header)}). {FETCH}"
                )
            rows.append([fields[i] for i in places])
            place.row = len(rows) + 1
    if not rows:
        raise DataError(f"{path}: no rows below the header; is it the right file?")
    return pd.DataFrame(rows, columns=list(columns), dtype=str)


@contextlib.contextmanager
def _text(path: Path, encoding: str = "utf-8-sig") -> Iterator[TextIO]:
    """Lines of a table, unpacked where it is gzip."""
    with opened(path) as raw, io.TextIOWrapper(raw, encoding=encoding, newline="") as handle:
        try:
            yield handle
        except UnicodeDecodeError:
            raise DataError(f"{path}{_bad_line(path)}: not UTF-8 text. Save it as UTF-8. {FETCH}") from None


def _bad_line(path: Path) -> str:
    """`:LINE` of the first byte that is not UTF-8; a decoder knows only its place in a block."""
    with opened(path) as handle:
        for number, line in enumerate(handle, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return f":{number}"
    return ""


def bounded_lines(handle: TextIO, path: Path) -> Iterator[str]:
    """Lines of a text file; a small file that unpacks to a huge one is refused before it fills the memory."""
    total, number = 0, 0
    while line := handle.readline(MAX_LINE + 1):
        total, number = total + len(line), number + 1
        if len(line) > MAX_LINE or total > MAX_TABLE:
            what, most = ("a line", MAX_LINE) if len(line) > MAX_LINE else ("a table", MAX_TABLE)
            raise DataError(
                f"{path}:{number}: {what} of more than {most:,} characters. Fetch the file again."
            )
        yield line


def _columns(
    path: Path, header: Sequence[str], required: Sequence[str], optional: Sequence[str] | None, delimiter: str
) -> list[str]:
    if not any(header):
        raise DataError(f"{path}: the file is empty. Fetch it again.")
    missing = [c for c in required if c not in header]
    if missing:
        raise DataError(f"{path}:1: {_missing_columns(missing, header, delimiter)}")
    named = [c for c in header if c] if optional is None else [c for c in optional if c in header]
    columns = list(dict.fromkeys([*required, *named]))
    repeated = [c for c in columns if header.count(c) > 1]
    if repeated:
        raise DataError(f"{path}:1: column '{repeated[0]}' occurs twice.")
    return columns


def _missing_columns(missing: Sequence[str], columns: Sequence[str], delimiter: str) -> str:
    if len(columns) == 1:
        other = next((d for d in ";\t|," if d != delimiter and d in columns[0]), None)
        if other:
            shown = {"\t": "a tab"}.get(other, f"'{other}'")
            return f"no column '{missing[0]}'; fields seem to be separated by {shown}, not by '{delimiter}'."
    near = closest(missing[0], columns)
    hint = f" Did the file rename it to '{near}'?" if near else ""
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return f"no column '{missing[0]}'{more}.{hint} Expected the official header."


def require_ids(frame: pd.DataFrame, column: str, path: Path) -> None:
    """Identifiers must be there and must be text that no spreadsheet has touched."""
    values = frame[column]
    bad = blanks(values)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(f"{path}: row {row + 1}: column '{column}' is blank. Every row needs this id.")
    rounded(frame, column, path)


def rounded(frame: pd.DataFrame, column: str, path: Path) -> None:
    """Raises DataError where a spreadsheet has rounded an identifier, which makes one patient of several."""
    values = frame[column]
    lost = values.str.fullmatch(ROUNDED)
    if lost.any():
        row = int(np.flatnonzero(lost)[0])
        raise DataError(
            f"{path}: row {row + 1}: '{column}' was rounded to {values.iloc[row]} by a spreadsheet. "
            "Use the original file."
        )


def require_names(frame: pd.DataFrame, column: str, path: Path) -> None:
    """`require_ids` for identifiers that are names of files: none may lead to another folder."""
    require_ids(frame, column, path)
    away = frame[column].str.contains(r"[/\\]|^\s*\.", regex=True)
    if away.any():
        row = int(np.flatnonzero(away)[0])
        raise DataError(
            f"{path}: row {row + 1}: {column} '{frame[column].iloc[row]}' leaves the data root. "
            "Use the official file."
        )


def states(frame: pd.DataFrame, columns: Mapping[str, str], path: Path) -> dict[str, Any]:
    """class → Int8 states (1, 0, -1, null) of the text columns `columns` (class → column)."""
    out = {}
    for name, column in columns.items():
        values: list[int | None] = []
        for row, text in enumerate(frame[column], 1):
            try:
                values.append(label_state(text))
            except ValueError as error:
                raise DataError(f"{path}: row {row}: '{column}' holds {error}.") from None
        out[name] = pd.array(values, dtype="Int8")
    return out


def zeros_and_ones(frame: pd.DataFrame, columns: Mapping[str, str], path: Path) -> pd.DataFrame:
    """`states` of tables that have no others than 0 and 1; a blank cell there is damage and no negative."""
    values = pd.DataFrame(states(frame, columns, path))
    bad = ~values.isin([0, 1])
    if bad.to_numpy().any():
        row = int(np.flatnonzero(bad.any(axis=1))[0])
        column = columns[values.columns[int(np.flatnonzero(bad.iloc[row])[0])]]
        held = frame[column].iloc[row]
        raise DataError(f"{path}: row {row + 1}: '{column}' holds '{held}'; labels must be 0 or 1. {FETCH}")
    return values


def name_lists(
    cells: Iterable[str],
    column: str,
    path: Path,
    *,
    separator: str | None = None,
    rows: Iterable[int] | None = None,
) -> list[tuple[str, ...]]:
    """Names in each cell of one column (`core/cells.py: label_names`).

    rows: numbers of the rows in the file, where some were left out. Raises DataError that names the row where
    a cell looks like a printed list and is none.
    """
    out = []
    for row, text in zip(itertools.count(1) if rows is None else rows, cells, strict=False):
        try:
            out.append(label_names(text, separator))
        except ValueError as error:
            raise DataError(
                f"{path}: row {row}: '{column}' is not understood: {error}. Write names with a separator."
            ) from None
    return out


def patient_split(patients: Iterable[str], shares: Mapping[str, float], salt: str) -> list[str]:
    """A split by a hash of the patient id: the same patient always falls on the same side."""
    edges, names = np.cumsum(list(shares.values())), list(shares)
    cache: dict[str, str] = {}
    out = []
    for patient in patients:
        if patient not in cache:
            digest = hashlib.sha256(f"{salt}:{patient}".encode()).digest()
            place = int.from_bytes(digest[:8], "big") / 2**64
            cache[patient] = names[min(int(np.searchsorted(edges, place, side="right")), len(names) - 1)]
        out.append(cache[patient])
    return out


def normal_views(raw: pd.Series, card: Card, log: Log) -> pd.Series:
    """Views as PA, AP or L after the card; others as written, blank → null (counted)."""
    text = raw.str.strip()
    blank = blanks(text)
    log.see("no view given", text.index[blank].astype(str))
    return text.where(~blank, "").map(lambda v: card.views.get(v, v) or None)


def manifest(
    root: Path, card: Card, meta: pd.DataFrame, labels: Mapping[str, Any], log: Log, *, table: Path
) -> Manifest:
    """Assemble, check and count. `meta` holds the META columns there are; `labels` class columns first,
    then `<class>@<source>` and `list:<name>`.

    Raises DataError for repeated image ids, for a patient in two forms and for an empty result.
    """
    frame = meta.reset_index(drop=True)
    for column in META_COLUMNS:
        if column not in frame:
            frame[column] = None
    frame = frame[list(META_COLUMNS)]
    missing = [c for c in card.classes if c not in labels]
    if missing:
        raise DataError(f"{table}: no labels for class '{missing[0]}' of the {card.name} card.")
    extra = [c for c in labels if c not in card.classes]
    columns = {c: labels[c] for c in [*card.classes, *extra]}
    frame = pd.concat([frame, pd.DataFrame(columns, index=frame.index)], axis=1)

    repeated = frame["image_id"].duplicated(keep=False)
    if repeated.any():
        row = int(np.flatnonzero(repeated)[-1])
        raise DataError(f"{table}: row {row + 1}: image '{frame['image_id'].iloc[row]}' occurs twice.")
    check_one_form(frame["patient_id"], table, lambda row: f"image '{frame['image_id'].iloc[row]}'")
    frame = _known_issues(frame, card, log, table)
    if frame.empty:
        raise DataError(f"{root}: none of the images of {table.name} is here. Check --data-root.")
    frame = frame.reset_index(drop=True)
    for column in META_COLUMNS:
        if column == "age":
            frame[column] = pd.to_numeric(frame[column], errors="coerce").astype("Float32")
        else:
            frame[column] = frame[column].astype("string")
    for column in columns:
        kind: Any = "boolean" if column.startswith("list:") else "Int8"
        frame[column] = frame[column].astype(kind)

    return Manifest(card.name, "official", root, card.classes, frame, None, log.record(card, frame))


def _known_issues(frame: pd.DataFrame, card: Card, log: Log, table: Path) -> pd.DataFrame:
    """Act on the card's list of faulty images: drop and count, count, or stop."""
    for issue in card.known_issues:
        hit = frame["image_id"].isin(list(issue.images))
        names = frame.loc[hit, "image_id"]
        if issue.action == "fail" and hit.any():
            raise DataError(f"{table}: image '{names.iloc[0]}': {issue.issue}. See the card of {card.name}.")
        if issue.action == "drop":
            log.drop(issue.issue, names)
            frame = frame[~hit]
        elif issue.action == "list":
            log.see(issue.issue, names)
    return frame


def _count(column: pd.Series) -> dict[str, int]:
    return {str(k): int(v) for k, v in column.fillna("none").value_counts().items()}


def is_text(value: object) -> bool:
    """Whether a value of a JSON file is text that a table can hold; half of a surrogate pair is none."""
    try:
        return isinstance(value, str) and value.encode("utf-8") is not None
    except UnicodeEncodeError:
        return False


def csv_rows(path: Path) -> Iterator[list[str]]:
    """Rows of a small CSV of irregular width."""
    with parsing(path, "a CSV table", FETCH), _text(path) as handle:
        yield from csv.reader(bounded_lines(handle, path), strict=True)
