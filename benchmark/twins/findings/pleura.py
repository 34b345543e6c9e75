"""Pleural space: fluid, air, thickening, plaques and fissures."""

from __future__ import annotations

import numpy as np

from benchmark.twins.anatomy.canvas import AIR_DEPTH, Canvas, sides_of
from benchmark.twins.findings.base import Draw
from benchmark.twins.geometry import blob, disc, ellipse, fill, grid, smooth, soften, strokes, texture


def _lateral_distance(canvas: Canvas, side: str) -> np.ndarray:
    """(S, S) distance in sides from the outer wall of a lung on each row; 1 where the row has no lung."""
    rows, first, last = canvas.rows(side)
    x, _ = grid(canvas.size)
    edge = np.full(canvas.size, 9.0, np.float32)
    out = canvas.outward(side) if not canvas.lateral else 1
    edge[rows] = (first if out < 0 else last + 1) / canvas.size
    below = rows[-1]
    edge[below:] = edge[below]
    return np.where(edge[:, None] < 9, out * (edge[:, None] - x), 1.0).astype(np.float32)


def effusion(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Free fluid with a meniscus that climbs the lateral wall. options.height: at the wall, strength 1."""
    masks = []
    for side in sides_of(draw.finding.side):
        grade = draw.options["height"] * max(draw.strength - 0.15, 0.3) ** 1.35
        height = min(grade * draw.scale * draw.rng.uniform(0.85, 1.2), 0.55)
        masks.append(_fluid(canvas, side, height))
    return masks


def _fluid(canvas: Canvas, side: str, height: float, flat: bool = False) -> np.ndarray:
    _, y = grid(canvas.size)
    angle = canvas.points[f"angle_{side}"][1]
    distance = np.clip(_lateral_distance(canvas, side), 0, 1)
    climb = np.zeros_like(distance) if flat else height * np.exp(-distance / 0.075)
    level = angle - 0.35 * height - 0.65 * climb if not flat else np.full_like(distance, angle - height)
    under = np.clip((y - level) / (0.004 if flat else 0.018) + 0.5, 0, 1)
    strength = 0.62 if canvas.lateral else 0.92
    added = canvas.opacify((strength * under * soften(canvas.lungs[side], 0.003)).astype(np.float32))
    below = 0.05 * under * soften(canvas.lungs[side], 0.02)
    canvas.depth += below.astype(np.float32)
    return added * 2.2


def blunting(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Only the costophrenic angle is filled. options.height."""
    return [
        _fluid(canvas, side, draw.options["height"] * 1.75 * draw.rng.uniform(0.85, 1.25))
        for side in sides_of(draw.finding.side)
    ]


def pleural_cap(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Irregular density over the apex. options.depth."""
    rng, size = draw.rng, canvas.size
    masks = []
    for side in sides_of(draw.finding.side):
        lung = soften(canvas.lungs[side], 0.003)
        depth = draw.options["depth"] * rng.uniform(0.8, 1.3)
        top = canvas.level(side, 0.0)
        _, y = grid(size)
        moved = np.roll(lung, int(depth * size), axis=0)
        cap = np.clip(lung - moved, 0, 1) * np.clip((top + 0.13 - y) / 0.04, 0, 1)
        cap = cap * (1 + 0.3 * texture(size, 0.012, rng)).clip(0.3, 1.6)
        masks.append(canvas.add(cap.astype(np.float32), 0.42))
        if canvas.lateral:
            break
    return masks


def thickening(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Band of tissue along the wall. options: depth, calcified (attenuation added)."""
    rng, size, o = draw.rng, canvas.size, draw.options
    masks = []
    for side in sides_of(draw.finding.side):
        distance = _lateral_distance(canvas, side)
        wave = 1 + 0.35 * texture(size, 0.03, rng)
        depth = o["depth"] * (0.7 + 0.4 * draw.strength)
        band = np.clip((depth * wave - distance) / 0.006, 0, 1) * soften(canvas.lungs[side], 0.002)
        low, high = (0.62, 1.0) if draw.finding.location == "basal" else (0.3, 0.82)
        _, y = grid(size)
        a, b = canvas.level(side, low), canvas.level(side, min(high, 0.99))
        band = (band * np.clip((y - a) / 0.04, 0, 1) * np.clip((b - y) / 0.04 + 0.5, 0, 1)).astype(np.float32)
        if o.get("calcified"):
            band = band * (texture(size, 0.006, rng) > -0.4)
        masks.append(canvas.add(soften(band, 0.002), 0.42 + o.get("calcified", 0)))
    return masks


def plaques(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Flat islands over the lung and on the diaphragm. options: count, calcified."""
    rng, size, o = draw.rng, canvas.size, draw.options
    masks = []
    for side in sides_of(draw.finding.side):
        dome = canvas.points[f"dome_{side}"]
        for k in range(o["count"]):
            if k == 0:  # the diaphragmatic plaque
                t = np.linspace(-0.07, 0.07, 9)
                body = soften(
                    strokes([np.stack([dome[0] + t, dome[1] + 0.004 + 1.2 * t**2], axis=1)], 0.014, size),
                    0.002,
                )
            else:
                spot = canvas.spot(side, None, rng, (0.5, 0.95))
                body = soften(fill(blob(spot, (0.022, 0.045), rng, 0.4), size), 0.003)
            if o.get("calcified"):
                body = body * (0.55 + 0.45 * (texture(size, 0.006, rng) > 0))
            masks.append(canvas.add(body.astype(np.float32), 0.5 if o.get("calcified") else 0.24))
    return masks


def fissures(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Visible fissures. options: which (minor, major, both, azygos), width."""
    rng, size, which = draw.rng, canvas.size, draw.options["which"]
    width = draw.options.get("width", 0.005)
    curves = []
    if which == "azygos":
        if canvas.lateral:
            return []
        a = canvas.points["apex_right"]
        curve = smooth(
            [
                (a[0] - 0.03, a[1] + 0.005),
                (a[0] - 0.01, a[1] + 0.09),
                (a[0] + 0.04, a[1] + 0.155),
                (a[0] + 0.075, a[1] + 0.185),
            ]
        )
        line = strokes([curve], 0.006, size)
        drop = soften(disc((a[0] + 0.075, a[1] + 0.19), 0.014, size), 0.002)
        area = fill(np.concatenate([curve, [(a[0] + 0.09, a[1] + 0.03), (a[0] + 0.02, a[1])]]), size)
        canvas.add(line, 0.34)
        canvas.add(drop, 0.5)
        canvas.opacify(0.05 * area)
        return [np.maximum(soften(area, 0.004), line)]
    hilum = canvas.points["hilum_right"]
    if canvas.lateral:
        if which != "major":
            curves.append(
                smooth(
                    [
                        (hilum[0] - 0.02, hilum[1] + 0.03),
                        (hilum[0] - 0.14, hilum[1] + 0.05),
                        (hilum[0] - 0.27, hilum[1] + 0.06),
                    ]
                )
            )
        if which != "minor":
            curves.append(smooth([(0.66, 0.26), (hilum[0] - 0.0, hilum[1] + 0.06), (0.30, 0.70)]))
    else:
        for side in sides_of(draw.finding.side):
            out = canvas.outward(side)
            x, y = canvas.points[f"hilum_{side}"]
            if which != "major" and side == "right":
                curves.append(
                    smooth(
                        [(x + out * 0.03, y + 0.035), (x + out * 0.13, y + 0.03), (x + out * 0.26, y + 0.06)]
                    )
                )
            if which != "minor":
                curves.append(
                    smooth(
                        [(x + out * 0.24, y + 0.02), (x + out * 0.17, y + 0.14), (x + out * 0.12, y + 0.26)]
                    )
                )
    line = soften(strokes(curves, width * rng.uniform(0.9, 1.3), size), 0.0015)
    return [canvas.add(line, 0.36)]


def pneumothorax(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Air outside a retracted lung: no vessels beyond a thin pleural line. options: depth, fluid."""
    size, rng = canvas.size, draw.rng
    side = next(sides_of(draw.finding.side))
    lung = canvas.lungs[side]
    depth = min(draw.options["depth"] * draw.strength**1.6 * draw.scale * rng.uniform(0.8, 1.25), 0.13)
    # The lung shrinks towards its hilum, most at the apex.
    hilum = canvas.points[f"hilum_{side}"]
    scale_x, scale_y = 1 - depth / 0.16, 1 - depth / 0.36
    wall = canvas.curves[f"lung_{side}"]
    if canvas.lateral:
        scale_x = 1 - 0.4 * depth / 0.16
    base_shift = 0.5 * depth if draw.strength > 1.1 else 0.15 * depth
    away = np.array([max(scale_x, 0.35), max(scale_y, 0.5)], np.float32)
    shrunk = (wall - np.array(hilum, np.float32)) * away + np.array(
        [hilum[0], hilum[1] + base_shift], np.float32
    )
    # A small one is seen at the apex only: further down the lung keeps to the wall.
    low = canvas.level(side, min(0.03 + 3 * depth, 0.999))
    loose = (
        np.ones((len(wall), 1)) if 0.03 + 3 * depth > 0.45 else np.clip((low - wall[:, 1:]) / 0.1 + 0.3, 0, 1)
    )
    outline = (wall + loose * (shrunk - wall)).astype(np.float32)
    kept = fill(outline, size)
    space = np.clip(lung - kept, 0, 1)
    out = canvas.outward(side)
    x, y = grid(size)
    if not canvas.lateral:
        space = space * np.clip((out * (x - hilum[0]) + 0.0) / 0.02, 0, 1)
    space = space.astype(np.float32)
    canvas.depth -= canvas.vessels * space
    canvas.vessels *= 1 - space
    canvas.aerate(0.10 * space)
    edge = strokes([outline], 0.005, size, closed=True) * soften(lung, 0.002)
    if not canvas.lateral:
        edge = edge * np.clip((out * (x - hilum[0])) / 0.02, 0, 1)
    canvas.add((edge * (y < canvas.level(side, 0.97))).astype(np.float32), 0.24)
    if depth > 0.05:
        canvas.opacify(0.10 * kept * min(depth / 0.1, 1.5))
    if draw.options.get("fluid"):
        space = np.maximum(space, _fluid(canvas, side, 0.16, flat=True))
    return [space]


def loculated(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Fluid kept at the wall or in the minor fissure. options: depth, fissure."""
    rng, size = draw.rng, canvas.size
    side = next(sides_of(draw.finding.side))
    if draw.options.get("fissure"):
        x, y = canvas.points[f"hilum_{side}"]
        out = canvas.outward(side) if not canvas.lateral else -1
        body = ellipse((x + out * 0.12, y + 0.045), (0.085, 0.034), size, 0.05, 0.4)
    else:
        level = canvas.level(side, 0.25 if draw.finding.location == "apical" else rng.uniform(0.5, 0.7))
        distance = _lateral_distance(canvas, side)
        _, row = grid(size)
        bulge = (
            draw.options["depth"]
            * draw.scale
            * rng.uniform(0.9, 1.3)
            * np.clip(1 - ((row - level) / 0.13) ** 2, 0, None) ** 0.5
        )
        body = soften(
            (np.clip((bulge - distance) / 0.01, 0, 1) * canvas.lungs[side]).astype(np.float32), 0.003
        )
    return [canvas.opacify(0.85 * body) * 2.2]


def pleural_mass(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Lens-shaped mass on the wall. options.radius."""
    side = next(sides_of(draw.finding.side))
    spot = canvas.spot(side, None, draw.rng, (0.95, 1.0))
    body = ellipse(
        spot, (0.8 * draw.options["radius"], draw.options["radius"]), canvas.size, 0, 0.4
    ) * soften(canvas.lungs[side], 0.002)
    return [canvas.add(body, 0.5 * AIR_DEPTH)]
