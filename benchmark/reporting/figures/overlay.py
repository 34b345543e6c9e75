"""A map over its image: colour where it is high, the outline of what is known, a cross at the maximum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.core.tables import TWIN_NOTICE
from benchmark.evaluation.grounding import UNSEEN, highest_point
from benchmark.reporting.figures.style import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from benchmark.stages.look import Looked
    from benchmark.stages.look_volume import LookedVolume

STRONGEST = 0.55
"""Opacity of the highest value; the lowest is clear."""


def paint(axis: Any, grey: np.ndarray, pixels: np.ndarray, mask: np.ndarray | None) -> None:
    """Draw one overlay. grey, pixels: (H, W); mask: (H, W) bool."""
    axis.imshow(grey, cmap="gray", interpolation="bilinear")
    seen = pixels != UNSEEN
    low, high = float(pixels[seen].min()), float(pixels[seen].max())
    strength = np.where(seen, (pixels - low) / (high - low if high > low else 1.0), 0.0)
    axis.imshow(strength, cmap="turbo", alpha=STRONGEST * strength, vmin=0, vmax=1, interpolation="bilinear")
    if mask is not None and mask.any() and not mask.all():
        axis.contour(mask.astype(float), levels=[0.5], colors="#ffffff", linewidths=1.1)
    x, y = highest_point(pixels)
    axis.plot(x, y, marker="+", markersize=9, markeredgewidth=1.6, color="#ffffff")
    axis.plot(x, y, marker="+", markersize=7, markeredgewidth=0.8, color="#000000")
    axis.set_axis_off()


def overlay(looked: Looked) -> Figure:
    """One image as a figure; what the map is, the score and the mark of twins stand inside."""
    height, width = looked.grey.shape
    figure, axis = new_figure(4.2, 4.2 * height / width + 0.7)
    known = looked.known
    paint(axis, looked.grey, looked.pixels, None if known is None else known.mask)
    axis.set_title(f"{looked.text}\n{looked.model}: {looked.kind} map, score {looked.score:.3f}", fontsize=8)
    footer(figure, looked)
    return figure


def footer(figure: Figure, looked: Looked | LookedVolume) -> None:
    """The mark of twins or of official data, and what the truth says of the map, under the picture."""
    said = []
    known = looked.known
    if known is not None:
        said.append(TWIN_NOTICE if known.origin == "twin" else f"official data, {known.dataset}")
    if looked.measures is not None:
        found = looked.measures
        cnr = "undefined" if found.cnr is None else f"{found.cnr:.2f}"
        said.append(f"{'hit' if found.hit else 'miss'}, CNR {cnr}, best IoU {found.iou:.2f}")
    figure.supxlabel("  ·  ".join(said), fontsize=7, x=0.02, ha="left")
