"""Frontal chest: body, lungs, heart, great vessels, airways and bones as layers of attenuation."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from benchmark.twins.anatomy.bones import MIDLINE, draw_bones, spine_x
from benchmark.twins.anatomy.canvas import AIR_DEPTH, Canvas
from benchmark.twins.anatomy.shape import Shape
from benchmark.twins.geometry import disc, ellipse, fill, grid, smooth, soften, strokes, texture


def build_frontal(shape: Shape, size: int, view: Literal["PA", "AP"], rng: np.random.Generator) -> Canvas:
    """Draw a chest without findings other than those that are already in its shape."""
    outlines = {side: _lung_outline(shape, side) for side in ("right", "left")}
    lungs = {side: fill(outline, size) for side, outline in outlines.items()}
    depth = _body(shape, size)
    heart = fill(_heart(shape), size)
    aorta, arch = _aorta(shape, size)
    middle = _mediastinum(shape, size)
    solid = soften(np.maximum(np.maximum(heart, middle), aorta), 0.004)
    air = _air(lungs, shape) * (1 - np.float32(0.93) * solid)
    depth = depth - AIR_DEPTH * air * np.minimum(depth / 2.1, 1.1)
    x, _ = grid(size)
    # Behind the left side of the heart the lung still holds air: the heart is fainter at its left border.
    depth -= 0.16 * heart * soften(lungs["left"], 0.03) * (x > MIDLINE + 0.05)
    depth += np.float32(0.12) * aorta
    vessels = _vessels(shape, size, rng) * np.clip(air * 1.3, 0, 1)
    depth += vessels
    canvas = Canvas(size, view, shape, depth, air, vessels, lungs)
    canvas.masks |= {"heart": heart, "aorta": aorta, "arch": arch, "mediastinum": middle, "solid": solid}
    _hila(canvas)
    _airways(canvas)
    draw_bones(canvas, rng)
    _below(canvas, rng)
    _soft_tissue(canvas)
    canvas.depth *= 1 + np.float32(0.012) * texture(size, 0.012, rng)
    canvas.depth += np.float32(0.018) * canvas.air * texture(size, 0.006, rng)
    _landmarks(canvas, outlines)
    return canvas


def _lung_outline(shape: Shape, side: str) -> np.ndarray:
    """Lung on the image's left for the patient's right; the other is its mirror image with its own dome."""
    w, apex = shape.half_width, shape.apex
    right = side == "right"
    dome = shape.dome_right if right else shape.dome_left
    curve = 0.045 * (shape.dome_curve_right if right else shape.dome_curve_left)
    high = dome - apex
    inner = MIDLINE - 0.035
    points = [
        (inner - 0.07, apex),
        (MIDLINE - 0.58 * w, apex + 0.05 * high),
        (MIDLINE - 0.80 * w, apex + 0.21 * high),
        (MIDLINE - 0.93 * w, apex + 0.46 * high),
        (MIDLINE - 1.0 * w, apex + 0.78 * high),
        (MIDLINE - 1.01 * w, dome + 0.2 * curve),
        (MIDLINE - 0.985 * w, dome + 1.7 * curve),
        (MIDLINE - 0.80 * w, dome + 0.4 * curve),
        (MIDLINE - 0.55 * w, dome - 0.1 * curve),
        (MIDLINE - 0.32 * w, dome + 0.15 * curve),
        (inner - 0.02, dome + 0.9 * curve),
        (inner + 0.01, dome - 0.1),
        (inner + 0.005, apex + 0.5 * high),
        (inner + 0.005, apex + 0.25 * high),
        (inner - 0.01, apex + 0.07 * high),
    ]
    outline = smooth(np.array(points), closed=True, steps=5)
    return outline if right else mirror(outline)


def mirror(points: np.ndarray) -> np.ndarray:
    return np.stack([1 - points[:, 0], points[:, 1]], axis=1)


def _body(shape: Shape, size: int) -> np.ndarray:
    x, y = grid(size)
    y = y[:, 0]
    wide = shape.half_width + 0.075 + 0.09 * shape.fat
    knots = [0, 0.04, 0.085, 0.13, 0.2, 0.32, 0.5, 1.0]
    half = np.interp(y, knots, [0.085, 0.095, 0.19, 0.40, 0.56, 0.50, wide, wide + 0.015])
    thick = np.interp(y, [0, 0.1, 0.25, 0.5, 0.75, 1.0], [1.25, 1.55, 1.95, 2.15, 2.45, 2.65])
    thick = thick * (0.86 + 0.5 * shape.fat)
    inside = 1 - ((x - np.float32(MIDLINE)) / half[:, None].astype(np.float32)) ** 2
    out: np.ndarray = thick[:, None].astype(np.float32) * np.clip(inside, 0, None) ** np.float32(0.32)
    return out


def _air(lungs: dict[str, np.ndarray], shape: Shape) -> np.ndarray:
    air = np.zeros_like(lungs["right"])
    size = air.shape[0]
    for lung in lungs.values():
        inner = cv2.distanceTransform((lung > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
        air += soften(lung, 0.004) * np.clip(inner / (0.11 * size), 0.12, 1) ** 0.4
    return air * np.float32(shape.air)


def _heart(shape: Shape) -> np.ndarray:
    width = 2 * shape.half_width * shape.heart_ratio
    right = 0.36 * width * (1 + 0.3 * shape.heart_round)
    left = width - 0.36 * width
    base = max(shape.dome_right, shape.dome_left) + 0.02
    top = base - 0.30 - 0.25 * (width - 0.3)
    points = [
        (MIDLINE - 0.045, top),
        (MIDLINE - 0.8 * right, top + 0.11),
        (MIDLINE - right, top + 0.20),
        (MIDLINE - 0.9 * right, base - 0.01),
        (MIDLINE - 0.3 * right, base + 0.05),
        (MIDLINE + 0.6 * left, base + 0.045),
        (MIDLINE + 0.95 * left, base - 0.01),
        (MIDLINE + (0.9 + 0.08 * shape.heart_round) * left, base - 0.075),
        (MIDLINE + (0.74 + 0.14 * shape.heart_round) * left, base - 0.165),
        (MIDLINE + (0.47 + 0.15 * shape.heart_round) * left, top + 0.065),
        (MIDLINE + 0.055, top),
    ]
    outline = smooth(np.array(points), closed=True, steps=5)
    if shape.heart_flip:
        outline = mirror(outline)
    return outline + np.array([shape.shift, 0], np.float32)


def _mediastinum(shape: Shape, size: int) -> np.ndarray:
    w, s, up = shape.mediastinum, shape.shift, shape.upper_mediastinum
    points = [
        (MIDLINE - w - 0.3 * up, 0.0),
        (MIDLINE - 1.05 * w - 0.9 * up, 0.17),
        (MIDLINE - 1.2 * w - up + s, 0.27),
        (MIDLINE - 1.35 * w - 0.5 * up + s, 0.40),
        (MIDLINE - 1.2 * w + s, 0.56),
        (MIDLINE - 1.3 * w + s, 0.78),
        (MIDLINE + 1.3 * w + s, 0.78),
        (MIDLINE + 1.1 * w + s, 0.56),
        (MIDLINE + 1.3 * w + 0.5 * up + s, 0.42),
        (MIDLINE + 1.05 * w + up + s, 0.27),
        (MIDLINE + 1.0 * w + 0.9 * up, 0.17),
        (MIDLINE + w + 0.3 * up, 0.0),
    ]
    return fill(smooth(np.array(points), closed=True, steps=5), size)


def _aorta(shape: Shape, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Thoracic aorta with its bulges, and the arch alone."""
    r = shape.arch_radius
    top = 0.305 - shape.arch_height
    cx = MIDLINE + shape.mediastinum + 0.28 * r + 0.5 * shape.shift
    arch = disc((cx, top), r, size)
    down = np.array(
        [
            (cx - 0.1 * r, top),
            (MIDLINE + 0.042 + 0.9 * shape.descending, 0.42),
            (MIDLINE + 0.036 + 1.1 * shape.descending, 0.52),
            (MIDLINE + 0.03 + 0.8 * shape.descending, 0.64),
            (MIDLINE + 0.02, 0.78),
        ]
    )
    parts = [strokes([smooth(down)], 1.25 * r, size), arch]
    if shape.ascending > 0:
        parts.append(
            ellipse(
                (MIDLINE - 0.028 - 0.55 * shape.ascending, 0.41),
                (0.032 + 0.5 * shape.ascending, 0.10),
                size,
                0,
                0.2,
            )
        )
    aorta = np.maximum.reduce(parts)
    if shape.arch_flip:
        return aorta[:, ::-1].copy(), arch[:, ::-1].copy()
    return aorta, arch


def _vessels(shape: Shape, size: int, rng: np.random.Generator) -> np.ndarray:
    """Branching arteries and veins from each hilum, thinner with every fork."""
    curves: list[np.ndarray] = []
    widths: list[float] = []
    levels: list[float] = []
    for sign in (-1, 1):
        hilum = np.array([MIDLINE + sign * 0.085 + shape.shift, 0.43 - (0.012 if sign > 0 else 0)])
        for angle in np.linspace(-1.35, 1.3, 9) + rng.normal(0, 0.07, 9):
            up = angle < -0.15
            length = (0.26 if abs(angle) > 0.6 else 0.2) * (shape.half_width / 0.355) * rng.uniform(0.85, 1.1)
            gain = shape.vessels * (shape.upper_vessels * 0.75 if up else 1.0)
            direction = np.array([sign * np.cos(angle), np.sin(angle)])
            bend = np.array([-direction[1], direction[0]]) * rng.normal(0, 0.02)
            end = hilum + length * direction
            middle = hilum + 0.5 * length * direction + bend
            curves.append(smooth([hilum, middle, end], steps=5))
            widths.append(0.013 * gain)
            levels.append(1.0)
            for start, reach in ((middle, 0.65), (end, 0.45)):
                for turn in (-0.42, 0.36):
                    a = angle + turn * rng.uniform(0.7, 1.4)
                    step = reach * length * np.array([sign * np.cos(a), np.sin(a)])
                    curves.append(
                        smooth([start, start + 0.5 * step + rng.normal(0, 0.006, 2), start + step], steps=4)
                    )
                    widths.append(0.0065 * gain)
                    levels.append(0.7)
    thick = strokes(curves[::5], widths[::5], size)
    thin = strokes(
        [c for i, c in enumerate(curves) if i % 5], [w for i, w in enumerate(widths) if i % 5], size
    )
    return np.float32(0.25) * soften(np.maximum(thick, np.float32(0.62) * thin), 0.0022)


def _hila(canvas: Canvas) -> None:
    shape, size = canvas.shape, canvas.size
    for side, sign, gain in (("right", -1, shape.hilum_right), ("left", 1, shape.hilum_left)):
        centre = (MIDLINE + sign * (0.078 + 0.012 * gain) + shape.shift, 0.425 - (0.014 if sign > 0 else 0))
        body = ellipse(centre, (0.03 * gain, 0.055 * gain), size, -sign * 0.35, 0.6)
        body = np.maximum(
            body,
            0.8
            * ellipse(
                (centre[0] + sign * 0.012, centre[1] + 0.06),
                (0.018 * gain, 0.05 * gain),
                size,
                -sign * 0.3,
                0.6,
            ),
        )
        mask = body * np.clip(canvas.air * 1.5, 0, 1)
        canvas.depth += np.float32(0.42) * mask
        canvas.masks[f"hilum_{side}"] = body
        canvas.points[f"hilum_{side}"] = centre
    if shape.artery > 0:
        r = 0.035 + 0.5 * shape.artery
        canvas.masks["pulmonary artery"] = bulge = ellipse(
            (MIDLINE + 0.062 + shape.shift, 0.385), (r, 0.05), size, 0, 0.4
        )
        canvas.opacify(0.9 * bulge)


def _airways(canvas: Canvas) -> None:
    shape, size = canvas.shape, canvas.size
    carina = (MIDLINE + 0.6 * shape.shift + 0.4 * shape.trachea_shift, 0.365)
    neck = (float(spine_x(shape, 0.0)), 0.0)
    middle = (MIDLINE + 0.3 * shape.shift + shape.trachea_shift, 0.18)
    trachea = smooth(
        [
            neck,
            (0.5 * (neck[0] + middle[0]) + 0.5 * shape.trachea_shift, 0.09),
            middle,
            (carina[0] + 0.3 * shape.trachea_shift, 0.29),
            carina,
        ]
    )
    tube = strokes([trachea], 0.034, size)
    bronchi = strokes(
        [
            smooth([carina, (carina[0] - 0.03, 0.40), (carina[0] - 0.065, 0.435)]),
            smooth([carina, (carina[0] + 0.04, 0.40), (carina[0] + 0.085, 0.425)]),
        ],
        0.02,
        size,
    )
    canvas.depth -= np.float32(0.42) * soften(np.maximum(tube, 0.7 * bronchi), 0.004)
    canvas.curves["trachea"] = trachea
    canvas.points["carina"] = carina
    canvas.masks["trachea"] = tube


def _below(canvas: Canvas, rng: np.random.Generator) -> None:
    """Stomach bubble and bowel gas under the domes."""
    shape, size = canvas.shape, canvas.size
    flip = -1 if shape.heart_flip else 1
    bubble = (
        MIDLINE + flip * (0.17 + rng.normal(0, 0.015)),
        (shape.dome_left if flip > 0 else shape.dome_right) + 0.085,
    )
    gas = ellipse(bubble, (0.06, 0.035), size, 0.2 * flip, 0.6)
    canvas.depth -= np.float32(rng.uniform(0.25, 0.6)) * gas
    for _ in range(3):
        spot = (rng.uniform(0.25, 0.75), rng.uniform(0.93, 1.0))
        canvas.depth -= np.float32(rng.uniform(0.05, 0.2)) * ellipse(
            spot, (rng.uniform(0.03, 0.07), 0.02), size, rng.normal(0, 0.4), 0.6
        )
    canvas.points["stomach"] = bubble


def _soft_tissue(canvas: Canvas) -> None:
    shape, size = canvas.shape, canvas.size
    for side, sign, amount in (("right", -1, shape.breast_right), ("left", 1, shape.breast_left)):
        centre = (MIDLINE + sign * (0.21 + 0.02 * shape.fat), 0.635 + 0.02 * shape.fat)
        canvas.points[f"breast_{side}"] = centre
        canvas.points[f"nipple_{side}"] = (centre[0] + sign * 0.02, 0.68)
        if amount > 0.02:
            breast = ellipse(centre, (0.14, 0.125), size, sign * 0.2, 0.7)
            canvas.masks[f"breast_{side}"] = breast
            canvas.depth += np.float32(0.42 * amount) * breast


def _landmarks(canvas: Canvas, outlines: dict[str, np.ndarray]) -> None:
    shape = canvas.shape
    s = shape.shift
    base = max(shape.dome_right, shape.dome_left)
    flip = -1 if shape.heart_flip else 1
    width = 2 * shape.half_width * shape.heart_ratio
    canvas.points |= {
        "neck_right": (MIDLINE - 0.085, 0.02),
        "neck_left": (MIDLINE + 0.085, 0.02),
        "svc_top": (MIDLINE - 0.055 + s, 0.26),
        "svc": (MIDLINE - 0.062 + s, 0.40),
        "atrium": (MIDLINE - 0.075 + s, base - 0.13),
        "ventricle": (MIDLINE + flip * 0.075 + s, base - 0.015),
        "heart": (MIDLINE + flip * 0.14 * width + s, base - 0.12),
        "aortic valve": (MIDLINE + flip * 0.02 + s, base - 0.17),
        "mitral valve": (MIDLINE + flip * 0.06 + s, base - 0.115),
        "cardia": (MIDLINE + flip * 0.035, base + 0.03),
        "sternum_top": (MIDLINE, 0.23),
        "sternum_bottom": (MIDLINE, 0.66),
        "arch": (
            MIDLINE + (-1 if shape.arch_flip else 1) * (shape.mediastinum + 0.28 * shape.arch_radius),
            0.305 - shape.arch_height,
        ),
    }
    for side, outline in outlines.items():
        sign = canvas.outward(side)
        dome = shape.dome_right if side == "right" else shape.dome_left
        lateral = outline[np.argmax(sign * outline[:, 0])]
        canvas.points[f"angle_{side}"] = (float(lateral[0]), dome + 0.06)
        canvas.points[f"dome_{side}"] = (MIDLINE + sign * 0.52 * shape.half_width, dome)
        canvas.curves[f"lung_{side}"] = outline
        canvas.points[f"apex_{side}"] = (MIDLINE + sign * 0.13, shape.apex)
        canvas.points[f"vein_{side}"] = (MIDLINE + sign * 0.2, 0.17)
