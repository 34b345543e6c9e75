"""The section on chest CT of the page: what `bench stage ct` wrote, and the sheet of findings of the twin.

They are read as files, so that the page of the radiographs shows them where volumes were not evaluated anew.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from benchmark.core.guard import parsing, read_text
from benchmark.grid.layout import Project

TABLES = ("overview", "claims", "rare_disease", "bank", "summarisation")
"""What the page shows of reports/ct, in its order; the other tables are files."""
TWIN, GAP = "docs/ct-twin.jpg", "reports/ct/modality_gap.png"
WIDEST, QUALITY = 1000, 55
"""Pixels and WebP quality of a picture: the page has to stay below six megabytes."""


@dataclass(frozen=True)
class VolumeTable:
    """One Markdown table as text. rows: cells, and whether each is bold."""

    name: str
    title: str
    banner: str
    head: Sequence[str]
    rows: Sequence[Sequence[tuple[str, bool]]]
    notes: Sequence[str]


@dataclass(frozen=True)
class VolumePicture:
    title: str
    alt: str
    source: str


@dataclass(frozen=True)
class Volumes:
    tables: Sequence[VolumeTable]
    pictures: Sequence[VolumePicture]


def read_volumes(project: Project) -> Volumes | None:
    """None where there are no tables of CT. Raises BenchError for a table that is none."""
    folder = project.reports / "ct"
    tables = [read_markdown(folder / f"{n}.md") for n in TABLES if (folder / f"{n}.md").is_file()]
    if not tables:
        return None
    shown = (
        (TWIN, "Each finding of the CT twin beside the same patient without it, in the window that shows it",
         "Slices of the synthetic chest with and without each of 18 findings."),
        (GAP, "Volumes and reports in two dimensions, before and after BrgSA's bank",
         "Two clouds of points a method, volumes and reports, projected to a plane."),
    )  # fmt: skip
    found = [(project.root / path, title, alt) for path, title, alt in shown]
    pictures = [VolumePicture(title, alt, _webp(path)) for path, title, alt in found if path.is_file()]
    return Volumes(tables, pictures)


def read_markdown(path: Path) -> VolumeTable:
    """A table as `reporting.table.markdown` writes it. Raises BenchError in one line."""
    lines = read_text(path, "a table of CT").splitlines()
    with parsing(path, "a table of CT", "Run `bench report tables --part ct`."):
        rows = [_cells(line) for line in lines if line.startswith("| ")]
        head, body = rows[0], rows[2:]
        if any(len(row) != len(head) for row in rows):
            raise ValueError("rows of different lengths")
        return VolumeTable(
            path.stem,
            _plain(lines[0].removeprefix("# ")),
            _plain(next(line for line in lines if line.startswith("**")).strip("*")),
            [_plain(cell) for cell in head],
            [[(_plain(cell.strip("*")), cell.startswith("**")) for cell in row] for row in body],
            [_plain(line.removeprefix("- ")) for line in lines if line.startswith("- ")],
        )


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def _plain(text: str) -> str:
    return html.unescape(re.sub(r"\\(.)", r"\1", text))


def _webp(path: Path) -> str:
    """A data URL, at most `WIDEST` pixels wide."""
    with parsing(path, "a picture", "Make it again."):
        image = cv2.imread(str(path))
        assert image is not None
        height, width = image.shape[:2]
        if width > WIDEST:
            image = cv2.resize(image, (WIDEST, height * WIDEST // width), interpolation=cv2.INTER_AREA)
        packed = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1]
    return f"data:image/webp;base64,{base64.b64encode(packed.tobytes()).decode()}"
