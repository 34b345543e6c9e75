"""Spine and ribs."""

from __future__ import annotations

import numpy as np

from benchmark.twins.ct.body import DISC_STEP, RIB_DROP, RIB_STEP, SPINE_Y, Phantom
from benchmark.twins.ct.findings.base import Stroke, whole
from benchmark.twins.ct.space import blend, soft


def _spine_y(p: Phantom, z: float) -> float:
    return SPINE_Y + 0.8 * (p.habitus.half_depth - 112) + 8 * float(np.exp(-(((z - 20) / 80) ** 2)))


def osteophytes(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Spurs at the corners of vertebrae, in front and at the right."""
    field = np.zeros(p.space.shape, np.float32)
    for level in range(-4, 5):
        if s.rng.random() > 0.45 + 0.3 * s.strength:
            continue
        z = level * DISC_STEP
        y = _spine_y(p, z)
        for dx, dy in ((-18, -7), (-9, -15), (14, -12)):
            r = s.rng.uniform(3.5, 6) * (0.7 + 0.4 * s.strength)
            part, spur = p.space.ellipsoid((dx, y + dy, z + s.rng.normal(0, 2)), (r * 1.3, r, 5.5))
            spur = spur * (p.hu[part] < 500)
            np.maximum(field[part], spur, out=field[part])
    blend(p.hu, field, 560)
    return [field]


def spondylosis(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Narrow discs with dense plates, gas in some, and spurs."""
    field = np.zeros(p.space.shape, np.float32)
    for level in range(-4, 4):
        if s.rng.random() > 0.6 + 0.2 * s.strength:
            continue
        z = level * DISC_STEP
        y = _spine_y(p, z)
        part, plate = p.space.ellipsoid((0, y, z), (21, 18, 8))
        blend(p.hu, plate, 640, part)
        np.maximum(field[part], plate, out=field[part])
        if s.rng.random() < 0.5:
            hole, gas = p.space.ellipsoid((s.rng.normal(0, 4), y, z), (10, 8, 3))
            blend(p.hu, gas, -300, hole)
    return [np.maximum(field, osteophytes(p, s)[0])]


def fracture(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """A gap in a rib with its ends out of line, and callus."""
    masks = []
    for side in s.sides:
        sign = -1 if side == "right" else 1
        for number in s.rng.choice(np.arange(-3, 3), 1 + int(s.strength > 1), replace=False):
            angle = s.rng.uniform(0.35, 0.6) * np.pi
            z = number * RIB_STEP + 4 - RIB_DROP * angle / np.pi
            a, b = p.habitus.half_width - p.habitus.fat - 12, p.habitus.half_depth - 0.8 * p.habitus.fat - 14
            direction = np.array([np.sin(angle), np.cos(angle)])
            r = 1 / np.hypot(direction[0] / a, direction[1] / b)
            at = np.array([sign * r * direction[0], 20 + r * direction[1] * 0.82, z])
            near = p.space.part(at, 22)
            rib = np.argwhere(p.hu[near] > 260)
            if len(rib):
                low = np.array([c.start for c in near])
                k, j, i = rib[len(rib) // 2] + low
                at = p.at(np.ravel_multi_index((k, j, i), p.space.shape))
            part, callus = p.space.ellipsoid(at, (11, 11, 10))
            gap_part = p.space.ellipsoid(at, (3.2, 3.2, 12))
            shell = callus * soft(p.cage[part] * -1 + 9, 3)
            blend(p.hu, 0.8 * shell * (p.hu[part] < 400), 330, part)
            blend(p.hu, gap_part[1], 20, gap_part[0])
            step = np.array([np.sign(at[0]) * 6, 4, 0])
            end_part, end = p.space.ellipsoid(at + step, (4.5, 4.5, 5))
            blend(p.hu, end, 640, end_part)
            masks.append(whole(p, part, shell))
    return masks
