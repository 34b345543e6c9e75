"""The specificity matrices of all methods as one picture for the page."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.core.files import atomic_path, read_json, write_text
from benchmark.core.tables import TWIN_NOTICE
from benchmark.grid.layout import Project
from benchmark.reporting.figures.style import new_figure
from benchmark.reporting.gallery import Picture

NAME = "specificity"
COLUMNS = 3
SIDE = 3.4
"""Inches of one matrix; at 100 dots an inch nearly two dots a finding, and the page stays small."""


@dataclass(frozen=True)
class Matrix:
    """changes: (F, F) change of each finding's prompt (columns) when one is added (rows), in deviations of
    the prompt. specificity: its one number. worst: the finding added and the unrelated prompt that rises most
    above its own; None where every own prompt rises most."""

    title: str
    changes: np.ndarray
    specificity: float
    worst: tuple[str, str] | None


def write_matrices(found: Sequence[Matrix], folder: Path) -> None:
    """specificity.webp, and specificity.json with what the page says of it."""
    from PIL import Image

    rows = -(-len(found) // COLUMNS)
    size = (min(len(found), COLUMNS) * SIDE, rows * (SIDE + 0.45) + 0.3)
    figure, axes = new_figure(*size, columns=min(len(found), COLUMNS), rows=rows, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for axis, own in zip(axes.ravel(), found, strict=False):
        reach = float(np.quantile(np.abs(own.changes), 0.99)) or 1.0
        axis.imshow(own.changes, cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="nearest")
        said = "" if own.worst is None else f"\nworst: {own.worst[0]} raises {own.worst[1]}"
        axis.set_title(f"{own.title}: {own.specificity:.2f}{said}", fontsize=7)
    figure.supxlabel(TWIN_NOTICE, x=0.01, ha="left", fontsize=7)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=100, metadata={"Software": None}, facecolor="white")
    with Image.open(drawn) as picture, atomic_path(folder / f"{NAME}.webp") as temporary:
        picture.convert("RGB").save(temporary, "WEBP", quality=60, method=6)
    about = {"findings": len(found[0].changes), "values": {m.title: m.specificity for m in found}}
    write_text(folder / f"{NAME}.json", json.dumps(about, indent=1) + "\n")


def picture(project: Project) -> Picture | None:
    """The matrices for the page, where they were made."""
    folder = project.reports / "understanding"
    if not (folder / f"{NAME}.webp").is_file() or not (folder / f"{NAME}.json").is_file():
        return None
    about = read_json(folder / f"{NAME}.json")
    encoded = base64.b64encode((folder / f"{NAME}.webp").read_bytes()).decode()
    values = ", ".join(f"{title} {value:.2f}" for title, value in about["values"].items())
    return Picture(
        NAME,
        "One finding changed: which prompts rise",
        f"A matrix a method: what each of {about['findings']} findings (rows), added to otherwise equal "
        "images, makes of the prompt of each (columns); red rises, blue falls, each method on its own scale. "
        "A perfect model has the diagonal alone. The number is its specificity, how often the finding's own "
        "prompt rises more than an unrelated one, 0.5 by chance. Large matrices, worst confusions, denials, "
        "sides, severities and shortcuts: reports/understanding/understanding.md.",
        f"Square matrices of changes, a red diagonal in each. Specificity: {values}.",
        f"data:image/webp;base64,{encoded}",
        True,
        "",
    )
