"""Metal that stays: wires, clips, staples, valves, stents, plates, prostheses, foreign bodies."""

from __future__ import annotations

import numpy as np

from benchmark.twins.anatomy.canvas import Canvas, sides_of
from benchmark.twins.findings.base import Draw
from benchmark.twins.geometry import bounding_box, disc, fill, ring, soften, strokes

METAL = 2.2


def _region(mask: np.ndarray) -> np.ndarray:
    """Box around scattered pieces as one region."""
    box = bounding_box(mask > 0.2)
    out = np.zeros_like(mask)
    if box:
        x, y, w, h = (int(v) for v in box)
        out[y : y + h, x : x + w] = 1
    return out


def wires(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Sternotomy: six twisted loops in the midline."""
    rng, size = draw.rng, canvas.size
    (x0, y0), (x1, y1) = canvas.points["sternum_top"], canvas.points["sternum_bottom"]
    loops = []
    for k in range(6):
        u = k / 5
        x, y = x0 + u * (x1 - x0) + rng.normal(0, 0.003), y0 + 0.02 + u * 0.92 * (y1 - y0)
        a = np.linspace(0.5, 2 * np.pi - 0.1, 14)
        rx = 0.008 if canvas.lateral else 0.021
        loops.append(np.stack([x + rx * np.sin(a), y + 0.013 * np.cos(a)], axis=1))
        loops.append(np.array([(x, y - 0.013), (x + 0.006, y - 0.024)]))
    lines = strokes(loops, 0.0045, size)
    canvas.add(lines, 1.05)
    return [_region(lines)]


def clips(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Short bright dashes. options: where (mediastinum, heart, neck, breast, abdomen), count."""
    o, rng, size = draw.options, draw.rng, canvas.size
    side = next(sides_of(draw.finding.side))
    centre, spread = {
        "mediastinum": (canvas.points["svc_top"], (0.045, 0.07)),
        "heart": (canvas.points["heart"], (0.05, 0.07)),
        "neck": ((0.5 if not canvas.lateral else 0.45, 0.075), (0.045, 0.03)),
        "breast": (canvas.points[f"breast_{side}"], (0.05, 0.05)),
        "abdomen": (
            (canvas.points["dome_right"][0] + 0.06, canvas.points["dome_right"][1] + 0.17),
            (0.03, 0.025),
        ),
    }[o["where"]]
    dashes = []
    for _ in range(o["count"]):
        at = np.array(centre) + rng.normal(0, 1, 2).clip(-1.7, 1.7) * spread
        a = rng.uniform(0, np.pi)
        d = 0.0085 * np.array([np.cos(a), np.sin(a)])
        dashes.append(np.array([at - d, at + d]))
    lines = strokes(dashes, 0.0055, size)
    canvas.add(lines, METAL * 0.75)
    return [_region(lines)]


def staples(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Line of fine staples in the lung."""
    rng, size = draw.rng, canvas.size
    side = next(sides_of(draw.finding.side))
    at = np.array(canvas.spot(side, "upper lobe", rng, (0.3, 0.6)))
    a = rng.uniform(-0.8, 0.8)
    d = np.array([np.cos(a), np.sin(a)])
    dots = [np.array([at + d * t, at + d * (t + 0.005)]) for t in np.arange(-0.06, 0.06, 0.0125)]
    lines = strokes(dots, 0.006, size)
    scar = soften(strokes([np.array([at - 0.07 * d, at + 0.07 * d])], 0.01, size), 0.003)
    canvas.add(lines, 0.9)
    canvas.add(scar, 0.2)
    return [_region(lines)]


def stent(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Tube of metal mesh. options.where: aorta or airway."""
    size = canvas.size
    if draw.options["where"] == "aorta":
        x, y = canvas.points["arch"]
        path, width = [(x, y + 0.02 + 0.05 * k) for k in range(6)], 0.032
        path = [(px - 0.004 * k, py) for k, (px, py) in enumerate(path)]
    else:
        trachea = canvas.curves["trachea"]
        path, width = [tuple(p) for p in trachea[len(trachea) // 2 :: 4]], 0.017
    curves = []
    for k, (px, py) in enumerate(path):
        nx, ny = path[min(k + 1, len(path) - 1)]
        for steps in (0.0, 0.5):
            cx, cy = px + steps * (nx - px), py + steps * (ny - py)
            curves.append(np.array([(cx - width, cy - 0.008), (cx, cy + 0.008), (cx + width, cy - 0.008)]))
    curves += [np.array([(px + s * width, py) for px, py in path]) for s in (-1, 1)]
    lines = strokes(curves, 0.0042, size)
    canvas.add(lines, 0.8)
    return [_region(lines)]


def valve(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Ring of a prosthetic valve with its struts. options: which, radius."""
    rng, size = draw.rng, canvas.size
    x, y = canvas.points[draw.options["which"]]
    r = draw.options["radius"]
    circle = ring((x, y), r, 0.0085, size, squash=rng.uniform(1.4, 2.2))
    struts = strokes(
        [
            np.array([(x - 0.5 * r, y + 0.3 * r), (x - 0.4 * r, y - 0.8 * r)]),
            np.array([(x + 0.5 * r, y + 0.3 * r), (x + 0.4 * r, y - 0.8 * r)]),
        ],
        0.005,
        size,
    )
    lines = np.maximum(circle, struts)
    canvas.add(lines, METAL * 0.7)
    return [_region(lines)]


def foreign_body(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """options: metal (fragments over the chest wall), count; otherwise one coin, needle or nail shape."""
    o, rng, size = draw.options, draw.rng, canvas.size
    body = np.zeros((size, size), np.float32)
    if o.get("metal"):
        for _ in range(o["count"]):
            spot = (rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.85))
            body = np.maximum(body, fill(np.array(spot) + rng.normal(0, 0.011, (5, 2)), size))
        canvas.add(body, METAL)
        return [soften(body, 0.008) * 3]
    x, y = 0.5 + rng.normal(0, 0.04), rng.uniform(0.3, 0.8)
    kind = rng.integers(3)
    if kind == 0:
        body = disc((x, y), 0.03, size)
    elif kind == 1:
        body = strokes([np.array([(x, y), (x + 0.09, y + 0.07)])], 0.007, size)
    else:
        body = np.maximum(
            ring((x, y), 0.028, 0.008, size),
            strokes([np.array([(x + 0.028, y), (x + 0.1, y + 0.01)])], 0.008, size),
        )
    canvas.add(body, METAL)
    return [soften(body, 0.006) * 2]


def electrodes(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Monitoring patches on the skin with their wires."""
    rng, size = draw.rng, canvas.size
    spots = [(0.24, 0.24), (0.76, 0.24), (0.72, 0.78), (0.3, 0.8)]
    body = np.zeros((size, size), np.float32)
    cables = []
    for x, y in spots[: int(rng.integers(3, 5))]:
        x, y = x + rng.normal(0, 0.02), y + rng.normal(0, 0.02)
        body = np.maximum(body, disc((x, y), 0.014, size))
        end = (0.5 + rng.normal(0, 0.2), 1.02)
        cables.append(np.array([(x, y), (0.5 * (x + end[0]) + rng.normal(0, 0.05), 0.5 * (y + 1)), end]))
    from benchmark.twins.geometry import smooth

    wire = strokes([smooth(c) for c in cables], 0.005, size)
    canvas.add(np.maximum(body, 0.6 * wire), 0.85)
    return [np.maximum(soften(body, 0.004) * 2, wire)]


def plate_screws(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Fixation hardware. options.where: spine (rods and pedicle screws) or humerus (plate)."""
    rng, size = draw.rng, canvas.size
    if draw.options["where"] == "spine":
        centres = canvas.curves["spine"]
        first = int(rng.integers(5, 9))
        part = centres[first : first + 5]
        gap = 0.018
        rods = [part + np.array([s * gap, 0]) for s in (-1, 1)]
        screws = []
        for x, y in part[::2]:
            for s in (-1, 1):
                screws.append(np.array([(x + s * gap * 1.5, y - 0.003), (x + s * 0.004, y + 0.008)]))
        lines = np.maximum(strokes(rods, 0.009, size), strokes(screws, 0.009, size))
    else:
        side = next(sides_of(draw.finding.side))
        x, y = canvas.points[f"humerus_{side}"]
        out = canvas.outward(side)
        lines = strokes([np.array([(x + out * 0.035, y - 0.01), (x + out * 0.07, y + 0.2)])], 0.014, size)
        pins = [
            np.array(
                [
                    (x + out * (0.035 + 0.01 * k), y + 0.05 * k),
                    (x - out * 0.015 + out * 0.01 * k, y + 0.05 * k),
                ]
            )
            for k in range(4)
        ]
        lines = np.maximum(lines, strokes(pins, 0.006, size))
    canvas.add(lines, METAL)
    return [soften(lines, 0.005) * 2]


def joint_prosthesis(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Metal head and stem of a shoulder."""
    side = next(sides_of(draw.finding.side))
    if canvas.lateral:
        return []
    x, y = canvas.points[f"humerus_{side}"]
    out = canvas.outward(side)
    body = np.maximum(
        disc((x, y), 0.042, canvas.size),
        strokes([np.array([(x + out * 0.01, y), (x + out * 0.05, y + 0.19)])], 0.02, canvas.size),
    )
    canvas.add(body, METAL)
    return [body]
