"""A chest in Hounsfield units: habitus from sex and age by lot, then the organs, drawn from the outside in.

What a finding needs later (distances, lungs, trees, places) stays with the phantom. Values are those of an
unenhanced scan at 120 kV; contrast raises the blood.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from benchmark.twins.case import TwinPatient
from benchmark.twins.ct.space import Space, blend, soft
from benchmark.twins.ct.tree import Tree, filled, grow

AIR, LUNG, FAT, MUSCLE, WATER, BLOOD = -1000.0, -865.0, -98.0, 52.0, 8.0, 42.0
LIVER, SPLEEN, MARROW, CORTEX, CARTILAGE = 58.0, 47.0, 170.0, 620.0, 95.0
RIB_STEP, RIB_DROP = 24.0, 96.0
"""Millimetres between ribs, and that one falls from back to front."""
SPINE_Y, DISC_STEP = 52.0, 25.0
HILA = {"right": (-42.0, -2.0, 6.0), "left": (42.0, -2.0, 8.0)}
AORTA = (
    (-5, -26, -8), (-14, -32, 22), (-9, -26, 48), (5, -8, 59), (17, 12, 49), (21, 25, 25), (20, 29, -25),
    (14, 32, -75), (6, 33, -130), (3, 32, -175),
)  # fmt: skip
AIRWAY = ((0, -8, 175), (0, -6, 110), (1, -2, 60), (0, 0, 34))
BRONCHI = {"right": ((0, 0, 34), (-16, 0, 22), (-34, 0, 10)), "left": ((0, 0, 34), (18, -2, 20), (38, 0, 9))}
GULLET = ((2, 12, 175), (4, 14, 60), (5, 20, 10), (9, 22, -45), (16, 8, -92))
CORONARIES = {
    "left": ((6, -38, 2), (22, -52, -6), (32, -62, -24), (40, -66, -48), (48, -66, -68)),
    "circumflex": ((8, -36, 2), (34, -34, -6), (54, -24, -22), (62, -14, -44)),
    "right": ((-6, -44, 0), (-22, -54, -14), (-30, -46, -40), (-22, -28, -64)),
}


@dataclass(frozen=True)
class Habitus:
    """Millimetres, but for factors: heart, bone (density), aorta (width), blood (Hounsfield units)."""

    half_width: float
    half_depth: float
    fat: float
    heart: float = 1.0
    bone: float = 1.0
    aorta: float = 1.0
    breath: float = 0.0
    blood: float = BLOOD
    breast: float = 0.0


def draw_habitus(patient: TwinPatient, rng: np.random.Generator) -> Habitus:
    female = patient.sex == "F"
    old = np.clip((patient.age - 40) / 45, 0, 1)
    return Habitus(
        half_width=float(np.clip(rng.normal(150 if female else 160, 8), 135, 172)),
        half_depth=float(np.clip(rng.normal(104 if female else 110, 7), 92, 126)),
        fat=float(np.clip(rng.normal(16 if female else 13, 6), 5, 32)),
        heart=float(rng.normal(0.97, 0.04)),
        bone=float(np.clip(1.15 - 0.45 * old + rng.normal(0, 0.06), 0.55, 1.3)),
        aorta=float(0.92 + 0.22 * old + rng.normal(0, 0.04)),
        breast=float(rng.uniform(0.6, 1.2)) if female else 0.0,
    )


@dataclass
class Phantom:
    """hu: (Z, Y, X) float32, painted in place. deep, cage: distance in mm inside the lungs and inside the rib
    cage, negative outside. dome: (1, Y, X) height of the diaphragm by side. vessels: share of each voxel in a
    vessel of the lungs. airways: trees by side."""

    space: Space
    habitus: Habitus
    hu: np.ndarray
    deep: np.ndarray
    cage: np.ndarray
    dome: dict[str, np.ndarray] = field(default_factory=dict)
    vessels: np.ndarray | None = None
    airways: dict[str, Tree] = field(default_factory=dict)
    heart_centre: tuple[float, float, float] = (0, 0, 0)
    heart_radii: tuple[float, float, float] = (1, 1, 1)

    def lung(self, side: str | None) -> np.ndarray:
        """(Z, Y, X) share of the lungs, or of one."""
        both = soft(self.deep, self.space.fine)
        return both if side in (None, "bilateral") else both * self.half(side)

    def half(self, side: str) -> np.ndarray:
        return (self.space.x < 0 if side == "right" else self.space.x >= 0).astype(np.float32)

    def fissure(self) -> np.ndarray:
        """(Z, Y, 1) height above the oblique fissure, in mm."""
        return self.space.z - (36 - (58 - self.space.y) * 1.1)

    def zone(self, side: str | None, place: str | None) -> np.ndarray:
        """(Z, Y, X) bool: a part of the lungs by the names that reports use."""
        inside = self.deep > 0
        if side in ("left", "right"):
            inside &= self.half(side) > 0
        z, above = self.space.z, self.fissure() > 0
        if place in ("upper lobe", "upper lobes"):
            inside &= above & (z > np.where(self.space.x < 0, 4, -12))
        elif place in ("middle lobe", "lingula"):
            inside &= above & (z <= np.where(self.space.x < 0, 4, -12))
        elif place in ("lower lobe", "lower lobes"):
            inside &= ~above
        elif place in ("apex", "apical"):
            inside &= z > 62
        elif place in ("base", "basal"):
            inside &= z < -45
        return inside

    def spot(
        self, side: str | None, place: str | None, rng: np.random.Generator, margin: float = 8
    ) -> np.ndarray:
        """A point of a zone, x, y, z in mm, `margin` mm inside the lung where there is room."""
        zone = self.zone(side, place)
        for depth in (margin, margin / 2, 0):
            found = np.flatnonzero(zone & (self.deep > depth))
            if len(found):
                return self.at(found[rng.integers(len(found))])
        return np.array(HILA[side if side in HILA else "right"])

    def at(self, flat: int | np.ndarray) -> np.ndarray:
        """x, y, z in mm of voxels by their flat index."""
        k, j, i = np.unravel_index(flat, self.space.shape)
        x, y, z = self.space.x[0, j, i], self.space.y[0, j, i], self.space.z[k, 0, 0]
        return np.stack([x, y, z], axis=-1).astype(float)


def build(space: Space, habitus: Habitus, rng: np.random.Generator) -> Phantom:
    """The healthy chest. rng: of the patient, so that two scans of one patient share their vessels."""
    x, y, z = space.x, space.y, space.z
    h = habitus
    hu = np.full(space.shape, AIR, np.float32)
    _wall(space, h, hu)
    cage = _cage(space, h)
    middle = np.float32(3) * np.exp(-(((z + 40) / 50) ** 2))
    width = 24 + 8 * np.exp(-(((y + 14) / 32) ** 2)) - 21 * np.clip((-y - 42) / 26, 0, 1)
    width = width - 5 * np.clip((z - 60) / 60, 0, 1) + 4 * np.clip((y - 40) / 30, 0, 1)
    dome = {
        "right": _dome(space, h, -62 - h.breath, -0.5),
        "left": _dome(space, h, -74 - h.breath, 0.5),
    }
    floor = np.where(x < 0, dome["right"], dome["left"])
    deep = np.minimum(np.minimum(cage - 2, np.abs(x - middle) - width), z - floor).astype(np.float32)
    blend(hu, soft(cage, space.fine), FAT)
    _abdomen(space, h, hu, cage, floor, rng)
    _ribs(space, h, hu, cage)
    _spine(space, h, hu, cage)
    phantom = Phantom(space, h, hu, deep, cage, dome)
    lung = soft(deep, space.fine)
    parenchyma = LUNG + 0.35 * y + 14 * space.noise(9, rng)
    blend(hu, lung, parenchyma)
    _organs(phantom)
    _trees(phantom, rng)
    return phantom


def _wall(space: Space, h: Habitus, hu: np.ndarray) -> None:
    """Table, skin, fat and muscle."""
    x, y, z = space.x, space.y, space.z
    line = np.abs(y - (h.half_depth + 9 + 0.0012 * x**2) + 0 * z)
    blend(hu, soft(3 - line, space.fine) * (np.abs(x) < 150), -450)
    a = h.half_width * (1 + 0.02 * np.clip((z - 40) / 80, 0, 1))
    b = h.half_depth * (1 - 0.16 * np.clip((z - 40) / 110, 0, 1) ** 1.5)
    rho = (np.abs(x / a) ** 2.4 + np.abs(y / b) ** 2.4) ** np.float32(1 / 2.4)
    skin = ((1 - rho) * np.minimum(a, b)).astype(np.float32)
    blend(hu, soft(skin, space.fine), FAT)
    blend(hu, soft(skin, space.fine) * soft(2.2 - skin, space.fine), 10)
    if h.breast:
        for side in (-1, 1):
            reach = (38 * h.breast, 26 * h.breast, 40 * h.breast)
            part, breast = space.ellipsoid((side * 72, -h.half_depth * 0.86, -8), reach)
            blend(hu, breast, FAT, part)
            part, gland = space.ellipsoid(
                (side * 70, -h.half_depth * 0.9, -8), tuple(0.45 * r for r in reach)
            )
            blend(hu, 0.7 * gland, 35, part)
    blend(hu, soft(skin - h.fat * (0.75 + 0.25 * np.abs(x / a)), space.fine), MUSCLE)
    for side in (-1, 1):  # shoulder blades and the fat between the muscles
        near = np.abs(np.abs(x) - 92 - 0.12 * (z - 60)) + 0 * y
        plate = soft(2.6 - np.abs(skin - h.fat - 16), space.fine) * (side * x > 45) * (y > 8) * (near < 34)
        blend(hu, plate * soft(60 - np.abs(z - 74), 4), 380 * h.bone)
    layer = soft(1.6 - np.abs(skin - h.fat - 9), space.fine)
    blend(hu, 0.75 * layer, FAT)


def _cage(space: Space, h: Habitus) -> np.ndarray:
    """Distance inside the rib cage."""
    x, y, z = space.x, space.y, space.z
    a, b = h.half_width - h.fat - 19, h.half_depth - 0.8 * h.fat - 21
    up = np.clip((z - 5) / 128, 0, 1)
    size = np.sqrt(np.maximum(1 - up**2.3, 0.0025)) * (1 - 0.04 * np.clip((-z - 60) / 100, 0, 1))
    rho = (np.abs(x / (a * size)) ** 2.2 + np.abs((y + 5) / (b * size)) ** 2.2) ** np.float32(1 / 2.2)
    return np.asarray((1 - rho) * np.minimum(a, b) * np.sqrt(size), np.float32)


def _dome(space: Space, h: Habitus, top: float, at: float) -> np.ndarray:
    """(1, Y, X) height of a dome of the diaphragm."""
    half = h.half_width - h.fat - 19
    return (top - 34 * ((space.x - at * half) / (0.62 * half)) ** 2 - 62 * ((space.y + 22) / 92) ** 2).astype(
        np.float32
    )


def _abdomen(
    space: Space, h: Habitus, hu: np.ndarray, cage: np.ndarray, floor: np.ndarray, rng: np.random.Generator
) -> None:
    below = soft(floor - space.z, space.fine) * soft(cage - 1, space.fine)
    blend(hu, below, FAT)
    liver = below * soft(34 - space.x + 0.25 * space.y, 4) * soft(floor - space.z - 1, space.fine)
    blend(hu, liver, LIVER + float(rng.normal(0, 6)))
    part, spleen = space.ellipsoid((92, 38, -128), (36, 34, 46))
    blend(hu, spleen * below[part], SPLEEN, part)
    part, stomach = space.ellipsoid((58, -26, -124), (42, 40, 34))
    blend(hu, stomach * below[part], 30, part)
    part, bubble = space.ellipsoid((56, -44, -116), (30, 17, 22))
    blend(hu, bubble * below[part], -940, part)


def rib_distance(space: Space, cage: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance along the body to the nearest rib in mm, angle from the back (0 … pi), number of the rib."""
    angle = np.arctan2(np.abs(space.x), space.y - 34)
    level = (space.z + RIB_DROP * angle / np.float32(np.pi) - 4) / np.float32(RIB_STEP)
    number = np.round(level)
    return (level - number) * np.float32(RIB_STEP), angle, number


def _ribs(space: Space, h: Habitus, hu: np.ndarray, cage: np.ndarray) -> None:
    away, angle, number = rib_distance(space, cage)
    shell = (cage + 6) / np.float32(4.6)
    rho = np.hypot(shell, away / np.float32(5.2))
    front = angle > 0.84 * np.pi
    tall = np.maximum(space.voxel[0], 2.5)
    bone = soft((1 - rho) * 4.6, space.fine) * (space.z < 112) * (number < 6)
    edge = np.clip((rho - 0.35) / 0.4, 0, 1)
    value = np.where(front, np.float32(CARTILAGE), (230 + 420 * edge) * np.float32(h.bone))
    blend(hu, bone, value)
    plate = soft(17 - np.abs(space.x) - 0.04 * np.abs(space.z), space.fine) * (space.y < 0)
    sternum = plate * soft(5 - np.abs(cage + 8), space.fine) * soft(74 - np.abs(space.z - 6), tall)
    rim = np.clip(np.abs(cage + 8) / 5, 0, 1)
    blend(hu, sternum, (130 + 330 * rim) * np.float32(h.bone))
    for side in (-1, 1):
        blend(
            hu,
            space.tube([(side * 14, -70, 84), (side * 62, -66, 104), (side * 112, -34, 118)], 6),
            480 * h.bone,
        )


def _spine(space: Space, h: Habitus, hu: np.ndarray, cage: np.ndarray) -> None:
    x, z = space.x, space.z
    y = space.y - np.float32(SPINE_Y + 0.8 * (h.half_depth - 112)) - 8 * np.exp(-(((z - 20) / 80) ** 2))
    r = np.hypot(x / 19, y / 16)
    phase = np.abs((z / DISC_STEP) - np.round(z / DISC_STEP)) * DISC_STEP
    body = soft((1 - r) * 16, space.fine)
    disc = soft(2.8 - phase, 2.5)
    edge = np.clip((r - 0.72) / 0.22, 0, 1)
    bone = (MARROW + 330 * np.maximum(edge, np.clip(1 - (phase - 2.8) / 3.5, 0, 1))) * np.float32(h.bone)
    blend(hu, body, bone * (1 - disc) + 85 * disc)
    canal = soft(9 - np.hypot(x, (y - 25) * 1.1), space.fine)
    arch = soft(14 - np.hypot(x, (y - 25) * 1.0), space.fine) * (1 - canal) * soft(10 - phase + 4, 4)
    blend(hu, arch, 420 * h.bone)
    blend(hu, canal, 22)
    spinous = soft(3.2 - np.abs(x), space.fine) * soft(9 - np.abs(y - 45), space.fine) * soft(phase - 3, 4)
    wings = (
        soft(4 - np.abs(y - 26 - 0.3 * np.abs(x)), space.fine) * soft(32 - np.abs(x), 3) * soft(phase - 4, 4)
    )
    blend(hu, np.maximum(spinous, 0.9 * wings * (1 - canal)), 400 * h.bone)


def _organs(p: Phantom) -> None:
    """Heart, great vessels, windpipe and gullet."""
    space, hu, h = p.space, p.hu, p.habitus
    scale = h.heart
    centre = (20 + 6 * (scale - 1) * 10, -28.0, -40 - h.breath * 0.6)
    radii = (60 * scale, 43 * scale, 46 * scale)
    p.heart_centre, p.heart_radii = centre, radii
    turn = float(np.deg2rad(-28))

    def inner(dx: float, dy: float, dz: float, rx: float, ry: float, rz: float) -> None:
        at = (centre[0] + dx * scale, centre[1] + dy * scale, centre[2] + dz * scale)
        part, mask = space.ellipsoid(at, (rx * scale, ry * scale, rz * scale), turn)
        blend(hu, mask, h.blood, part)

    for grow_by, value in ((7.0, FAT), (4.6, 30.0), (3.2, FAT), (0.0, max(46.0, 0.45 * h.blood))):
        part, mask = space.ellipsoid(centre, tuple(r + grow_by for r in radii), turn)
        keep = p.cage[part] > 4
        blend(hu, mask * keep, value, part)
    inner(20, -4, -10, 27, 17, 26)
    inner(-16, -24, -10, 30, 13, 27)
    inner(0, 26, 14, 34, 14, 20)
    inner(-38, -2, 4, 17, 20, 26)
    a = h.aorta
    for line, radius in (
        ([(14, -36, -6), (17, -30, 18), (26, -14, 24), (44, -4, 16)], [13, 13, 11, 9]),
        ([(16, -28, 18), (0, -12, 16), (-24, -8, 12), (-44, -4, 8)], [11, 10, 10, 8]),
        ([(-25, -20, 112), (-26, -20, 60), (-28, -20, -6)], [7, 9, 10]),
        ([(-24, -26, 76), (0, -32, 80), (24, -26, 92)], [6, 6, 6]),
        ([(-4, -16, 58), (-20, -20, 96), (-28, -14, 150)], [7, 6, 5]),
        ([(9, -4, 58), (22, -8, 100), (30, -8, 150)], [5, 5, 5]),
        (AORTA, [16 * a, 16 * a, 15.5 * a, 14 * a, 13 * a, 12 * a, 11.5 * a, 11.5 * a, 11 * a, 11 * a]),
    ):
        tube = space.tube(line, radius)
        halo = np.clip(space.tube(line, np.asarray(radius) + 3.0) - tube, 0, 1) * (p.deep < 2)
        blend(hu, 0.8 * halo, FAT)
        blend(hu, tube, h.blood)
    blend(hu, space.tube(GULLET, 8.0), 35)
    blend(hu, space.tube(GULLET[:3], 2.0), -700)
    wind = [space.tube(AIRWAY, 11.0), *(space.tube(b, [10.0, 8.5, 7.5]) for b in BRONCHI.values())]
    hole = [space.tube(AIRWAY, 8.8), *(space.tube(b, [7.6, 6.4, 5.6]) for b in BRONCHI.values())]
    blend(hu, np.maximum.reduce(wind), 30)
    blend(hu, np.maximum.reduce(hole), -990)
    part, thyroid = space.ellipsoid((0, -18, 150), (26, 10, 14))
    blend(hu, 0.9 * thyroid * (hu[part] > -500), 100, part)


def _trees(p: Phantom, rng: np.random.Generator) -> None:
    """Vessels and airways that branch from the hila into the lungs."""
    space = p.space
    vessels = np.zeros(space.shape, np.float32)
    walls = np.zeros(space.shape, np.float32)
    holes = np.zeros(space.shape, np.float32)
    for side, hilum in HILA.items():
        inside = np.flatnonzero((p.deep > 4) & (p.half(side) > 0))
        if not len(inside):
            continue
        root = np.array(hilum)
        for count, leaf, offset in ((190, 0.72, (0, -5, 2)), (110, 0.7, (0, 4, -12))):
            ends = p.at(rng.choice(inside, count))
            tree = grow(root + offset, ends, leaf, rng)
            vessels += filled(space, tree, rng)
        ends = p.at(rng.choice(inside, 60))
        tree = grow(np.array(BRONCHI[side][-1]), root + 0.72 * (ends - root), 1.0, rng)
        p.airways[side] = tree
        holes += filled(space, tree.only(tree.radius > 1.2), rng)
        walls += filled(space, tree.only(tree.radius > 1.2).wider(1.2, 0.5), rng)
    p.vessels = np.minimum(vessels, 1)
    blend(p.hu, np.minimum(walls, 1), 0.0)
    blend(p.hu, np.minimum(holes, 1), -985)
    blend(p.hu, p.vessels, p.habitus.blood)
