"""Breasts, implants, air and calcium in the chest wall."""

from __future__ import annotations

import numpy as np

from benchmark.twins.anatomy.canvas import Canvas, sides_of
from benchmark.twins.findings.base import Draw
from benchmark.twins.geometry import blob, ellipse, fill, soften, texture


def calcifications(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Dense specks. options: where (breast, else the lung), count, coarse."""
    o, rng, size = draw.options, draw.rng, canvas.size
    side = next(sides_of(draw.finding.side))
    centre = np.array(
        canvas.points[f"breast_{side}"]
        if o.get("where") == "breast"
        else canvas.spot(side, draw.finding.location, rng)
    )
    masks = []
    for _ in range(o["count"]):
        spot = centre + rng.normal(0, 0.022 if o.get("coarse") else 0.042, 2)
        r = draw.scale * (rng.uniform(0.012, 0.02) if o.get("coarse") else rng.uniform(0.004, 0.011))
        masks.append(
            canvas.add(
                soften(fill(blob((float(spot[0]), float(spot[1])), (r, r), rng, 0.3), size), 0.002), 0.75
            )
            * 1.3
        )
    return masks


def breast(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Region of a breast that a reshaper changed. options.state: present or absent."""
    if canvas.lateral:
        return []
    return [
        ellipse(canvas.points[f"breast_{side}"], (0.14, 0.125), canvas.size, canvas.outward(side) * 0.2)
        for side in sides_of(draw.finding.side)
    ]


def implant(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Smooth dense dome with a sharp lower rim."""
    masks = []
    for side in sides_of(draw.finding.side):
        x, y = canvas.points[f"breast_{side}"]
        body = ellipse(
            (x, y + 0.01), (0.105, 0.095) if not canvas.lateral else (0.05, 0.09), canvas.size, 0, 0.35
        )
        masks.append(canvas.add(body, 0.55) * 1.5)
        if canvas.lateral:
            break
    return masks


def subcutaneous_air(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Black streaks and bubbles in the lateral chest wall and neck."""
    rng, size = draw.rng, canvas.size
    masks = []
    streaks = np.clip(1.5 * texture(size, 0.006, rng) - 0.1, 0, 1)
    for side in sides_of(draw.finding.side):
        out = canvas.outward(side)
        lung = soften(canvas.lungs[side], 0.004)
        edge = canvas.points[f"angle_{side}"][0]
        wall = ellipse((edge + out * 0.06, 0.42), (0.075, 0.36), size, 0, 0.5)
        neck = ellipse((0.5 + out * 0.13, 0.06), (0.09, 0.06), size, 0, 0.5)
        zone = np.maximum(wall, neck) * (1 - lung)
        alpha = (0.34 * draw.strength * zone * streaks).astype(np.float32)
        canvas.aerate(alpha.clip(0, 0.6))
        masks.append(zone)
        if canvas.lateral:
            break
    return masks


def soft_mass(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Mass of the breast or of the chest wall. options: where, faint."""
    rng, size = draw.rng, canvas.size
    side = next(sides_of(draw.finding.side))
    out = canvas.outward(side)
    if draw.options["where"] == "breast":
        spot, radii = canvas.points[f"breast_{side}"], (0.045, 0.04)
    else:
        spot, radii = (
            (canvas.points[f"angle_{side}"][0] + out * 0.03, rng.uniform(0.35, 0.55)),
            (0.075, 0.095),
        )
    body = ellipse(spot, radii, size, 0, 0.4)
    return [canvas.add(body, 0.28 if draw.options.get("faint") else 0.6) * 1.5]
