"""Tubes, catheters and pacemakers along their usual courses."""

from __future__ import annotations

import numpy as np

from benchmark.twins.anatomy.canvas import Canvas, sides_of
from benchmark.twins.findings.base import Draw
from benchmark.twins.geometry import disc, fill, ring, smooth, soften, strokes


def _by(x: float, y: float) -> np.ndarray:
    """An offset."""
    return np.array((x, y), np.float32)


def _tube(curve: np.ndarray, width: float, size: int) -> np.ndarray:
    """Walls brighter than the lumen."""
    return strokes([curve], width, size) - 0.5 * strokes([curve], 0.45 * width, size)


def pacemaker(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Generator under the clavicle and its leads. options: leads (targets), coil, small, large, low."""
    o, rng, size = draw.options, draw.rng, canvas.size
    side = next(sides_of(draw.finding.side))
    out = canvas.outward(side)
    vx, vy = canvas.points[f"vein_{side}"]
    scale = 1.25 if o.get("large") else 0.85 if o.get("small") else 1.0
    spot = (vx + out * 0.055, vy + 0.11) if not canvas.lateral else (0.2, 0.27)
    if o.get("low"):
        spot = (spot[0], spot[1] + 0.05)
    spot = (spot[0] + rng.normal(0, 0.012), spot[1] + rng.normal(0, 0.012))
    rx, ry = (0.048 * scale, 0.042 * scale) if not canvas.lateral else (0.014, 0.045 * scale)
    t = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    box = np.stack(
        [
            spot[0] + rx * np.sign(np.cos(t)) * abs(np.cos(t)) ** 0.6,
            spot[1] + ry * np.sign(np.sin(t)) * abs(np.sin(t)) ** 0.6,
        ],
        axis=1,
    )
    can = soften(fill(box, size), 0.001)
    inner = fill(np.array(spot) + 0.6 * (box - np.array(spot)) + np.array([0, 0.006]), size)
    canvas.add(can, 1.05)
    canvas.add(inner, 0.6)
    leads, coils = [], []
    for target in o["leads"]:
        if target == "neck":
            path = [spot, (vx, vy), canvas.points[f"neck_{side}"]]
        else:
            tip = canvas.points[target]
            tip = (tip[0] + rng.normal(0, 0.008), tip[1] + rng.normal(0, 0.008))
            svc, atrium = canvas.points["svc"], canvas.points["atrium"]
            path = [spot, (vx, vy), canvas.points["svc_top"], svc]
            path += (
                [(atrium[0] - 0.005, atrium[1] - 0.03), (atrium[0] + 0.02, atrium[1] + 0.07), tip]
                if target == "ventricle"
                else [
                    (svc[0] + 0.0, atrium[1]),
                    (tip[0] + 0.03, tip[1] + 0.005),
                    (tip[0] + 0.028, tip[1] - 0.035),
                ]
            )
        curve = smooth(path)
        leads.append(curve)
        if o.get("coil"):
            coils.append(curve[-18:-3])
    lines = strokes(leads, 0.0058, size)
    if coils:
        lines = np.maximum(lines, strokes(coils, 0.014, size))
    canvas.add(lines, 0.85)
    return [np.maximum(can, lines)]


def tube(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """options: course (trachea, tracheostomy, stomach, gastrostomy, shunt, nephrostomy, ureter), width."""
    o, rng, size = draw.options, draw.rng, canvas.size
    course = o["course"]
    carina = np.array(canvas.points["carina"])
    side = next(sides_of(draw.finding.side))
    out = canvas.outward(side) if not canvas.lateral else -0.5
    gas = np.array(canvas.points["stomach"])
    extra = None
    if course == "trachea":
        trachea = canvas.curves["trachea"]
        stop = carina[1] - rng.uniform(0.02, 0.1)
        curve = trachea[trachea[:, 1] < stop]
    elif course == "tracheostomy":
        x = canvas.curves["trachea"][len(canvas.curves["trachea"]) // 3][0]
        curve = smooth([(x + 0.002, 0.085), (x, 0.13), (x + 0.001, 0.215)])
        extra = strokes([np.array([(x - 0.055, 0.082), (x + 0.055, 0.082)])], 0.014, size)
    elif course == "stomach":
        cardia = np.array(canvas.points["cardia"])
        x = 0.5 + 0.012 if not canvas.lateral else 0.56
        curve = smooth(
            [
                (x, 0.0),
                (x + 0.004, 0.2),
                (x + 0.002, 0.45),
                cardia - _by(0.01, 0.05),
                cardia + _by(0.01, 0.02),
                0.5 * (cardia + gas) + _by(0.0, 0.03),
                gas + _by(0.0, 0.015),
            ]
        )
    elif course == "gastrostomy":
        curve = smooth(
            [gas + _by(0.0, 0.01), gas + _by(0.03, 0.05), gas + _by(0.09, 0.09), gas + _by(0.1, 0.2)]
        )
        extra = ring((float(gas[0]), float(gas[1])), 0.018, 0.008, size)
    elif course == "shunt":
        neck = np.array(canvas.points[f"neck_{side}"])
        curve = smooth(
            [
                neck + _by(out * 0.01, -0.03),
                neck + _by(out * 0.05, 0.16),
                (0.5 + out * 0.14, 0.45),
                (0.5 + out * 0.12, 0.75),
                (0.5 + out * 0.08, 1.02),
            ]
        )
    elif course == "nephrostomy":
        a = np.array([0.5 + out * 0.17, 0.93])
        curve = smooth(
            [
                a + _by(out * 0.3, 0.05),
                a + _by(out * 0.12, 0.01),
                a,
                a + _by(-out * 0.02, 0.02),
                a + _by(0.0, 0.035),
            ]
        )
    else:
        a = np.array([0.5 + out * 0.14, 0.9])
        curve = smooth(
            [
                a + _by(out * 0.02, 0.015),
                a + _by(0.0, -0.008),
                a + _by(-out * 0.02, 0.01),
                a + _by(-out * 0.03, 0.06),
                a + _by(-out * 0.04, 0.14),
            ]
        )
    mask = _tube(np.asarray(curve), o["width"], size)
    if course == "trachea":
        stripe = strokes([np.asarray(curve) + np.array([0.004, 0])], 0.0042, size)
        mask = np.maximum(0.55 * mask, stripe)
    elif course == "stomach":
        tip = strokes([np.asarray(curve)[-8:]], 0.012, size)
        mask = np.maximum(mask, tip)
    if extra is not None:
        mask = np.maximum(mask, extra)
    canvas.add(mask, 0.58)
    return [soften(np.clip(mask, 0, 1), 0.003) * 2]


def catheter(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Central line to the superior vena cava. options: from (neck, vein, below), thin, loose."""
    o, rng, size = draw.options, draw.rng, canvas.size
    side = next(sides_of(draw.finding.side))
    out = canvas.outward(side)
    top, svc = np.array(canvas.points["svc_top"]), np.array(canvas.points["svc"])
    tip = svc + _by(rng.normal(0, 0.004), rng.uniform(-0.03, 0.05))
    cross = [(0.5 + out * 0.05, 0.235)] if side == "left" and not canvas.lateral else []
    if o["from"] == "neck":
        neck = np.array(canvas.points[f"neck_{side}"])
        path = [
            neck + _by(out * 0.03, -0.03),
            neck + _by(0.0, 0.07),
            neck + _by(-out * 0.01, 0.15),
            *cross,
            top,
            tip,
        ]
    elif o["from"] == "vein":
        v = np.array(canvas.points[f"vein_{side}"])
        path = [
            v + _by(out * 0.13, 0.085),
            v + _by(out * 0.08, 0.015),
            v + _by(out * 0.0, -0.004),
            v + _by(-out * 0.08, 0.035),
            *cross,
            top,
            tip,
        ]
    else:
        atrium = np.array(canvas.points["atrium"])
        path = [(0.5 - 0.01, 1.02), (0.5 - 0.02, 0.88), atrium + _by(0.012, 0.12), atrium]
    if o.get("loose"):
        path = path[2:]
    curve = smooth([np.asarray(p, np.float32) for p in path])
    mask = strokes([curve], 0.0052 if o.get("thin") else 0.0068, size)
    canvas.add(mask, 0.62)
    return [mask * 2]


def port(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Reservoir under the skin with its catheter."""
    size, rng = canvas.size, draw.rng
    side = next(sides_of(draw.finding.side))
    out = canvas.outward(side)
    v = np.array(canvas.points[f"vein_{side}"])
    spot = v + _by(out * 0.03, 0.13) + rng.normal(0, 0.01, 2) if not canvas.lateral else np.array([0.2, 0.28])
    body = 0.55 * disc((float(spot[0]), float(spot[1])), 0.025, size) + 0.45 * ring(
        (float(spot[0]), float(spot[1])), 0.024, 0.009, size
    )
    cross = [np.array([0.5 + out * 0.05, 0.235])] if side == "left" and not canvas.lateral else []
    curve = smooth(
        [
            spot,
            v + _by(out * 0.03, 0.02),
            v + _by(-out * 0.07, 0.03),
            *cross,
            canvas.points["svc_top"],
            canvas.points["svc"],
        ]
    )
    line = strokes([curve], 0.0065, size)
    canvas.add(body, 1.0)
    canvas.add(line, 0.6)
    return [np.maximum(body * 1.5, line)]


def drain(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Chest tube from the lateral wall to the apex, with its side hole."""
    rng, size = draw.rng, canvas.size
    side = next(sides_of(draw.finding.side))
    out = canvas.outward(side)
    wall = np.array(canvas.points[f"angle_{side}"])
    apex = np.array(canvas.points[f"apex_{side}"])
    enter = wall + _by(out * 0.06, -0.12) if not canvas.lateral else wall + _by(0.12, -0.2)
    middle = 0.5 * (enter + apex) + _by(out * 0.05 if not canvas.lateral else 0.06, 0.0)
    curve = smooth(
        [enter + _by(out * 0.1, 0.05), enter, middle, apex + _by(out * 0.02, 0.09), apex + _by(0.0, 0.06)]
    )
    gap = int(len(curve) * rng.uniform(0.45, 0.6))
    walls = 0.45 * strokes([curve], 0.014, size)
    stripe = strokes([curve[:gap], curve[gap + 2 :]], 0.0055, size)
    mask = np.maximum(walls, stripe)
    canvas.add(mask, 0.78)
    return [soften(mask, 0.003) * 2.5]
