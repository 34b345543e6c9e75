"""The gallery of maps: a picture, a table that says which images they are, and the rule that chose them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.core.files import atomic_path, read_json, write_text
from benchmark.core.tables import TWIN_NOTICE
from benchmark.encoders.exposure import READING, level
from benchmark.grid.declared import declared
from benchmark.grid.layout import Project
from benchmark.grid.params import main_cell
from benchmark.reporting.figures.overlay import paint
from benchmark.reporting.figures.style import new_figure
from benchmark.reporting.seen import trained_exposure
from benchmark.stages.gallery import KINDS, RULE

if TYPE_CHECKING:
    from benchmark.grid.params import Params
    from benchmark.stages.gallery import Shown

SIDE = 1.75
"""Inches of one picture; 100 dots an inch keep the whole below 200 KB."""
CAPTION = "White: the box; cross: the maximum of the map; colour: the map, strongest where it is high."


@dataclass(frozen=True)
class Picture:
    """A figure of the page that is a picture file already."""

    name: str
    title: str
    caption: str
    alt: str
    source: str
    synthetic: bool
    dataset: str


def write_gallery(found: Sequence[Shown], folder: Path, synthetic: bool, params: Params) -> str:
    """gallery.jpg, gallery.md and gallery.json. Returns what to tell the user."""
    folder.mkdir(parents=True, exist_ok=True)
    _draw(found, folder / "gallery.jpg", synthetic)
    notice = f"**{TWIN_NOTICE}.** " if synthetic else ""
    lines = [
        f"{notice}Maps of the main methods on {found[0].dataset}, seed {found[0].seed}. {RULE}",
        "",
        "![Maps over images, a row a method: hit, near miss, failure](gallery.jpg)",
        "",
        CAPTION,
        "",
        "| method | seen | map | kind | of so many | class | image | CNR |",
        "|---|---|---|---|---:|---|---|---:|",
    ]
    for s in found:
        seen = level(trained_exposure(params, main_cell(params, s.method)), s.dataset)
        cells = (declared(s.method).title, seen, s.map, s.kind, s.count, s.cls, s.image_id, f"{s.cnr:.2f}")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    write_text(folder / "gallery.md", "\n".join([*lines, "", READING]) + "\n")
    about = {"dataset": found[0].dataset, "synthetic": synthetic, "rule": RULE}
    write_text(folder / "gallery.json", json.dumps(about, indent=1) + "\n")
    size = (folder / "gallery.jpg").stat().st_size
    return f"{len(found)} maps, {folder / 'gallery.md'}, picture of {size / 1000:.0f} KB"


def picture(project: Project) -> Picture | None:
    """The gallery for the page, where it was made."""
    folder = project.reports / "gallery"
    if not (folder / "gallery.jpg").is_file() or not (folder / "gallery.json").is_file():
        return None
    about = read_json(folder / "gallery.json")
    encoded = base64.b64encode((folder / "gallery.jpg").read_bytes()).decode()
    return Picture(
        "gallery",
        "Where the methods look",
        f"{about['rule']} {CAPTION}",
        "Radiographs with maps over them, a row a method: a hit, a near miss and a failure.",
        f"data:image/jpeg;base64,{encoded}",
        bool(about["synthetic"]),
        str(about["dataset"]),
    )


def _draw(found: Sequence[Shown], path: Path, synthetic: bool) -> None:
    methods = list(dict.fromkeys(s.method for s in found))
    size = (len(KINDS) * SIDE + 0.5, len(methods) * (SIDE + 0.32) + 0.4)
    figure, axes = new_figure(*size, columns=len(KINDS), rows=len(methods), squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for shown in found:
        axis = axes[methods.index(shown.method), KINDS.index(shown.kind)]
        paint(axis, shown.grey, shown.pixels, shown.mask)
        title = declared(shown.method).title
        axis.set_title(f"{title}, {shown.kind}\n{shown.cls}, CNR {shown.cnr:.2f}", fontsize=5.5)
    figure.supxlabel(TWIN_NOTICE if synthetic else "official data", x=0.01, ha="left", fontsize=7)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="jpg", dpi=100, facecolor="white", pil_kwargs={"quality": 80})
