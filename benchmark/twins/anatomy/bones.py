"""Bones of a frontal chest: spine, ribs, clavicles, scapulae, humeri."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from benchmark.twins.anatomy.canvas import Canvas
from benchmark.twins.anatomy.shape import Shape
from benchmark.twins.geometry import disc, fill, smooth, soften, strokes

MIDLINE = 0.5


def spine_x(shape: Shape, y: np.ndarray | float) -> np.ndarray:
    """x of the spine at y: a double curve that a scoliosis makes large."""
    y = np.asarray(y, np.float32)
    return MIDLINE + shape.spine_bend * np.sin((y - 0.12) * 2 * np.pi / 0.95)


def draw_bones(canvas: Canvas, rng: np.random.Generator) -> None:
    """Add the skeleton to depth, and its curves and masks to the canvas."""
    shape, size = canvas.shape, canvas.size
    bone = np.float32(shape.bone)
    # Spine: bodies with cortical end plates, separated by discs.
    edges = np.linspace(0.0, 1.02, 17)
    bodies, plates, centres = [], [], []
    for top, bottom in pairwise(edges):
        gap = 0.16 * (bottom - top)
        half = 0.03 + 0.012 * top
        xt, xb = float(spine_x(shape, top + gap)), float(spine_x(shape, bottom - gap))
        quad = np.array(
            [
                (xt - half, top + gap),
                (xt + half, top + gap),
                (xb + half, bottom - gap),
                (xb - half, bottom - gap),
            ]
        )
        bodies.append(quad)
        plates += [quad[:2], quad[2:]]
        centres.append((0.5 * (xt + xb), 0.5 * (top + bottom)))
    spine = np.zeros((size, size), np.float32)
    column = np.concatenate(
        [
            [b[0] for b in bodies],
            [b[3] for b in bodies][-1:],
            [b[2] for b in bodies][-1:],
            [b[1] for b in bodies[::-1]],
        ]
    )
    spine = fill(np.asarray(column), size)
    discs = strokes(plates, 0.006, size)
    canvas.depth += bone * (np.float32(0.17) * spine + np.float32(0.10) * discs)
    canvas.masks["spine"] = spine
    canvas.curves["spine"] = np.array(centres)
    # Ribs: the posterior part runs from the spine, the anterior part comes down from the lateral wall.
    w = shape.half_width
    canvas.ribs = {"right": [], "left": []}
    front: list[np.ndarray] = []
    for i in range(10):
        y = shape.apex - 0.012 + 0.0615 * i
        reach = w * float(np.interp(y, [0.1, 0.2, 0.35, 0.55, 0.9], [0.55, 0.80, 0.93, 1.03, 1.05]))
        fall = (0.05 + 0.012 * i) * shape.rib_slope
        for side, sign in (("right", -1), ("left", 1)):
            x0 = float(spine_x(shape, y)) + sign * 0.035
            out = MIDLINE + sign * reach
            back = smooth(
                [
                    (x0, y + 0.012),
                    (x0 + sign * 0.3 * reach, y - 0.012 + 0.25 * fall),
                    (MIDLINE + sign * 0.75 * reach, y + 0.5 * fall),
                    (out, y + 1.3 * fall),
                ]
            )
            canvas.ribs[side].append(back)
            if i < 7:
                low = y + (0.13 + 0.016 * i) * shape.rib_slope
                end = MIDLINE + sign * (0.11 + 0.022 * i)
                front.append(
                    smooth(
                        [
                            (out, y + 1.3 * fall),
                            (MIDLINE + sign * 0.9 * reach, y + 1.3 * fall + 0.3 * (low - y)),
                            (end, low + 0.02),
                        ]
                    )
                )
    posterior = canvas.ribs["right"] + canvas.ribs["left"]
    rib = 0.21 * strokes(posterior, 0.022, size) - 0.08 * strokes(posterior, 0.009, size)
    rib = rib + 0.12 * strokes(front, 0.024, size) - 0.04 * strokes(front, 0.011, size)
    canvas.depth += bone * soften(rib.astype(np.float32), 0.0018)
    # Clavicles, scapulae, humeri.
    lift = float(rng.normal(0, 0.012))
    shoulder = []
    for side, sign in (("right", -1), ("left", 1)):
        clavicle = smooth(
            [
                (MIDLINE + sign * 0.035, 0.205 + 0.3 * lift),
                (MIDLINE + sign * 0.15, 0.165 + lift),
                (MIDLINE + sign * 0.26, 0.128 + lift),
                (MIDLINE + sign * 0.37, 0.105 + lift),
            ]
        )
        canvas.curves[f"clavicle_{side}"] = clavicle
        shoulder.append(clavicle)
        inward = shape.scapula_in * 0.09
        blade = np.array(
            [
                (MIDLINE + sign * (w + 0.03 - inward), 0.17),
                (MIDLINE + sign * (w + 0.08), 0.16),
                (MIDLINE + sign * (w + 0.065), 0.30),
                (MIDLINE + sign * (w + 0.0 - 0.6 * inward), 0.44),
                (MIDLINE + sign * (w - 0.025 - inward), 0.30),
            ]
        )
        canvas.masks[f"scapula_{side}"] = scapula = fill(smooth(blade, closed=True, steps=4), size)
        canvas.depth += bone * (
            np.float32(0.10) * scapula
            + np.float32(0.08) * strokes([smooth(blade, closed=True, steps=4)], 0.006, size)
        )
        head = (MIDLINE + sign * 0.435, 0.175)
        shaft = np.array([(head[0] + sign * 0.01, head[1]), (head[0] + sign * 0.055, 0.42)])
        arm = np.maximum(disc(head, 0.042, size), strokes([shaft], 0.04, size))
        canvas.points[f"humerus_{side}"] = head
        canvas.masks[f"humerus_{side}"] = arm
        canvas.depth += bone * np.float32(0.32) * soften(arm, 0.003)
    canvas.depth += bone * soften(
        0.20 * strokes(shoulder, 0.021, size) - 0.06 * strokes(shoulder, 0.01, size), 0.002
    )
