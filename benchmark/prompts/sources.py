"""Reports from wherever they lie: a file or folder of text or Open-I XML, an archive, a table, a manifest."""

from __future__ import annotations

import re
import tarfile
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.core.errors import DataError, closest
from benchmark.core.guard import bounded_size, opened, parsing
from benchmark.core.tables import Manifest
from benchmark.prompts.sections import OpenIReport, openi_report

if TYPE_CHECKING:
    import pandas as pd

_LARGEST = 4 << 20
"""Bytes; no report is that long."""
_ARCHIVES = (".tgz", ".tar.gz", ".tar")
_BINARY = frozenset({"0", "1", "0.0", "1.0"})
_TEXT_COLUMNS = ("report", "report_text", "text", "findings", "impression")
_SECTIONS = ("findings", "impression")
"""Columns that are one report where a table has both of them and no column of whole reports."""
_ID_COLUMNS = (
    "study_id",
    "studyid",
    "accessionno",
    "reportid",
    "report_id",
    "uid",
    "id",
    "image_id",
    "imageid",
)


def read_reports(source: Path | str) -> dict[str, str]:
    """Report id → report, in order of file name or row; empty reports are left out.

    A .txt file is one report under its name (`s50414267.txt` of MIMIC-CXR under 50414267), an .xml file one
    Open-I report under its uId; folders and tar archives are searched for both; .csv and .csv.gz need a
    column Report or text, or Findings and Impression (and take an id column where there is one); a
    manifest.parquet gives its studies.
    Raises DataError, naming file or row, where nothing can be read or an id occurs twice.
    """
    source = Path(source)
    if not source.exists():
        raise DataError(f"{source}: no such file or folder of reports.")
    if source.name == "manifest.parquet":
        return _of_manifest(source)
    if source.is_file() and source.name.lower().endswith((".csv", ".csv.gz")):
        return _of_table(source)
    found: dict[str, str] = {}
    for where, name, data in _files(source):
        identifier = _identifier(where, name, data)
        if identifier in found:
            raise DataError(f"{where}: a second report called '{identifier}'. Give the files distinct names.")
        found[identifier] = _text(data, where)
    found = {identifier: text for identifier, text in found.items() if text.strip()}
    if not found:
        raise DataError(
            f"{source}: no report is here. Expected .txt, Open-I .xml, a .tgz of them, or a .csv."
        )
    return found


def read_openi(source: Path | str) -> list[OpenIReport]:
    """Open-I reports below a folder, in an archive or in one file, by number. Raises DataError for none."""
    source = Path(source)
    if not source.exists():
        raise DataError(f"{source}: no such file or folder of reports.")
    reports = [openi_report(data, where) for where, name, data in _files(source) if name.endswith(".xml")]
    if not reports:
        raise DataError(f"{source}: no Open-I XML report is here. Unpack NLMCXR_reports.tgz, or name it.")
    return sorted(reports, key=lambda r: (len(r.identifier), r.identifier))


def _files(source: Path) -> Iterator[tuple[str, str, bytes]]:
    """(where, name, content) of report files."""
    if source.is_dir():
        inside = [p for p in sorted(source.rglob("*")) if p.is_file()]
        texts = [p for p in inside if p.suffix.lower() in (".txt", ".xml")]
        chosen = texts or [p for p in inside if p.name.lower().endswith(_ARCHIVES)]
        for path in chosen:
            yield from _files(path)
    elif source.name.lower().endswith(_ARCHIVES):
        yield from _members(source)
    elif source.suffix.lower() in (".txt", ".xml"):
        bounded_size(source, "a report", _LARGEST)
        with parsing(source, "a report"):
            data = source.read_bytes()
        yield str(source), source.name, data
    else:
        raise DataError(f"{source}: not a kind of report file. Expected .txt, .xml, .tgz, .csv or a folder.")


def _members(path: Path) -> list[tuple[str, str, bytes]]:
    found = []
    with parsing(path, "a tar archive", "Fetch it again.", private=True), tarfile.open(path) as archive:
        for member in archive:
            if not member.isfile() or not member.name.lower().endswith((".txt", ".xml")):
                continue
            if member.size > _LARGEST:
                raise DataError(f"{path}: {member.name} has {member.size:,} bytes; no report is that long.")
            handle = archive.extractfile(member)
            if handle is not None:
                found.append((f"{path}:{member.name}", Path(member.name).name, handle.read()))
    return found


def _text(data: bytes, where: str) -> str:
    """UTF-8, with or without byte-order mark, or UTF-16 with one; what is not UTF-8 is read as Windows-1252.
    Raises DataError for what is no text."""
    try:
        text = data.decode("utf-16" if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    if "\0" in text:
        raise DataError(f"{where}: not a text, it holds null bytes. Save it as UTF-8.")
    return text


def _identifier(where: str, name: str, data: bytes) -> str:
    if name.lower().endswith(".xml"):
        return openi_report(data, where).identifier
    stem = name[: -len(".txt")]
    mimic = re.fullmatch(r"s(\d{8})", stem)
    return mimic[1] if mimic else stem


def _of_manifest(path: Path) -> dict[str, str]:
    from benchmark.prompts.training_texts import study_reports

    reports = study_reports(Manifest.load(path.parent))
    if not reports:
        raise DataError(f"{path}: no image of this dataset has a report.")
    return reports


UNREAD_AT_MOST = 0.01
"""Share of the label columns of a table that may bear the name of no class."""


def labelled_reports(path: Path | str, classes: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """`report` and one column of 1 and 0 for each of `classes` that the table has, a row a report; then what
    is left out, one line a kind.

    The table is a CSV as `read_reports` takes it, with label columns that bear the names of classes. Raises
    DataError, naming the row, for an empty report and for a label other than 0 and 1; where no class has a
    column, and where more than UNREAD_AT_MOST of the columns of 0 and 1 are no class.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(
            f"{path}: no such table of reports. Give a CSV with a report and its labels in each row."
        )
    frame, text, _ = _table(path)
    named = {str(column).strip(): column for column in frame.columns}
    have = [name for name in classes if name in named]
    if not have:
        raise DataError(f"{path}: no column bears the name of a class, such as '{classes[0]}'.")
    others = [n for n, c in named.items() if n not in classes and n and set(frame[c].str.strip()) <= _BINARY]
    unread = {n: near for n in others if (near := closest(n, set(classes) - set(have)))}
    if len(unread) > UNREAD_AT_MOST * (len(have) + len(unread)):
        worst, near = next(iter(unread.items()))
        raise DataError(
            f"{path}:1: {len(unread)} label columns are no class: '{worst[:60]}' (near '{near}'). Give them "
            "the names of the classes, or take them out."
        )
    lacking = [name for name in classes if name not in named]
    said = []
    for kind, names in (("label columns that are no class", others), ("classes without a column", lacking)):
        if names:
            more = ", …" if len(names) > 3 else ""
            said.append(f"{len(names)} {kind}: {', '.join(names[:3])}{more}")
    frame = frame.rename(columns={text: "report", **{named[name]: name for name in have}})
    for name in have:
        values = frame[name].str.strip().str.removesuffix(".0")
        wrong = ~values.isin(["0", "1"])
        if wrong.any():
            row = int(wrong.to_numpy().argmax()) + 2
            raise DataError(
                f"{path}:{row}: '{name}' is neither 0 nor 1. Give each report a label of each class."
            )
        frame[name] = values.astype("int8")
    empty = frame["report"].str.strip() == ""
    if empty.any():
        raise DataError(
            f"{path}:{int(empty.to_numpy().argmax()) + 2}: there is no report. Leave the row out."
        )
    return frame[["report", *have]], said


def _table(path: Path) -> tuple[pd.DataFrame, str, str | None]:
    """A CSV as text, and the names of its columns of reports and of ids."""
    import pandas as pd

    with parsing(path, "a CSV table", private=True), opened(path) as handle:
        frame = pd.read_csv(handle, dtype="string", keep_default_na=False)
    columns = {str(name).strip().lower(): name for name in reversed(list(frame.columns))}
    text = next((columns[c] for c in _TEXT_COLUMNS if c in columns), None)
    if text is None:
        raise DataError(f"{path}: no column called Report or text.")
    if text == columns.get(_SECTIONS[0]) and _SECTIONS[1] in columns:
        own = {name: frame[columns[name]].str.strip() for name in _SECTIONS}
        heads = [(name.upper() + ": " + values).where(values != "", "") for name, values in own.items()]
        frame[text] = (heads[0] + "\n" + heads[1]).str.strip()
    return frame, text, next((columns[c] for c in _ID_COLUMNS if c in columns), None)


def _of_table(path: Path) -> dict[str, str]:
    import pandas as pd

    frame, text, key = _table(path)
    ids = frame[key] if key is not None else pd.Series([f"row {n}" for n in range(2, len(frame) + 2)])
    found: dict[str, str] = {}
    for row, (identifier, report) in enumerate(zip(ids, frame[text], strict=True), 2):
        if report.strip() and found.setdefault(identifier, report) != report:
            raise DataError(f"{path}:{row}: another report for '{identifier}' than before.")
    if not found:
        raise DataError(f"{path}: column '{text}' holds no report.")
    return found
