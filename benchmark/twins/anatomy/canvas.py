"""What painters draw on: the attenuation map and the places of the organs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from benchmark.twins.anatomy.shape import Shape
from benchmark.twins.geometry import soften

AIR_DEPTH = 1.55
"""Attenuation that a full lung lacks against soft tissue of the same thickness."""

# Where along the height of the lung a place lies (fractions from the apex to the base).
ZONES: dict[str, tuple[float, float]] = {
    "apex": (0.06, 0.2),
    "upper lobe": (0.14, 0.42),
    "upper lung zone": (0.14, 0.4),
    "perihilar region": (0.4, 0.6),
    "mid lung": (0.42, 0.62),
    "middle lobe": (0.58, 0.8),
    "lingula": (0.58, 0.8),
    "lower lobe": (0.6, 0.88),
    "lower lung zone": (0.62, 0.88),
    "base": (0.76, 0.92),
    "costophrenic angle": (0.86, 0.97),
}


@dataclass
class Canvas:
    """depth: (S, S) attenuation; air: share of AIR_DEPTH that is missing per pixel, 0 outside the lungs;
    vessels: the vascular part of depth. Lungs of a lateral view are one shape under both sides.
    Keys of points, curves and masks are the same in every view where the structure exists.
    """

    size: int
    view: Literal["PA", "AP", "L"]
    shape: Shape
    depth: np.ndarray
    air: np.ndarray
    vessels: np.ndarray
    lungs: dict[str, np.ndarray]
    points: dict[str, tuple[float, float]] = field(default_factory=dict)
    curves: dict[str, np.ndarray] = field(default_factory=dict)
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    ribs: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rows: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    @property
    def lateral(self) -> bool:
        return self.view == "L"

    def rows(self, side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row numbers of a lung, and its first and last column on each, heart and mediastinum left out."""
        if side not in self._rows:
            inside = self.lungs[side] * (1 - self.masks["solid"]) > 0.4
            rows = np.flatnonzero(inside.sum(1) > 0.03 * self.size)
            part = inside[rows]
            self._rows[side] = (rows, part.argmax(1), self.size - 1 - part[:, ::-1].argmax(1))
        return self._rows[side]

    def outward(self, side: str) -> int:
        """Direction from the spine to the lateral wall in a frontal view: +1 is the image's right."""
        return -1 if side == "right" else 1

    def spot(
        self,
        side: str,
        place: str | None,
        rng: np.random.Generator,
        lateral: tuple[float, float] = (0.2, 0.85),
    ) -> tuple[float, float]:
        """A point of the lung in the zone `place`; `lateral`: range from mediastinum (0) to wall (1)."""
        low, high = ZONES.get(place or "", (0.15, 0.85))
        v, u = rng.uniform(low, high), rng.uniform(*lateral)
        if self.lateral:
            u = 0.25 + 0.5 * ((u * 7.31 + v * 3.17) % 1)
        rows, first, last = self.rows(side)
        row = min(int(v * len(rows)), len(rows) - 1)
        if self.outward(side) < 0 and not self.lateral:
            u = 1 - u
        column = first[row] + u * (last[row] - first[row])
        return (float(column) + 0.5) / self.size, (float(rows[row]) + 0.5) / self.size

    def level(self, side: str, fraction: float) -> float:
        """y at a fraction of the height of the lung."""
        rows, _, _ = self.rows(side)
        return (float(rows[min(int(fraction * len(rows)), len(rows) - 1)]) + 0.5) / self.size

    def opacify(self, alpha: np.ndarray) -> np.ndarray:
        """Fill a share alpha of the lung's air with tissue; returns the attenuation added, over AIR_DEPTH."""
        added: np.ndarray = self.air * alpha
        hidden = self.vessels * alpha  # vessels are seen only against air
        self.depth += AIR_DEPTH * added - hidden
        self.air -= added
        self.vessels -= hidden
        return added

    def aerate(self, alpha: np.ndarray) -> np.ndarray:
        """Take tissue out of the lung: alpha is the share of AIR_DEPTH removed."""
        removed = np.minimum(alpha * AIR_DEPTH, np.maximum(self.depth - 0.18, 0))
        self.depth -= removed
        return removed / AIR_DEPTH

    def add(self, alpha: np.ndarray, amount: float) -> np.ndarray:
        """Overlay something: bone, calcium, metal, fluid outside the lung."""
        self.depth += alpha * np.float32(amount)
        return alpha

    def wall(self, side: str, sigma: float = 0.02) -> np.ndarray:
        """(S, S), high in a rim along the edge of a lung."""
        lung = self.lungs[side]
        rim: np.ndarray = lung * (1 - soften(lung, sigma)) * 2
        return rim


def sides_of(side: str | None) -> Iterator[str]:
    """left, right → itself; bilateral → both; none → right."""
    if side == "bilateral":
        yield "right"
        yield "left"
    else:
        yield side or "right"
