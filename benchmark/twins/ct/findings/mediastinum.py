"""Heart, great vessels, nodes, hernia and free air."""

from __future__ import annotations

import itertools

import numpy as np

from benchmark.twins.ct.body import AORTA, CORONARIES, Phantom
from benchmark.twins.ct.findings.base import Stroke, whole
from benchmark.twins.ct.space import blend, soft

TURN = float(np.deg2rad(-28))
NODES = {
    "paratracheal": ((-17, -8, 48), (-20, -10, 60), (16, -6, 42)),
    "prevascular area": ((6, -46, 46), (-8, -50, 56), (16, -44, 36)),
    "subcarinal area": ((0, 8, 14), (-4, 10, 4), (6, 8, 6)),
    "hilar": ((-40, 6, 16), (42, 6, 18), (-46, -4, -6)),
}


def _around(p: Phantom, inner: float, outer: float) -> np.ndarray:
    """(Z, Y, X) shell about the heart between two distances in mm, inside the rib cage."""
    shells = []
    for extra in (outer, inner):
        part, mask = p.space.ellipsoid(p.heart_centre, tuple(r + extra for r in p.heart_radii), TURN)
        shells.append(whole(p, part, mask))
    inside = soft(p.cage - 3, p.space.fine) * soft(p.space.z + 108, 3)
    return np.asarray(np.clip(shells[0] - shells[1], 0, 1) * inside)


def pericardial_fluid(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Fluid between the sheets, deepest at the back and below."""
    shell = _around(p, 1.0, 4 + 11 * s.strength)
    blend(p.hu, shell, 12)
    edge = _around(p, 4 + 11 * s.strength, 6 + 11 * s.strength)
    blend(p.hu, edge * 0.8, 50)
    return [shell]


def pericardial_calcium(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """A broken shell of calcium about the heart."""
    shell = _around(p, 2.0, 6.5) * soft(p.space.noise(30, s.rng) + 0.35, 0.3)
    shell = np.minimum(1.4 * shell, 1)
    blend(p.hu, shell, 720)
    return [shell]


def coronary_calcium(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Beads along the coronary arteries."""
    field = np.zeros(p.space.shape, np.float32)
    centre, scale = np.array(p.heart_centre), p.habitus.heart
    for line in list(CORONARIES.values())[: 1 + round(1.7 * s.strength)]:
        points = np.array(line, float)
        points = centre + (points - (20, -28, -40)) * scale
        for start, end in itertools.pairwise(points):
            for t in s.rng.random(2):
                if s.rng.random() < 0.5 + 0.35 * s.strength:
                    part, bead = p.space.ellipsoid(
                        start + t * (end - start), s.rng.uniform(2.0, 3.4, 3) * (1, 1, 1.3)
                    )
                    np.maximum(field[part], bead, out=field[part])
    field = np.minimum(1.25 * field, 1)
    blend(p.hu, field, 760)
    return [field]


def aortic_calcium(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Plaques in the wall of arch and descending aorta."""
    a = p.habitus.aorta
    radii = np.array([16, 16, 15.5, 14, 13, 12, 11.5, 11.5, 11, 11]) * a
    outer, inner = p.space.tube(AORTA, radii), p.space.tube(AORTA, radii - 3)
    rough = soft(p.space.noise(14, s.rng) - 1.0 + 0.5 * s.strength, 0.3) * (p.space.z > -160)
    rough = rough * np.where(p.space.z < 34, (p.space.y > 4).astype(np.float32), 1)
    mask = np.minimum(np.clip(outer - inner, 0, 1) * rough * 1.4, 1)
    blend(p.hu, mask, 650)
    return [mask]


def nodes(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Enlarged nodes. options: radius in mm."""
    masks = []
    spots = NODES.get(s.finding.location or "", NODES["paratracheal"])
    for spot in spots:
        r = s.options.get("radius", 12.0) * s.scale * s.rng.uniform(0.85, 1.15)
        part, mask = p.space.ellipsoid(np.array(spot) + s.rng.normal(0, 2, 3), (r, 0.8 * r, 1.1 * r))
        halo_part, halo = p.space.ellipsoid(np.array(spot), (r + 3, 0.8 * r + 3, 1.1 * r + 3))
        blend(p.hu, 0.5 * halo * (p.hu[halo_part] > -200), -70, halo_part)
        blend(p.hu, mask, 46, part)
        masks.append(whole(p, part, mask))
    return masks


def hernia(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Stomach behind the heart, with a level of air."""
    r = 24 * s.scale * (0.75 + 0.25 * s.strength)
    at = (10.0, 14.0, -66.0)
    part, sac = p.space.ellipsoid(at, (1.25 * r, r, 1.1 * r))
    blend(p.hu, sac, 28, part)
    hole, inner = p.space.ellipsoid(at, (1.25 * r - 5, r - 5, 1.1 * r - 5))
    blend(p.hu, inner * soft(at[1] - 3 - p.space.y[:, hole[1], hole[2]], 2), -940, hole)
    return [whole(p, part, sac)]


def free_air(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Streaks of air between the organs of the mediastinum and in the neck."""
    fat = soft(2 - p.deep, p.space.fine) * soft(p.cage - 6, p.space.fine)
    fat = fat * ((p.hu > -140) & (p.hu < 0)) * (p.space.z > -70)
    streak = soft(p.space.noise(13, s.rng) - 0.55 + 0.35 * s.strength, 0.3) * fat
    ring = np.clip(_around(p, 3, 7), 0, 1) * soft(p.space.noise(26, s.rng) - 0.1, 0.3) * (p.space.y < -10)
    mask = np.maximum(streak, ring).astype(np.float32)
    blend(p.hu, mask, -900)
    return [mask]


def large_heart(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Where the heart is, whose size the habitus holds already."""
    part, mask = p.space.ellipsoid(p.heart_centre, p.heart_radii, TURN)
    return [whole(p, part, mask)]
