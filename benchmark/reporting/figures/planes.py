"""A map over three planes of a CT volume: through its highest token and, where one is drawn, the lesion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.evaluation.grounding import UNSEEN
from benchmark.evaluation.volume_maps import fullest_voxel, highest_voxel, sample
from benchmark.reporting.figures.overlay import STRONGEST, footer
from benchmark.reporting.figures.style import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from benchmark.stages.look_volume import LookedVolume

WINDOW = (-1000.0, 400.0)
"""Hounsfield units from black to white: lung and soft tissue in one picture."""
PLANES = ("axial", "coronal", "sagittal")
EDGES = ("R", "R", "front")
"""What lies at the left edge of each plane."""


def planes(looked: LookedVolume) -> Figure:
    """Axial, coronal and sagittal with the head above, the patient's right or front at the left. A second row
    lies in the planes that hold most of the drawn lesion. Colour has one scale over the whole map."""
    mask = None if looked.known is None else looked.known.mask
    rows = [("through the maximum", highest_voxel(looked.tokens, looked.places))]
    if mask is not None:
        rows.append(("through the lesion", fullest_voxel(mask)))
    figure, axes = new_figure(7.2, 2.5 * len(rows) + 0.9, columns=3, rows=len(rows), squeeze=False)
    for row, (own, (where, at)) in enumerate(zip(axes, rows, strict=True)):
        for number, axis in enumerate(own):
            _plane(axis, looked, number, at, mask, cross=row == 0)
            axis.set_title(f"{PLANES[number]}, {where}", fontsize=7)
    title = f"{looked.text}\n{looked.model}: {looked.kind} map, score {looked.score:.3f}"
    figure.suptitle(title, x=0.02, ha="left", fontsize=8)
    footer(figure, looked)
    return figure


def _plane(
    axis: Any,
    looked: LookedVolume,
    number: int,
    at: tuple[int, int, int],
    mask: np.ndarray | None,
    cross: bool,
) -> None:
    """number: the array's axis that the plane cuts. cross: mark the place in it."""
    rows, columns = (a for a in range(3) if a != number)
    up = -1 if rows == 0 else 1  # z rises to the head
    cut = tuple(at[a] if a == number else slice(None) for a in range(3))
    places = [own[[at[a]]] if a == number else own for a, own in enumerate(looked.places)]
    values = sample(looked.tokens, places).squeeze(number)[::up]
    height, width = (n * looked.volume.spacing[a] for n, a in zip(values.shape, (rows, columns), strict=True))
    extent = (0.0, width, height, 0.0)
    low, high = WINDOW
    axis.imshow(looked.volume.hu[cut][::up], cmap="gray", vmin=low, vmax=high, extent=extent)
    least, most = float(looked.tokens.min()), float(looked.tokens.max())
    seen = values != UNSEEN
    strength = np.where(seen, (values - least) / (most - least if most > least else 1.0), 0.0)
    axis.imshow(strength, cmap="turbo", alpha=STRONGEST * strength, vmin=0, vmax=1, extent=extent)
    if mask is not None and mask[cut].any() and not mask[cut].all():
        shown = mask[cut][::up].astype(float)
        axis.contour(shown, levels=[0.5], colors="#ffffff", linewidths=1.1, extent=extent, origin="upper")
    if cross:
        y, x = ((at[a] + 0.5) * looked.volume.spacing[a] for a in (rows, columns))
        y = height - y if up < 0 else y
        axis.plot(x, y, marker="+", markersize=9, markeredgewidth=1.6, color="#ffffff")
        axis.plot(x, y, marker="+", markersize=7, markeredgewidth=0.8, color="#000000")
    axis.text(0.02, 0.5, EDGES[number], transform=axis.transAxes, color="#ffffff", fontsize=7, va="center")
    axis.set_axis_off()
