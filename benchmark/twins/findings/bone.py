"""Fractures, callus, degeneration and lesions of bone."""

from __future__ import annotations

import numpy as np

from benchmark.twins.anatomy.canvas import Canvas, sides_of
from benchmark.twins.findings.base import Draw
from benchmark.twins.geometry import blob, disc, ellipse, fill, smooth, soften, strokes, texture


def _rib_point(
    canvas: Canvas, side: str, rng: np.random.Generator, low: float = 0.45, high: float = 0.85
) -> tuple[np.ndarray, np.ndarray]:
    """A point on a rib between the spine (0) and the lateral wall (1), and the direction of the rib there."""
    rib = canvas.ribs[side][int(rng.integers(3, 8))]
    i = int(rng.uniform(low, high) * (len(rib) - 2))
    d = rib[i + 1] - rib[i]
    return rib[i], d / (np.hypot(*d) + 1e-6)


def fracture(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Dark gap across a bone and a step of its outline. options: bone (rib, clavicle, humerus), count."""
    rng, size, bone = draw.rng, canvas.size, draw.options["bone"]
    masks = []
    for side in sides_of(draw.finding.side):
        for _ in range(draw.options.get("count", 2 if bone == "rib" else 1)):
            if bone == "rib":
                at, along = _rib_point(canvas, side, rng)
                width, gain = 0.024 * draw.scale, 0.24
            elif bone == "clavicle":
                curve = canvas.curves[f"clavicle_{side}"]
                i = int(rng.uniform(0.4, 0.65) * (len(curve) - 2))
                at, along, width, gain = curve[i], curve[i + 1] - curve[i], 0.028, 0.3
            else:
                head = np.array(canvas.points[f"humerus_{side}"])
                at, along, width, gain = (
                    head + np.array([canvas.outward(side) * 0.02, 0.07]),
                    np.array([0.25, 1.0]),
                    0.05,
                    0.4,
                )
            along = along / (np.hypot(*along) + 1e-6)
            across = np.array([-along[1], along[0]])
            slope = across + 0.35 * along * rng.normal()
            gap = strokes([np.array([at - 0.6 * width * slope, at + 0.6 * width * slope])], 0.008, size)
            step = at + along * 0.016 + across * 0.4 * width * draw.strength
            piece = strokes([np.array([step, step + along * 0.045 * draw.scale])], 0.7 * width, size)
            canvas.depth -= np.float32(gain * 1.15) * soften(gap, 0.0015)
            canvas.add(soften(piece, 0.002), 0.75 * gain)
            masks.append(np.clip(1.5 * soften(np.maximum(gap, piece), 0.008), 0, 1))
    return masks


def callus(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Spindle-shaped thickening of a rib."""
    rng, size = draw.rng, canvas.size
    masks = []
    for side in sides_of(draw.finding.side):
        for _ in range(draw.options["count"]):
            at, along = _rib_point(canvas, side, rng)
            angle = float(np.arctan2(along[1], along[0]))
            body = ellipse((float(at[0]), float(at[1])), (0.04, 0.024), size, angle, 0.6)
            masks.append(canvas.add(body, 0.62) * 1.5)
    return masks


def osteophytes(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Beaks at the edges of vertebral bodies and dense end plates. options: count, flowing (bridges)."""
    rng, size = draw.rng, canvas.size
    centres = canvas.curves["spine"]
    half = 0.036 if not canvas.lateral else 0.04
    first = int(rng.integers(5, 8))
    flowing = draw.options.get("flowing")
    spurs = np.zeros((size, size), np.float32)
    plates = []
    for k in range(draw.options["count"]):
        i = min(first + k, len(centres) - 2)
        x, y = 0.5 * (centres[i] + centres[i + 1])
        for edge in (-0.0075, 0.0075):
            plates.append(
                smooth([(x - half, y + 1.25 * edge), (x, y + 0.8 * edge), (x + half, y + 1.25 * edge)])
            )
        for sign in (-1,) if canvas.lateral else (-1, 1):
            reach = (0.020 if flowing else 0.017) * rng.uniform(0.55, 1.35)
            for edge in (-1, 1):  # a beak grows from each end plate over the disc
                root = (x + sign * (half - 0.010), y + edge * 0.026)
                tip = (x + sign * (half + reach), y + edge * rng.uniform(0.001, 0.005))
                inside = (x + sign * (half - 0.010), y + edge * 0.006)
                beak = smooth([root, (x + sign * half, y + edge * 0.016), tip, inside], closed=True, steps=4)
                spurs = np.maximum(spurs, fill(beak, size))
    gain = 0.7 + 0.35 * draw.strength
    if flowing:
        top, low = centres[first], centres[min(first + draw.options["count"], len(centres) - 1)]
        offset = np.array([-(half + 0.012) if canvas.lateral else -(half + 0.010), 0])
        wave = [
            top + (low - top) * t + offset + np.array([0.004 * (-1) ** j, 0])
            for j, t in enumerate(np.linspace(0, 1, 2 * draw.options["count"]))
        ]
        spurs = np.maximum(spurs, strokes([smooth(wave)], 0.013, size))
    mask = np.maximum(soften(spurs, 0.003), 0.55 * soften(strokes(plates, 0.006, size), 0.0015))
    canvas.add(mask, 0.27 * gain)
    return [np.clip(1.6 * soften(mask, 0.008), 0, 1)]


def wedge(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """A vertebra that lost height, in front or as a whole. options: loss, whole, line."""
    rng, size = draw.rng, canvas.size
    centres = canvas.curves["spine"]
    i = int(rng.integers(7, 11))
    x, y = centres[min(i, len(centres) - 2)]
    loss = min(draw.options["loss"] * (0.8 + 0.4 * draw.strength), 0.75)
    half_w, half_h = (0.042, 0.031) if canvas.lateral else (0.04, 0.027)
    whole = draw.options.get("whole")
    front = half_h * (1 - loss)
    back = front if whole else half_h
    left, right = (front, back) if canvas.lateral else (front * 1.1, front)
    sag = 0.75 * min(left, right)  # crushed end plates are hollow
    body = np.concatenate(
        [
            smooth([(x - half_w, y - left), (x, y - sag), (x + half_w, y - right)]),
            smooth([(x + half_w, y + right), (x, y + sag), (x - half_w, y + left)]),
        ]
    )
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    old = fill(np.array([x, y]) + corners * (half_w, 1.15 * half_h), size)
    new = fill(body, size)
    plates = np.split(body, 2)
    rim = strokes(plates, 0.008, size) + 0.4 * strokes([np.concatenate([body, body[:1]])], 0.005, size)
    gap = soften(np.clip(old - new, 0, 1), 0.004)
    canvas.depth += 0.14 * soften(new, 0.003) - 0.24 * gap + 0.19 * soften(rim, 0.002)
    if draw.options.get("line"):
        canvas.add(
            strokes(
                [np.array([(x - half_w, y + 0.004), (x, y - 0.006), (x + half_w, y + 0.003)])], 0.006, size
            ),
            0.3,
        )
    return [old]


def bone_density(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Draws nothing: loss of calcium is in the shape. Region: the spine."""
    return [canvas.masks["spine"]]


def bone_lesion(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """options: kind (sclerotic: small and dense, blastic: cloudy, lytic: a hole), count, at."""
    rng, size, kind = draw.rng, canvas.size, draw.options["kind"]
    masks = []
    sides = list(sides_of(draw.finding.side))
    for i in range(draw.options.get("count", 1)):
        side = sides[i % len(sides)]
        place = draw.options.get("at", draw.finding.location)
        if place == "humerus" and not canvas.lateral:
            at = np.array(canvas.points[f"humerus_{side}"]) + rng.normal(0, 0.008, 2)
        elif place == "subacromial" and not canvas.lateral:
            head = np.array(canvas.points[f"humerus_{side}"])
            line = strokes(
                [smooth(head + np.array([(-0.035, -0.04), (0, -0.055), (0.035, -0.042)]))], 0.012, size
            )
            return [canvas.add(soften(line, 0.0015), 0.55)]
        elif place == "spine" or (draw.options.get("count", 1) > 1 and i % 3 == 2):
            at = canvas.curves["spine"][int(rng.integers(4, 11))] + rng.normal(0, 0.008, 2)
        else:
            at, _ = _rib_point(canvas, side, rng, 0.3, 0.9)
        r = {"sclerotic": 0.014, "blastic": 0.022, "lytic": 0.024}[kind] * rng.uniform(0.85, 1.25)
        body = soften(fill(blob((float(at[0]), float(at[1])), (1.3 * r, r), rng, 0.2), size), 0.0025)
        if kind == "lytic":
            canvas.depth -= np.float32(0.30) * body
        else:
            cloud = 1 if kind == "sclerotic" else (1 + 0.35 * texture(size, 0.006, rng)).clip(0.3, 1.6)
            canvas.add((body * cloud).astype(np.float32), 0.62 if kind == "sclerotic" else 0.5)
        masks.append(body * 1.3)
    return masks


def cervical_rib(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Short extra rib above the first one."""
    masks = []
    for side in sides_of(draw.finding.side):
        out = canvas.outward(side)
        curve = smooth([(0.5 + out * 0.03, 0.055), (0.5 + out * 0.075, 0.052), (0.5 + out * 0.12, 0.085)])
        body = strokes([curve], 0.018, canvas.size) - 0.4 * strokes([curve], 0.008, canvas.size)
        masks.append(canvas.add(soften(body.astype(np.float32), 0.0015), 0.42) * 1.4)
    return masks


def cement(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Very dense irregular filling of one or two vertebral bodies."""
    rng, size = draw.rng, canvas.size
    masks = []
    i = int(rng.integers(8, 11))
    for k in range(int(rng.integers(1, 3))):
        x, y = canvas.curves["spine"][min(i + k, len(canvas.curves["spine"]) - 2)]
        body = soften(fill(blob((float(x), float(y)), (0.028, 0.018), rng, 0.35), size), 0.001)
        masks.append(canvas.add(body, 1.3))
    return masks


def costochondral(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Dense knobs at joints. options.at: first rib (default), sternoclavicular, shoulder."""
    rng, size, at = draw.rng, canvas.size, draw.options.get("at", "first rib")
    masks = []
    for side in sides_of(draw.finding.side):
        out = canvas.outward(side)
        if at == "shoulder":
            x, y = canvas.points[f"humerus_{side}"]
            spur = strokes(
                [smooth([(x - out * 0.045, y - 0.03), (x - out * 0.05, y), (x - out * 0.042, y + 0.04)])],
                0.014,
                size,
            )
            spur = np.maximum(spur, disc((x - out * 0.035, y + 0.05), 0.014, size))
            masks.append(canvas.add(soften(spur, 0.002), 0.6))
            continue
        spot = (0.5 + out * 0.048, 0.215) if at == "sternoclavicular" else (0.5 + out * 0.115, 0.27)
        if canvas.lateral:
            spot = (0.31, 0.22)
        body = fill(blob(spot, (0.03, 0.022), rng, 0.3), size) * (0.7 + 0.3 * (texture(size, 0.005, rng) > 0))
        masks.append(canvas.add(soften(body.astype(np.float32), 0.002), 0.5) * 1.3)
        if canvas.lateral:
            break
    return masks
