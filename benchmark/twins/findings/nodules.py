"""Round lesions of the lung: nodules, cavities, bullae."""

from __future__ import annotations

import numpy as np

from benchmark.twins.anatomy.canvas import AIR_DEPTH, Canvas, sides_of
from benchmark.twins.findings.base import Draw
from benchmark.twins.geometry import blob, disc, dots, ellipse, fill, grid, ring, smooth, soften, strokes


def nodules(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """options: radius, density, count, spread of radii, hard (sharp), soft (blurred), near, zone."""
    o, rng, size = draw.options, draw.rng, canvas.size
    masks = []
    sides = list(sides_of(draw.finding.side))
    for i in range(o.get("count", 1) * (len(sides) if o.get("count", 1) == 1 else 1)):
        side = sides[i % len(sides)]
        if o.get("near") == "hilum":
            hilum = canvas.points[f"hilum_{side}"]
            spot = (
                hilum[0] + canvas.outward(side) * rng.uniform(0.035, 0.06),
                hilum[1] + rng.uniform(-0.05, 0.05),
            )
        else:
            spot = canvas.spot(side, o.get("zone", draw.finding.location), rng, (0.25, 0.8))
        r = (
            o["radius"]
            * (0.8 + 0.22 * draw.strength)
            * draw.scale
            * np.exp(o.get("spread", 0.12) * rng.normal())
        )
        if o.get("hard"):
            body = soften(disc(spot, r, size), 0.0015)
        else:
            body = soften(fill(blob(spot, (r, r), rng, 0.08), size), r * (0.22 + o.get("soft", 0)))
        masks.append(canvas.add(body, o["density"] * 0.62 * rng.uniform(0.85, 1.15)) * 1.4)
    return masks


def nipples(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    masks = []
    for side in sides_of(draw.finding.side):
        x, y = canvas.points[f"nipple_{side}"]
        spot = (x + draw.rng.normal(0, 0.012), y + draw.rng.normal(0, 0.01))
        body = soften(disc(spot, 0.016, canvas.size), 0.003)
        masks.append(canvas.add(body, 0.42) * 1.4)
    return masks


def miliary(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Very many tiny nodules. options.count: a side."""
    rng, size = draw.rng, canvas.size
    masks = []
    for side in ("right", "left"):
        spots = [canvas.spot(side, None, rng, (0.04, 0.96)) for _ in range(draw.options.get("count", 170))]
        specks = soften(dots(spots, 0.0045, size), 0.0018)
        canvas.add(specks, 0.36 * (0.75 + 0.3 * draw.strength))
        masks.append(soften(specks, 0.02) * 4)
        if canvas.lateral:
            break
    return masks


def cavity(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Thick-walled ring. options: radius, wall, fluid (level as share of the height)."""
    o, rng, size = draw.options, draw.rng, canvas.size
    masks = []
    for side in sides_of(draw.finding.side):
        spot = canvas.spot(side, draw.finding.location, rng, (0.35, 0.65))
        r = o["radius"] * draw.scale * rng.uniform(0.85, 1.15)
        outer = soften(fill(blob(spot, (r, r), rng, 0.07), size), 0.004)
        inner = soften(disc(spot, r - draw.scale * o["wall"] * (0.7 + 0.4 * draw.strength), size), 0.003)
        if "fluid" in o:
            _, y = grid(size)
            inner = inner * np.clip((spot[1] + r * (1 - 2 * o["fluid"]) - y) * size + 0.5, 0, 1)
        wall = outer - np.minimum(inner, outer)
        canvas.add(wall.astype(np.float32), 0.5)
        canvas.aerate(0.06 * inner.astype(np.float32))
        masks.append(outer)
    return masks


def bulla(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Empty spaces with a hair-thin wall. options: radius, line (gain of the wall)."""
    o, rng, size = draw.options, draw.rng, canvas.size
    masks = []
    for side in sides_of(draw.finding.side):
        for k in range(2):
            spot = canvas.spot(side, draw.finding.location, rng, (0.35, 0.8))
            r = o["radius"] * (0.75 + 0.25 * draw.strength) * draw.scale * (1.0 if k == 0 else 0.55)
            space = disc(spot, r, size) * canvas.lungs[side]
            canvas.depth -= canvas.vessels * space
            canvas.vessels *= 1 - space
            canvas.aerate(0.09 * space)
            canvas.add(ring(spot, r, 0.0045, size) * canvas.lungs[side], 0.17 * o.get("line", 1.2))
            masks.append(space)
            if "line" in o:
                break
    return masks


def round_atelectasis(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Round mass at the pleura with a comet tail of vessels towards the hilum."""
    side = next(sides_of(draw.finding.side))
    spot = np.array(canvas.spot(side, "base", draw.rng, (0.7, 0.85)))
    hilum = np.array(canvas.points[f"hilum_{side}"])
    body = ellipse((float(spot[0]), float(spot[1])), (0.05, 0.045), canvas.size, 0, 0.5)
    tail = [
        smooth([spot + k, 0.6 * spot + 0.4 * hilum + 0.6 * np.array(k), 0.3 * spot + 0.7 * hilum])
        for k in ((0.02, 0), (-0.02, 0.01), (0, -0.02))
    ]
    lines = soften(strokes(tail, 0.006, canvas.size), 0.002)
    canvas.add(body + 0.4 * lines, 0.33 * AIR_DEPTH)
    return [body * 2]
