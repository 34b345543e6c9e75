"""The specificity matrices of reports/understanding as one picture for the page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np

from benchmark.core.guard import parsing
from benchmark.core.tables import TWIN_NOTICE
from benchmark.grid.declared import declared
from benchmark.grid.layout import Project
from benchmark.reporting.figures.style import new_figure
from benchmark.reporting.gallery import Picture

COLUMNS = 3
SIDE = 3.4
"""Inches of one matrix; at 100 dots an inch nearly two dots a finding, and the page stays small."""
COLOURED = 30
"""Of 255, by how much the channels of a pixel of a matrix differ at least; ink and ticks are greyer."""


def picture(project: Project) -> Picture | None:
    """The matrices for the page; None where `bench stage understanding` made none."""
    import pandas as pd
    from PIL import Image

    folder = project.reports / "understanding"
    table = folder / "findings.csv"
    if not table.is_file():
        return None
    with parsing(table, "a table of findings", "Run `bench stage understanding`."):
        rows = pd.read_csv(table)
        rows = rows[rows["metric"] == "specificity"]
        whole = rows[rows["class"] == "macro"]
        found = [
            (declared(method).title, float(value), folder / f"specificity-{cell}.png")
            for cell, method, value in whole[["cell", "method", "value"]].itertuples(index=False)
        ]
    found = [item for item in found if item[2].is_file()]
    if not found:
        return None
    count = -(-len(found) // COLUMNS)
    figure, axes = new_figure(
        COLUMNS * SIDE, count * (SIDE + 0.3) + 0.3, columns=COLUMNS, rows=count, squeeze=False
    )
    for axis in axes.ravel():
        axis.set_axis_off()
    for axis, (title, value, path) in zip(axes.ravel(), found, strict=False):
        axis.imshow(matrix_of(path), interpolation="antialiased")
        axis.set_title(f"{title}: {value:.2f}", fontsize=8)
    figure.supxlabel(TWIN_NOTICE, x=0.01, ha="left", fontsize=7)
    drawn, written = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=100, metadata={"Software": None}, facecolor="white")
    with Image.open(drawn) as image:
        image.convert("RGB").save(written, "WEBP", quality=60, method=6)
    values = ", ".join(f"{title} {value:.2f}" for title, value, _ in found)
    return Picture(
        "specificity",
        "One finding changed: which prompts rise",
        "A matrix a method: what each finding (rows), added to otherwise equal images, makes of the prompt "
        "of each (columns); red rises, blue falls, each method on its own scale. A perfect model has the "
        "diagonal alone. The number is its specificity, how often the finding's own prompt rises more than "
        "an unrelated one, 0.5 by chance. With names, worst confusions, denials, sides, severities and "
        "shortcuts: reports/understanding/understanding.md.",
        f"Square matrices, red where a prompt rises. Specificity: {values}.",
        f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode()}",
        True,
        "",
    )


def matrix_of(path: Path) -> np.ndarray:
    """(H, W, 3) uint8, the matrix of a picture without its labels and its bar of colours: the widest block of
    columns that hold colour, and their rows."""
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    coloured = np.ptp(pixels.astype(int), axis=2) >= COLOURED
    left, right = _widest(coloured.any(axis=0))
    top, bottom = _widest(coloured[:, left:right].any(axis=1))
    return pixels[top:bottom, left:right]


def _widest(flags: np.ndarray) -> tuple[int, int]:
    """Start and end of the longest run of true values, over single gaps where a row is all but white."""
    places = np.flatnonzero(flags)
    if not len(places):
        return 0, len(flags)
    breaks = np.flatnonzero(np.diff(places) > 16) + 1
    return max(
        ((int(run[0]), int(run[-1]) + 1) for run in np.split(places, breaks)), key=lambda r: r[1] - r[0]
    )
