"""Thick walls and wide lumina."""

from __future__ import annotations

import numpy as np

from benchmark.twins.ct.body import Phantom
from benchmark.twins.ct.findings.base import Stroke
from benchmark.twins.ct.space import blend
from benchmark.twins.ct.tree import Tree, filled


def _draw(p: Phantom, tree: Tree, lumen: float, wall: float, rng: np.random.Generator) -> np.ndarray:
    outer = filled(p.space, tree.wider(lumen, wall), rng)
    inner = filled(p.space, tree.wider(lumen), rng)
    blend(p.hu, np.minimum(outer * 1.4, 1), 20)
    blend(p.hu, np.minimum(inner * 1.5, 1), -985)
    return outer


def thick_walls(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Bronchi with walls of `wall` mm. options: wall, reach: mm from the hilum."""
    masks = []
    for tree in p.airways.values():
        away = np.linalg.norm(tree.middle - tree.start[0], axis=1)
        own = tree.only((tree.radius > 1.0) & (away < s.options.get("reach", 60)))
        masks.append(_draw(p, own, 1.1, s.options.get("wall", 2.2) * (0.7 + 0.4 * s.strength), s.rng))
    return masks


def dilated(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Bronchiectasis: tubes and rings wider than the vessels beside them."""
    masks = []
    for side in s.sides:
        if side not in p.airways:
            continue
        tree = p.airways[side]
        middle = tree.middle
        z0 = {"upper lobe": 25.0, "middle lobe": -10.0, "lingula": -10.0}.get(s.finding.location or "", -45.0)
        near = (np.abs(middle[:, 2] - z0) < 42) & (tree.radius < 3.2)
        own = tree.only(near)
        wide = Tree(own.start, own.end, np.maximum(own.radius, 1.8))
        masks.append(_draw(p, wide, 1.5 + 0.5 * s.strength, 1.6, s.rng))
    return masks
