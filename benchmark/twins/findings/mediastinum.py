"""Masses, nodes, calcium and air around the heart; masks of organs that a reshaper changed."""

from __future__ import annotations

import numpy as np

from benchmark.twins.anatomy.canvas import AIR_DEPTH, Canvas, sides_of
from benchmark.twins.findings.base import Draw
from benchmark.twins.geometry import blob, ellipse, fill, grid, smooth, soften, strokes, texture


def structure(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Draws nothing: the region of a finding that is a shape. options: name, top (lowest y)."""
    name = draw.options["name"]
    if name == "hilum":
        return [canvas.masks[f"hilum_{side}"] for side in sides_of(draw.finding.side or "bilateral")]
    if name == "lungs":
        return [np.maximum(canvas.lungs["right"], canvas.lungs["left"])]
    if name == "dome":
        spots = [canvas.points[f"dome_{side}"] for side in sides_of(draw.finding.side or "bilateral")]
        return [ellipse(spot, (0.15, 0.09), canvas.size) for spot in spots]
    if name not in canvas.masks:
        return []
    mask = canvas.masks[name]
    if "top" in draw.options:
        _, y = grid(canvas.size)
        mask = mask * (y < draw.options["top"])
    return [mask]


def mass_shadow(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """A mass. options: where (lung, mediastinum, esophagus), radius, density."""
    o, rng, size = draw.options, draw.rng, canvas.size
    side = next(sides_of(draw.finding.side))
    out = canvas.outward(side) if not canvas.lateral else 0
    r = min(o["radius"] * (0.8 + 0.25 * draw.strength) * draw.scale * rng.uniform(0.85, 1.2), 0.19)
    if o["where"] == "lung":
        spot = canvas.spot(side, draw.finding.location, rng, (0.3, 0.7))
    elif o["where"] == "mediastinum":
        spot = (0.5 + out * 0.06 - (0.1 if canvas.lateral else 0), 0.31 + rng.uniform(-0.03, 0.05))
    else:
        spot = (0.6, 0.58) if canvas.lateral else (0.5 - 0.035, 0.6)
        body = soften(
            fill(
                smooth(
                    [
                        (spot[0] - r, 0.45),
                        (spot[0] - 1.2 * r, 0.6),
                        (spot[0] - 0.8 * r, 0.72),
                        (spot[0] + r, 0.72),
                        (spot[0] + r, 0.45),
                    ],
                    closed=True,
                ),
                size,
            ),
            0.01,
        )
        # Its right border against the lung is what is seen; inwards it passes into the mediastinum.
        x, y = grid(size)
        fade = np.clip((spot[0] + 1.2 * r - x) / (1.6 * r), 0, 1) * np.clip((y - 0.42) / 0.12, 0, 1)
        canvas.add((body * fade).astype(np.float32), 0.42 * o["density"])
        return [body]
    body = soften(fill(blob(spot, (r, r * rng.uniform(0.85, 1.1)), rng, 0.13), size), 0.07 * r)
    round_ = 0.35 + 0.65 * ellipse(spot, (1.25 * r, 1.25 * r), size)
    canvas.add(body * round_, 0.48 * o["density"] * AIR_DEPTH * (0.75 if canvas.lateral else 1))
    return [body]


def hernia(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Stomach above the diaphragm behind the heart, with gas and often a fluid level."""
    rng, size = draw.rng, canvas.size
    x, y = canvas.points["cardia"]
    r = draw.options["radius"] * (0.75 + 0.35 * draw.strength) * draw.scale * rng.uniform(0.9, 1.15)
    spot = (x + rng.uniform(-0.01, 0.025), y - 0.85 * r - 0.02)
    body = ellipse(spot, (1.15 * r, r), size, 0, 0.3)
    gas = ellipse((spot[0], spot[1] - 0.1 * r), (0.85 * r, 0.72 * r), size, 0, 0.3)
    if rng.random() < 0.8:
        _, rows = grid(size)
        gas = gas * np.clip((spot[1] + 0.15 * r - rows) * size, 0, 1)
    canvas.add(body, 0.38)
    canvas.aerate(0.40 * gas.astype(np.float32))
    return [body * 2]


def goiter(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Thyroid mass at the thoracic inlet that displaces the trachea."""
    side = next(sides_of(draw.finding.side))
    out = canvas.outward(side) if not canvas.lateral else 0
    # displacement pulls towards the finding's side, so the mass lies on the other one
    spot = (0.5 - out * 0.062, 0.11)
    body = ellipse(spot, (0.062, 0.105), canvas.size, 0, 0.5)
    return [canvas.add(body, 0.55) * 1.6]


def adenopathy(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Lobulated nodes at the hilum or beside the trachea. options: calcified, place."""
    rng, size = draw.rng, canvas.size
    place = draw.options.get("place", draw.finding.location)
    calcified = draw.options.get("calcified")
    masks = []
    for side in sides_of(draw.finding.side):
        out = canvas.outward(side) if not canvas.lateral else 1
        x, y = canvas.points[f"hilum_{side}"]
        if place == "paratracheal":
            cx, cy = canvas.points["carina"]
            x, y = cx + out * 0.05, cy - 0.08
        body = np.zeros((size, size), np.float32)
        for _ in range(5 if calcified else 4):
            spot = (x + out * 0.022 + rng.normal(0, 0.014), y + rng.normal(0, 0.028))
            r = rng.uniform(0.009, 0.016) if calcified else rng.uniform(0.022, 0.034)
            body = np.maximum(body, fill(blob(spot, (r, r), rng, 0.15), size))
        body = soften(body, 0.0015 if calcified else 0.004)
        if calcified:
            body = body * (0.7 + 0.3 * (texture(size, 0.004, rng) > 0)).astype(np.float32)
        masks.append(canvas.add(body, 0.85 if calcified else 0.5))
        if canvas.lateral:
            break
    return masks


def calcified_arch(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Curved calcium in the wall of the aortic knob."""
    rng, size = draw.rng, canvas.size
    x, y = canvas.points["arch"]
    r = canvas.shape.arch_radius * 0.95
    if canvas.lateral:
        curve = smooth([(x - 0.06, y + 0.02), (x - 0.01, y - 0.02), (x + 0.05, y + 0.01)])
    else:
        sign = -1 if canvas.shape.arch_flip else 1
        a = np.linspace(-1.5, rng.uniform(0.9, 1.6), 14)
        curve = np.stack([x + sign * r * np.cos(a), y + r * np.sin(a)], axis=1)
    line = strokes([curve], 0.0075, size) * (texture(size, 0.008, rng) > -1.2)
    return [canvas.add(soften(line.astype(np.float32), 0.001), 0.5 * (0.7 + 0.45 * draw.strength)) * 1.3]


def calcified_heart(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """C-shaped calcium of a valve ring. options.part: the valve."""
    rng, size = draw.rng, canvas.size
    x, y = canvas.points[draw.options["part"]]
    a = np.linspace(0.4, 4.6, 18) + rng.uniform(0, 1)
    curve = np.stack([x + 0.036 * np.cos(a), y + 0.026 * np.sin(a)], axis=1)
    line = soften(strokes([curve], 0.011, size), 0.001) * (0.6 + 0.4 * (texture(size, 0.005, rng) > 0))
    return [canvas.add(line.astype(np.float32), 0.75)]


def air_lines(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Pneumomediastinum: black streaks along heart and mediastinum and up into the neck."""
    rng, size = draw.rng, canvas.size
    curves = []
    for side, sign in (("right", -1), ("left", 1)):
        x = 0.5 + sign * (canvas.shape.mediastinum + 0.012) if not canvas.lateral else 0.45 + sign * 0.05
        curves.append(smooth([(x + rng.normal(0, 0.003), 0.03 + 0.085 * k) for k in range(7)]))
        hx, hy = canvas.points["heart"]
        if side == "left" and not canvas.lateral:
            curves.append(
                smooth([(0.56, 0.42), (hx + 0.01, hy - 0.12), (hx + 0.055, hy), (hx + 0.06, hy + 0.07)])
            )
    dark = soften(strokes(curves, 0.008, size), 0.0015)
    line = soften(strokes([c + np.array([0.009, 0]) for c in curves], 0.004, size), 0.001)
    canvas.aerate(0.22 * dark)
    canvas.add(line, 0.12)
    return [dark]
