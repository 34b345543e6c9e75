"""Zero-shot AUROC of each class against what a supervised probe reaches on the same features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.core.files import atomic_path
from benchmark.reporting.figures.style import colours, marker, new_figure

if TYPE_CHECKING:
    import pandas as pd


ABOUT = ("dataset", "class", "named", "positives", "probe", "seen")
"""Columns of the table of difficulty that are no cell."""


def cells_of(frame: pd.DataFrame) -> list[str]:
    return [column for column in frame.columns if column not in ABOUT]


def draw_difficulty(frame: pd.DataFrame, label: str, path: Path) -> None:
    """A panel a method. frame: columns `class`, `probe`, `named` and one a cell; `label` stands in the
    title. Hollow points are classes that no training text names."""
    cells = cells_of(frame)
    shown = frame[frame["probe"].notna()]
    columns = min(3, len(cells))
    rows = -(-len(cells) // columns)
    figure, axes = new_figure(
        2.5 * columns, 2.4 * rows, columns, rows, sharex=True, sharey=True, squeeze=False
    )
    methods = [cell.removesuffix("-main") for cell in cells]
    palette = colours(methods)
    for axis, cell, method in zip(axes.flat, cells, methods, strict=False):
        axis.plot([0.4, 1], [0.4, 1], color="#5b6270", lw=0.9, ls=(0, (3, 2)))
        axis.axhline(0.5, color="#5b6270", lw=0.6)
        for named, part in shown.groupby(shown["named"] > 0):
            axis.scatter(
                part["probe"],
                part[cell],
                s=14,
                marker=marker(method),
                facecolor=palette[method] if named else "none",
                edgecolor=palette[method],
                linewidth=0.8,
                alpha=0.8,
            )
        axis.set(title=method, xlim=(0.4, 1.01), ylim=(0.2, 1.01))
    for axis in axes.flat[len(cells) :]:
        axis.set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("supervised probe")
    for line in axes:
        line[0].set_ylabel("zero-shot")
    figure.suptitle(f"AUROC of each class ({label}); hollow: never named in training", fontsize=9)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
