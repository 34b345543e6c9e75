"""Gas under the diaphragm."""

from __future__ import annotations

import numpy as np

from benchmark.twins.anatomy.canvas import Canvas, sides_of
from benchmark.twins.findings.base import Draw
from benchmark.twins.geometry import ellipse, grid, soften, strokes


def free_air(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Black crescent between dome and abdominal organs."""
    _, y = grid(canvas.size)
    masks = []
    for side in sides_of(draw.finding.side):
        x, top = canvas.points[f"dome_{side}"]
        lung = canvas.lungs[side]
        outer = ellipse((x, top + 0.105), (0.15, 0.095), canvas.size, 0, 0.25)
        inner = ellipse((x, top + 0.15), (0.19, 0.118), canvas.size, 0, 0.25)
        crescent = np.clip(outer - inner, 0, 1) * (1 - soften(lung, 0.004)) * (y > top)
        crescent = soften(np.clip(1.6 * crescent, 0, 1).astype(np.float32), 0.002)
        canvas.aerate(0.85 * crescent)
        masks.append(crescent)
        if canvas.lateral:
            break
    return masks


def bowel_loop(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Colon with haustra between liver and diaphragm."""
    x, top = canvas.points["dome_right"]
    loop = ellipse((x - 0.02, top + 0.055), (0.115, 0.042), canvas.size, 0, 0.25) * (
        1 - soften(canvas.lungs["right"], 0.003)
    )
    folds = [
        np.array([(x - 0.10 + 0.04 * k, top + 0.02), (x - 0.095 + 0.04 * k, top + 0.075)]) for k in range(5)
    ]
    gas = loop * (1 - 0.8 * soften(strokes(folds, 0.006, canvas.size), 0.002))
    canvas.aerate(0.6 * gas)
    return [loop]
