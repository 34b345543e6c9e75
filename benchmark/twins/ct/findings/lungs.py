"""What fills, empties or scars the lungs."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from benchmark.twins.ct.body import Phantom
from benchmark.twins.ct.findings.base import Stroke, whole
from benchmark.twins.ct.space import blend, blur, soft


def nodules(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Solid round nodules. options: count, radius in mm."""
    masks = []
    for side in s.sides:
        for _ in range(int(s.options.get("count", 1))):
            r = s.options["radius"] * s.scale * s.rng.uniform(0.85, 1.15)
            spot = p.spot(side, s.finding.location, s.rng, r + 5)
            part, mask = p.space.ellipsoid(spot, r * s.rng.uniform(0.9, 1.1, 3))
            blend(p.hu, mask, s.options.get("value", 35.0), part)
            masks.append(whole(p, part, mask))
    return masks


def mass(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """A lobulated mass with spicules."""
    r = 19 * s.scale
    spot = p.spot(s.sides[0], s.finding.location, s.rng, r * 0.9)
    body = np.zeros(p.space.shape, np.float32)
    for _ in range(5):
        at = spot + s.rng.normal(0, 0.36 * r, 3)
        part, mask = p.space.ellipsoid(at, r * s.rng.uniform(0.6, 0.85, 3))
        np.maximum(body[part], mask, out=body[part])
    for _ in range(9):
        d = s.rng.normal(0, 1, 3)
        line = p.space.tube([spot, spot + d / np.linalg.norm(d) * r * s.rng.uniform(1.3, 1.8)], [2.2, 0.5])
        np.maximum(body, line * 0.7, out=body)
    body *= p.lung(None)
    blend(p.hu, body, 42)
    return [body]


def _patches(p: Phantom, s: Stroke, count: int, radius: float, rim: bool) -> np.ndarray:
    """Irregular patches in the finding's place; at the rim of the lung where `rim`."""
    field = np.zeros(p.space.shape, np.float32)
    rough = p.space.noise(11, s.rng)
    for side in s.sides:
        for _ in range(count):
            r = radius * s.scale * s.rng.uniform(0.75, 1.25)
            spot = p.spot(side, s.finding.location, s.rng, 4 if rim else r * 0.6)
            part = p.space.part(spot, 1.6 * r)
            dx, dy, dz = p.space.offsets(part, spot)
            rho = np.sqrt(dx**2 + dy**2 + dz**2) / np.float32(r)
            np.maximum(field[part], np.clip((1.1 - rho + 0.22 * rough[part]) * 3, 0, 1), out=field[part])
    return np.asarray(field * p.lung(None))


def opacity(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Ground glass: denser lung in which vessels stay visible. options: count."""
    field = _patches(p, s, int(s.options.get("count", 4)), 24 * (0.7 + 0.4 * s.strength), True)
    p.hu += field * (210 + 130 * s.strength) * (p.hu < -200)
    return [field]


def consolidation(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Airless lung with air bronchograms."""
    field = _patches(p, s, int(s.options.get("count", 1)), 27 * (0.75 + 0.3 * s.strength), True)
    air = np.clip((p.hu + 1000) / 120, 0, 1)  # what is emptier than lung is a bronchus
    blend(p.hu, field * np.where(air < 0.5, 0.25, 1), 30 + 12 * p.space.noise(6, s.rng))
    return [field]


def bands(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Plates of collapsed lung at the base, and the wedge behind them."""
    masks = []
    for side in s.sides:
        zone = p.lung(side)
        plate = np.zeros(p.space.shape, np.float32)
        for _ in range(2 + int(s.strength > 1)):
            x, y, z = p.spot(side, "base", s.rng, 6)
            tilt = s.rng.normal(0, 0.3, 2)
            height = z + tilt[0] * (p.space.x - x) + tilt[1] * (p.space.y - y)
            reach = soft(30 * s.strength - np.hypot(p.space.x - x, p.space.y - y), 6)
            plate = np.maximum(plate, soft(3.0 - np.abs(p.space.z - height), 2.5) * reach)
        level = float(np.max(p.dome[side]))
        behind = soft(p.space.y - 40 + 0.12 * (p.space.z - level), 6) * soft(
            level + 6 * s.strength - p.space.z, 5
        )
        mask = np.maximum(plate, behind) * zone
        blend(p.hu, mask, 36)
        masks.append(mask)
    return masks


def scars(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Strands from the pleura, most at the apex."""
    masks = []
    for side in s.sides:
        inside = np.flatnonzero(p.zone(side, s.finding.location or "apex") & (p.deep > 1) & (p.deep < 9))
        field = np.zeros(p.space.shape, np.float32)
        for _ in range(9 + int(7 * s.strength)):
            if not len(inside):
                break
            start = p.at(inside[s.rng.integers(len(inside))])
            inward = np.array([0.0, -5.0, 20.0]) - start
            end = start + inward / np.linalg.norm(inward) * s.rng.uniform(14, 34) + s.rng.normal(0, 5, 3)
            field = np.maximum(
                field, p.space.tube([start, (start + end) / 2 + s.rng.normal(0, 3, 3), end], [5, 3, 1.5])
            )
        field *= p.lung(side)
        blend(p.hu, 0.9 * field, 25)
        masks.append(field)
    return masks


def emphysema(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Holes without walls in the upper zones, and fewer vessels."""
    lung = p.lung(None)
    upper = np.clip((p.space.z + 70) / 130, 0.12, 1)
    holes = soft(
        p.space.noise(10, s.rng) + 0.35 * p.space.noise(22, s.rng) - 1.15 + 0.75 * s.strength * upper, 0.5
    )
    field = (holes * lung * upper).astype(np.float32)
    calm = field * (p.hu < 0 if p.vessels is None else p.vessels < 0.6)
    blend(p.hu, np.minimum(calm * 1.3, 1), -985)
    p.hu -= 35 * s.strength * lung * upper * (p.hu < -700)
    return [field]


def cyst(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Round, air-filled, with a thin wall."""
    masks = []
    for side in s.sides:
        r = 13 * s.scale
        spot = p.spot(side, s.finding.location, s.rng, r + 4)
        part, outer = p.space.ellipsoid(spot, (r, r, r))
        inner = p.space.ellipsoid(spot, (r - 1.8,) * 3)
        blend(p.hu, outer, -120, part)
        blend(p.hu, inner[1], -995, inner[0])
        masks.append(whole(p, part, outer))
    return masks


def mosaic(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Sharp-edged areas of dark beside bright lung; vessels are thinner in the dark ones."""
    lung = p.lung(None)
    dark = soft(p.space.noise(26, s.rng) + 0.5 * p.space.noise(13, s.rng), 0.35) * lung
    air = p.hu < -500
    p.hu += np.where(air, (90 + 60 * s.strength) * (lung - dark) - 65 * dark, 0).astype(np.float32)
    return [dark]


def _cells(
    p: Phantom, zone: np.ndarray, step: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices of a zone, and the distance in mm to the wall between the nearest two of random seeds."""
    flat = np.flatnonzero(zone)
    points = p.at(flat)
    count = max(int(len(flat) * np.prod(p.space.voxel) / step**3), 4)
    seeds = points[rng.choice(len(points), count)] + rng.normal(0, 0.3 * step, (count, 3))
    near, _ = cKDTree(seeds).query(points, k=2)
    return flat, (near[:, 1] - near[:, 0]) / 2


def septa(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Thick septa between the lobules of the outer lung."""
    zone = p.zone(s.finding.side, s.finding.location or "base") & (p.cage < 40)
    field = np.zeros(p.space.shape, np.float32)
    if zone.sum() > 8:
        flat, wall = _cells(p, zone, 20, s.rng)
        field.reshape(-1)[flat] = soft(0.5 * s.strength - wall, p.space.fine)
    field = np.minimum(field, 1) * p.lung(None)
    blend(p.hu, field * 0.85, 5)
    return [field]


def honeycomb(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Cysts in rows and a net below the pleura at the bases."""
    reach = 14 + 10 * s.strength
    zone = (p.deep > 0) & (p.cage < reach) & (p.space.z < 10 + 30 * s.strength)
    field = np.zeros(p.space.shape, np.float32)
    wall = np.zeros(p.space.shape, np.float32)
    if zone.sum() > 8:
        flat, away = _cells(p, zone, 8.5, s.rng)
        wall.reshape(-1)[flat] = soft(1.7 - away, 2.0)
        field.reshape(-1)[flat] = 1
    field = blur(field, 0.7) * p.lung(None)
    p.hu += 150 * field * (p.hu < -500)
    blend(p.hu, wall * field, 20)
    blend(p.hu, 0.85 * (1 - wall) * field, -975)
    return [field]


def cavity(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """A thick-walled cavity in an upper lobe with small nodules about it."""
    r = 14 * s.scale
    spot = p.spot(s.sides[0], "upper lobe", s.rng, r)
    field = np.zeros(p.space.shape, np.float32)
    part, outer = p.space.ellipsoid(spot, r * s.rng.uniform(0.9, 1.15, 3))
    field[part] = outer
    hole, inner = p.space.ellipsoid(spot, (0.62 * r,) * 3)
    blend(p.hu, outer, 38, part)
    blend(p.hu, inner, -990, hole)
    for _ in range(16):
        at = spot + s.rng.normal(0, 1, 3) * (24, 24, 18)
        small, bead = p.space.ellipsoid(at, (3.6,) * 3)
        bead = bead * p.lung(None)[small]
        blend(p.hu, bead, 20, small)
        np.maximum(field[small], bead, out=field[small])
    return [field]
