"""Lateral chest, facing the image's left: both lungs overlap, the spine is behind, the sternum in front."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from benchmark.twins.anatomy.canvas import AIR_DEPTH, Canvas
from benchmark.twins.anatomy.shape import Shape
from benchmark.twins.geometry import ellipse, fill, grid, smooth, soften, strokes, texture

_SPINE = 0.745


def back_x(shape: Shape, y: np.ndarray | float) -> np.ndarray:
    """x of the front of the spine at y; kyphosis bends it backwards."""
    y = np.asarray(y, np.float32)
    bow = 0.045 + 1.6 * shape.spine_round
    return _SPINE - 0.075 + (bow + 0.03) * np.sin(np.clip((y - 0.02) / 0.95, 0, 1) * np.pi)


def build_lateral(shape: Shape, size: int, rng: np.random.Generator) -> Canvas:
    """Draw the side view of the chest that `build_frontal` draws from the front."""
    outline = _lung_outline(shape)
    lung = fill(outline, size)
    depth = _body(shape, size)
    heart = fill(_heart(shape), size)
    aorta, arch = _aorta(shape, size)
    inner = cv2.distanceTransform((lung > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    air = soften(lung, 0.004) * np.clip(inner / (0.12 * size), 0.15, 1) ** 0.45 * np.float32(shape.air)
    solid = 0.62 * soften(heart, 0.008)
    air *= (1 - solid) * (1 - 0.22 * soften(aorta, 0.006))
    depth = depth - 1.15 * AIR_DEPTH * air
    vessels = _vessels(shape, size, rng) * np.clip(air * 1.2, 0, 1)
    depth += vessels
    canvas = Canvas(size, "L", shape, depth, air, vessels, {"right": lung, "left": lung})
    canvas.masks |= {"heart": heart, "aorta": aorta, "arch": arch, "solid": 0 * heart}
    _bones(canvas)
    _airways_and_hilum(canvas)
    gas = (0.45, shape.dome_left + 0.12)
    canvas.depth -= np.float32(rng.uniform(0.2, 0.5)) * ellipse(gas, (0.075, 0.035), size, 0.2, 0.6)
    canvas.depth *= 1 + np.float32(0.012) * texture(size, 0.012, rng)
    _landmarks(canvas, outline, gas)
    return canvas


def _lung_outline(shape: Shape) -> np.ndarray:
    b, dome = shape.barrel, 0.5 * (shape.dome_right + shape.dome_left)
    flat = 0.05 * 0.5 * (shape.dome_curve_right + shape.dome_curve_left)

    def back(y: float) -> float:
        return float(back_x(shape, y)) + 0.05

    points = [
        (0.53, 0.10),
        (0.40, 0.15),
        (0.31 - b, 0.25),
        (0.235 - b, 0.42),
        (0.205 - b + shape.sternum_dip, 0.58),
        (0.20 - b, dome - 0.02),
        (0.30, dome - 0.25 * flat),
        (0.44, dome),
        (0.60, dome + 1.0 * flat),
        (back(dome + 0.1) - 0.03, dome + 2.8 * flat),
        (back(dome + 0.1) + 0.01, dome + 2.6 * flat),
        (back(0.62), 0.62),
        (back(0.45), 0.45),
        (back(0.28), 0.28),
        (back(0.16) - 0.03, 0.14),
    ]
    return smooth(np.array(points), closed=True, steps=5)


def _body(shape: Shape, size: int) -> np.ndarray:
    x, y = grid(size)
    y = y[:, 0]
    front = (
        np.interp(y, [0, 0.08, 0.16, 0.3, 0.55, 1.0], [0.40, 0.38, 0.27, 0.17, 0.12, 0.10])
        - 0.06 * shape.fat
        - shape.barrel
    )
    behind = back_x(shape, y) + 0.165 + 0.05 * shape.fat
    middle, half = 0.5 * (front + behind), 0.5 * (behind - front)
    thick = np.interp(y, [0, 0.12, 0.25, 0.5, 0.75, 1.0], [1.5, 2.6, 2.5, 2.45, 2.7, 2.8]) * (
        0.88 + 0.45 * shape.fat
    )
    inside = 1 - ((x - middle[:, None].astype(np.float32)) / half[:, None].astype(np.float32)) ** 2
    out: np.ndarray = thick[:, None].astype(np.float32) * np.clip(inside, 0, None) ** np.float32(0.3)
    return out


def _heart(shape: Shape) -> np.ndarray:
    grow = (shape.heart_ratio - 0.43) / 0.43
    base = 0.5 * (shape.dome_right + shape.dome_left)
    points = [
        (0.40, base - 0.30 - 0.05 * grow),
        (0.27 - 0.03 * grow, base - 0.22),
        (0.225, base - 0.08),
        (0.26, base + 0.015),
        (0.42, base + 0.035),
        (0.52 + 0.10 * grow, base - 0.03),
        (0.545 + 0.13 * grow, base - 0.14),
        (0.49 + 0.06 * grow, base - 0.26),
    ]
    return smooth(np.array(points), closed=True, steps=5)


def _aorta(shape: Shape, size: int) -> tuple[np.ndarray, np.ndarray]:
    r = shape.arch_radius
    lift = shape.arch_height
    path = [
        (0.41 - shape.ascending, 0.45),
        (0.41 - shape.ascending, 0.36),
        (0.48, 0.285 - lift),
        (0.57 + 0.4 * shape.descending, 0.30 - lift),
        (float(back_x(shape, 0.42)) - 0.03, 0.42),
        (float(back_x(shape, 0.6)) - 0.01, 0.62),
        (float(back_x(shape, 0.75)) - 0.01, 0.78),
    ]
    curve = smooth(path)
    return strokes([curve], 1.5 * r, size), strokes([curve[10:30]], 1.5 * r, size)


def _vessels(shape: Shape, size: int, rng: np.random.Generator) -> np.ndarray:
    hilum = np.array([0.50, 0.42])
    curves, widths = [], []
    for angle in np.linspace(0, 2 * np.pi, 16, endpoint=False) + rng.normal(0, 0.1, 16):
        length = rng.uniform(0.14, 0.26)
        end = hilum + length * np.array([np.cos(angle), np.sin(angle)])
        middle = hilum + 0.5 * (end - hilum) + rng.normal(0, 0.012, 2)
        gain = shape.vessels * (shape.upper_vessels if np.sin(angle) < -0.2 else 1)
        curves.append(smooth([hilum, middle, end], steps=5))
        widths.append(0.009 * gain)
        for turn in (-0.4, 0.4):
            step = 0.6 * length * np.array([np.cos(angle + turn), np.sin(angle + turn)])
            curves.append(np.array([middle, middle + step]))
            widths.append(0.005 * gain)
    return np.float32(0.22) * soften(strokes(curves, widths, size), 0.0025)


def _bones(canvas: Canvas) -> None:
    shape, size = canvas.shape, canvas.size
    bone = np.float32(shape.bone)
    edges = np.linspace(0.06, 1.0, 15)
    quads, centres = [], []
    for top, bottom in pairwise(edges):
        gap = 0.13 * (bottom - top)
        xt, xb = float(back_x(shape, top)), float(back_x(shape, bottom))
        deep = 0.062 + 0.018 * top
        quads.append(
            np.array([(xt, top + gap), (xt + deep, top + gap), (xb + deep, bottom - gap), (xb, bottom - gap)])
        )
        centres.append((0.5 * (xt + xb) + 0.5 * deep, 0.5 * (top + bottom)))
    spine = np.zeros((size, size), np.uint8)
    cv2.fillPoly(
        spine, [np.round((q * size - 0.5) * 32).astype(np.int32) for q in quads], 255, cv2.LINE_AA, 5
    )
    body = spine.astype(np.float32) / 255
    canvas.depth += bone * (
        np.float32(0.20) * body
        + np.float32(0.08) * strokes([np.concatenate([q, q[:1]]) for q in quads], 0.005, size)
    )
    column = np.concatenate([[q[0] for q in quads], [q[1] for q in quads][::-1]])
    canvas.masks["spine"] = fill(np.asarray(column), size)
    canvas.curves["spine"] = np.array(centres)
    canvas.curves["vertebrae"] = np.array(quads)
    ribs = []
    for i in range(9):
        y = 0.16 + 0.07 * i
        start = float(back_x(shape, y)) + 0.07
        ribs.append(
            smooth(
                [(start, y), (start - 0.12, y + 0.02), (start - 0.26, y + 0.09), (start - 0.36, y + 0.17)],
                steps=6,
            )
        )
    canvas.ribs = {"right": ribs, "left": ribs}
    canvas.depth += bone * soften(
        0.12 * strokes(ribs, 0.018, size) - 0.03 * strokes(ribs, 0.008, size), 0.002
    )
    front = smooth(
        [
            (0.315 - shape.barrel, 0.19),
            (0.235 - shape.barrel, 0.36),
            (0.19 - shape.barrel + shape.sternum_dip, 0.58),
            (0.185 - shape.barrel, 0.66),
        ]
    )
    canvas.curves["sternum"] = front
    canvas.masks["sternum"] = sternum = strokes([front], 0.02, size)
    canvas.depth += bone * np.float32(0.22) * soften(sternum, 0.003)


def _airways_and_hilum(canvas: Canvas) -> None:
    shape, size = canvas.shape, canvas.size
    trachea = smooth([(0.50, 0.0), (0.515, 0.12), (0.525, 0.25), (0.52, 0.37)])
    canvas.curves["trachea"] = trachea
    canvas.masks["trachea"] = tube = strokes([trachea], 0.036, size)
    canvas.depth -= np.float32(0.30) * soften(tube, 0.004)
    gain = 0.5 * (shape.hilum_right + shape.hilum_left) + 4 * shape.artery
    body = ellipse((0.505, 0.42), (0.04 * gain, 0.05 * gain), size, 0.3, 0.6)
    canvas.depth += np.float32(0.34) * body
    for side in ("right", "left"):
        canvas.masks[f"hilum_{side}"] = body
        canvas.points[f"hilum_{side}"] = (0.505, 0.42)
    if shape.artery > 0:
        canvas.masks["pulmonary artery"] = ellipse((0.47, 0.40), (0.04, 0.03), size)
        canvas.depth += 0.2 * canvas.masks["pulmonary artery"]


def _landmarks(canvas: Canvas, outline: np.ndarray, gas: tuple[float, float]) -> None:
    shape = canvas.shape
    dome = 0.5 * (shape.dome_right + shape.dome_left)
    canvas.points |= {
        "carina": (0.52, 0.37),
        "stomach": gas,
        "neck_right": (0.45, 0.02),
        "neck_left": (0.46, 0.02),
        "svc_top": (0.43, 0.26),
        "svc": (0.435, 0.40),
        "atrium": (0.42, dome - 0.14),
        "ventricle": (0.29, dome - 0.04),
        "heart": (0.38, dome - 0.12),
        "aortic valve": (0.385, dome - 0.18),
        "mitral valve": (0.46, dome - 0.13),
        "cardia": (0.57, dome + 0.05),
        "sternum_top": (0.315 - shape.barrel, 0.2),
        "sternum_bottom": (0.19 - shape.barrel, 0.64),
        "arch": (0.53, 0.29 - shape.arch_height),
    }
    for side in ("right", "left"):
        canvas.points[f"angle_{side}"] = (float(back_x(shape, dome + 0.1)) + 0.03, dome + 0.12)
        canvas.points[f"dome_{side}"] = (0.44, dome)
        canvas.points[f"apex_{side}"] = (0.53, 0.12)
        canvas.points[f"breast_{side}"] = (0.13, 0.62)
        canvas.points[f"nipple_{side}"] = (0.12, 0.63)
        canvas.points[f"vein_{side}"] = (0.40, 0.18)
        canvas.points[f"humerus_{side}"] = (0.45, 0.05)
        canvas.curves[f"lung_{side}"] = outline
        canvas.curves[f"clavicle_{side}"] = smooth([(0.33, 0.19), (0.40, 0.14), (0.46, 0.12)])
