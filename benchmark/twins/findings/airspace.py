"""More or less air, more or fewer vessels."""

from __future__ import annotations

import numpy as np

from benchmark.twins.anatomy.canvas import Canvas, sides_of
from benchmark.twins.findings.base import Draw
from benchmark.twins.geometry import ellipse, grid, soften, texture


def emphysema(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Destroyed lung: vessels vanish and patches turn black, mostly in the upper zones."""
    rng, size = draw.rng, canvas.size
    masks = []
    holes = np.clip(texture(size, 0.02, rng), 0, 2)
    for side in ("right", "left"):
        _, y = grid(size)
        top, low = canvas.level(side, 0.0), canvas.level(side, 0.99)
        upper = np.clip(1.15 - (y - top) / (low - top), 0, 1) ** 0.8
        zone = (canvas.lungs[side] * upper * min(0.6 + 0.4 * draw.strength, 1)).astype(np.float32)
        canvas.depth -= 0.75 * zone * canvas.vessels
        canvas.vessels *= 1 - 0.75 * zone
        canvas.aerate((0.05 + 0.05 * holes) * zone * (0.7 + 0.4 * draw.strength))
        masks.append(zone)
        if canvas.lateral:
            break
    return masks


def oligemia(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Fewer and thinner vessels. options: amount, rim (periphery only)."""
    masks = []
    for side in sides_of(draw.finding.side or "bilateral"):
        amount = min(draw.options["amount"] * (0.7 + 0.3 * draw.strength), 1)
        zone = amount * canvas.lungs[side]
        if draw.options.get("rim"):
            zone = zone * np.clip(0.35 + canvas.wall(side, 0.09), 0, 1)
        canvas.depth -= zone * canvas.vessels
        canvas.vessels *= 1 - zone
        masks.append(canvas.lungs[side])
        if canvas.lateral:
            break
    return masks


def redistribution(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Upper vessels become as wide as the lower ones. options.gain."""
    masks = []
    for side in ("right", "left"):
        _, y = grid(canvas.size)
        hilum = canvas.points[f"hilum_{side}"][1]
        upper = (canvas.lungs[side] * np.clip((hilum + 0.02 - y) / 0.06, 0, 1)).astype(np.float32)
        wide = soften(canvas.vessels, 0.004) * 1.5 * upper * draw.options["gain"] * draw.strength
        canvas.depth += wide
        masks.append(upper)
        if canvas.lateral:
            break
    return masks


def markings(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Accentuated bronchovascular markings. options.gain."""
    rng, size = draw.rng, canvas.size
    masks = []
    for side in ("right", "left"):
        hilum = canvas.points[f"hilum_{side}"]
        near = ellipse((hilum[0], hilum[1] + 0.04), (0.24, 0.34), size, 0, 0.6) * canvas.lungs[side]
        gain = draw.options["gain"] * draw.strength
        canvas.depth += (
            gain
            * near
            * (soften(canvas.vessels, 0.003) + 0.05 * np.clip(texture(size, 0.004, rng), 0, 2) * canvas.air)
        )
        masks.append(near)
        if canvas.lateral:
            break
    return masks
