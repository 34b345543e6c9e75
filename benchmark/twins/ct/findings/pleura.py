"""Fluid, air and calcium between lung and chest wall. The patient lies on the back."""

from __future__ import annotations

import numpy as np

from benchmark.twins.ct.body import AIR, Phantom
from benchmark.twins.ct.findings.base import Stroke
from benchmark.twins.ct.space import blend, soft


def effusion(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """A crescent at the back, with collapsed lung in front of it."""
    masks = []
    for side in s.sides:
        deep = 20 * s.strength * s.scale
        back = float(p.habitus.half_depth) - 0.8 * p.habitus.fat - 28
        curve = 0.0022 * (np.abs(p.space.x) - 70) ** 2
        level = back - deep * np.clip((70 - p.space.z) / 110, 0, 1.25) + curve
        fluid = soft(p.space.y - level, p.space.fine) * p.lung(side)
        edge = soft(p.space.y - level + 9 * s.strength, 4) * p.lung(side) - fluid
        blend(p.hu, np.clip(edge, 0, 1) * 0.8, 35)
        blend(p.hu, fluid, 9)
        masks.append(fluid)
    return masks


def empyema(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """A lens of fluid with a thick wall and bubbles of gas."""
    side = s.sides[0]
    sign = -1 if side == "right" else 1
    at = (
        sign * (p.habitus.half_width - p.habitus.fat - 38),
        14 + s.rng.normal(0, 8),
        -38 + s.rng.normal(0, 10),
    )
    reach = (24 * s.scale, 40 * s.scale, 46 * s.scale)
    out = np.zeros(p.space.shape, np.float32)
    part, lens = p.space.ellipsoid(at, reach, sign * 0.35)
    lens = lens * p.lung(side)[part]
    hole, inner = p.space.ellipsoid(at, tuple(r - 5 for r in reach), sign * 0.35)
    inner = inner * soft(p.deep[hole] - 4, p.space.fine)
    blend(p.hu, lens, 88, part)
    blend(p.hu, inner, 18, hole)
    for _ in range(3):
        spot = np.array(at) + s.rng.normal(0, 1, 3) * (5, 8, 12) - (0, 16, 0)
        small, gas = p.space.ellipsoid(spot, (6, 4, 6))
        blend(p.hu, gas * p.lung(side)[small], -920, small)
    out[part] = lens
    return [out]


def pneumothorax(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Air in front of and above a lung that has fallen back."""
    masks = []
    for side in s.sides:
        gap = 17 * s.strength * s.scale
        front = np.clip((24 - p.space.y) / 70, 0, 1) + 0.8 * np.clip((p.space.z - 50) / 60, 0, 1)
        thick = gap * np.clip(front, 0, 1.2)
        wall = p.cage - 2
        air = soft(thick - wall, p.space.fine) * soft(thick - 2, 2) * p.lung(side)
        line = soft(1.6 - np.abs(thick + 1.5 - wall), p.space.fine) * p.lung(side) * (thick > 3)
        lung = (p.lung(side) - air) * (p.hu < -600)
        p.hu += 70 * np.clip(lung, 0, 1)
        blend(p.hu, air, AIR)
        blend(p.hu, np.minimum(line, 1) * 0.8, -150)
        masks.append(air)
    return masks


def plaques(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Calcium along the pleura."""
    masks = []
    shell = soft(2.6 - np.abs(p.deep - 1.5), p.space.fine) * (p.cage < 9) * (p.space.z < 50)
    rough = soft(p.space.noise(24, s.rng) - 0.55 + 0.25 * s.strength, 0.3)
    for side in s.sides:
        mask = np.minimum(shell * rough * p.half(side) * 1.3, 1).astype(np.float32)
        blend(p.hu, mask, 620)
        masks.append(mask)
    return masks
