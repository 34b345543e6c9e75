"""What was put into the patient."""

from __future__ import annotations

import numpy as np

from benchmark.twins.ct.body import AORTA, Phantom
from benchmark.twins.ct.findings.base import Stroke, whole
from benchmark.twins.ct.space import blend, soft

METAL = 2600.0


def _lay(p: Phantom, mask: np.ndarray, value: float = METAL) -> list[np.ndarray]:
    blend(p.hu, mask, value)
    return [mask]


def pacemaker(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """A can below the collar bone and leads to the right heart."""
    front = -p.habitus.half_depth * 0.82 + p.habitus.fat
    at = (78.0, front, 78.0)
    part, can = p.space.ellipsoid(at, (22, 6, 20))
    lead = p.space.tube(
        [
            (70, front, 88),
            (40, -40, 104),
            (4, -26, 88),
            (-25, -20, 60),
            (-28, -20, -10),
            (0, -30, -40),
            (34, -48, -66),
        ],
        2.2,
    )
    blend(p.hu, can, METAL, part)
    return _lay(p, np.maximum(lead, whole(p, part, can)))


def catheter(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """A line in the superior vena cava, with a port where the options say so."""
    line = p.space.tube([(-60, -66, 108), (-28, -24, 100), (-26, -20, 60), (-28, -20, 8)], 2.4)
    if s.options.get("port"):
        part, port = p.space.ellipsoid((-70, -p.habitus.half_depth * 0.85 + p.habitus.fat, 84), (12, 7, 12))
        line[part] = np.maximum(line[part], port)
    return _lay(p, line, 1500)


def wires(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """Loops of wire around the breast bone."""
    out = np.zeros(p.space.shape, np.float32)
    ahead = np.flatnonzero((p.cage[p.space.shape[0] // 2, :, p.space.shape[2] // 2]) > -8)
    y = float(p.space.y[0, ahead[0], p.space.shape[2] // 2]) if len(ahead) else -90.0
    for z in (-50, -28, -6, 16, 38, 58):
        ring = [(11 * np.cos(t), y + 8 * np.sin(t), z) for t in np.linspace(0, 2 * np.pi, 9)]
        out = np.maximum(out, p.space.tube(ring, 1.6))
    return _lay(p, out, 2400)


def drain(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """A tube through the chest wall into the pleura."""
    sign = -1 if s.sides[0] == "right" else 1
    a = p.habitus.half_width
    line = [
        (sign * a, 0, -40),
        (sign * (a - 44), 10, -30),
        (sign * (a - 56), 30, 20),
        (sign * (a - 80), 30, 62),
    ]
    tube = p.space.tube(line, 4.2)
    blend(p.hu, tube, 450)
    blend(p.hu, p.space.tube(line, 1.8), -900)
    return [tube]


def stent(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """A mesh inside the descending aorta."""
    r = 11.5 * p.habitus.aorta
    outer, inner = p.space.tube(AORTA[4:7], r), p.space.tube(AORTA[4:7], r - 2.6)
    mesh = np.clip(outer - inner, 0, 1) * (0.55 + 0.45 * soft(2.5 - np.abs(p.space.z % 12 - 6), 2))
    return _lay(p, mesh.astype(np.float32), 2000)


def valve(p: Phantom, s: Stroke) -> list[np.ndarray]:
    """A ring at the root of the aorta."""
    t = np.linspace(0, 2 * np.pi, 13)
    ring = [(-4 + 14 * np.cos(a), -27 + 11 * np.sin(a), -8 + 6 * np.cos(a)) for a in t]
    return _lay(p, p.space.tube(ring, 2.2))
