"""The modality gap as a picture: volumes and reports of one space on one plane, a panel a space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.grid.declared import declared
from benchmark.reporting.figures.style import Drawing, colours, finish, new_figure, save

if TYPE_CHECKING:
    from benchmark.stages.gap import Projection

SPACES = {
    "direct": "",
    "bridged": ": volumes from the bank",
    "reconstructed": ": both from the bank",
}


def write_gap(found: Sequence[Projection], folder: Path, synthetic: bool) -> list[Path]:
    """modality_gap.svg, .pdf and .png in `folder`."""
    columns = min(4, len(found))
    rows = -(-len(found) // columns)
    figure, axes = new_figure(2.4 * columns, 2.3 * rows + 0.5, columns, rows, squeeze=False)
    palette = colours([own.method for own in found])
    for axis, own in zip(axes.flat, found, strict=False):
        pale = {"s": 9, "linewidth": 0.5, "alpha": 0.75}
        axis.scatter(*own.text.T, marker="^", facecolor="none", edgecolor="#5b6270", label="reports", **pale)
        axis.scatter(
            *own.image.T,
            marker="o",
            facecolor=palette[own.method],
            edgecolor="white",
            label="volumes",
            **pale,
        )
        axis.set_title(f"{declared(own.method).title}{SPACES.get(own.space, f': {own.space}')}")
        axis.set_xlabel(f"gap {own.gap:.2f}, plane holds {own.shown:.0%}")
        axis.set(xticks=[], yticks=[])
        axis.set_aspect("equal", adjustable="datalim")
    for axis in axes.flat[len(found) :]:
        axis.set_visible(False)
    axes.flat[0].legend(loc="best", fontsize=7)
    about = found[0]
    title = f"Volumes and reports of one space ({about.dataset}, seed {about.seed})"
    finish(figure, title, synthetic, "two joint principal axes of unit vectors; a gap is 2 at most")
    caption = (
        "Each panel is a plane of its own: lengths of two panels are not comparable, the printed gaps are. "
        "CARZero and RadZero meet texts only in pairs and have no such space."
    )
    drawing = Drawing("modality_gap", title, caption, caption, figure, synthetic, about.dataset)
    return save(drawing, folder)
