"""The grid of a volume in millimetres, and solids on it.

x rises to the patient's left, y to the back, z to the head, from the middle of the field of view. A patient
who lies turned has turned coordinates: x and y are (1, Y, X), z is (Z, 1, 1). Masks are float32 in [0, 1],
with an edge one voxel wide, so that a border inside a voxel gives its share of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

FIELD = 360.0
HEIGHT = 336.0
"""Millimetres of the field of view in the plane and along the body."""
SLICES = 0.6
"""Slices of a volume as a share of its side in voxels."""
Part = tuple[slice, slice, slice]
Point = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Space:
    """x, y: (1, Y, X), z: (Z, 1, 1) float32 in mm. voxel: (z, y, x) in mm. turn: radians about the body's
    axis; shift: (x, y) in mm of the patient on the table."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    voxel: tuple[float, float, float]
    turn: float
    shift: tuple[float, float]

    @classmethod
    def of(cls, side: int, turn: float = 0.0, shift: tuple[float, float] = (0.0, 0.0)) -> Space:
        """A volume of (0.6 side, side, side) voxels."""
        count = max(round(SLICES * side), 2)
        step, rise = FIELD / side, HEIGHT / count
        line = ((np.arange(side) + 0.5) * step - FIELD / 2).astype(np.float32)
        px, py = line[None, None, :] - np.float32(shift[0]), line[None, :, None] - np.float32(shift[1])
        c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        z = ((np.arange(count) + 0.5) * rise - HEIGHT / 2).astype(np.float32)[:, None, None]
        return cls(c * px + s * py, c * py - s * px, z, (rise, step, step), turn, shift)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.z.shape[0], self.x.shape[1], self.x.shape[2]

    @property
    def fine(self) -> float:
        """Side of a voxel in the plane, in mm."""
        return self.voxel[2]

    def places(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) x, y, z in mm → (N, 3) z, y, x in voxels."""
        c, s = np.cos(self.turn), np.sin(self.turn)
        x = c * points[:, 0] - s * points[:, 1] + self.shift[0]
        y = s * points[:, 0] + c * points[:, 1] + self.shift[1]
        rise, step, _ = self.voxel
        return np.stack(
            [(points[:, 2] + HEIGHT / 2) / rise, (y + FIELD / 2) / step, (x + FIELD / 2) / step], 1
        ) - np.float32(0.5)

    def part(self, centre: Point, reach: float) -> Part:
        """Voxels within `reach` mm of a point along each axis."""
        at = self.places(np.array([centre], float))[0]
        edges = []
        for middle, step, count in zip(at, self.voxel, self.shape, strict=True):
            low, high = int(np.floor(middle - reach / step)) - 1, int(np.ceil(middle + reach / step)) + 2
            edges.append(slice(min(max(low, 0), count), min(max(high, 0), count)))
        return edges[0], edges[1], edges[2]

    def offsets(self, part: Part, centre: Point) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y, z of the voxels of a part, from a point."""
        plane = (slice(None), part[1], part[2])
        return (
            self.x[plane] - np.float32(centre[0]),
            self.y[plane] - np.float32(centre[1]),
            self.z[part[0]] - np.float32(centre[2]),
        )

    def ellipsoid(self, centre: Point, radii: Point, angle: float = 0.0) -> tuple[Part, np.ndarray]:
        """angle: radians by which the first two axes are turned about z."""
        part = self.part(centre, max(radii) + 2)
        dx, dy, dz = self.offsets(part, centre)
        if angle:
            c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
            dx, dy = c * dx + s * dy, c * dy - s * dx
        rho = np.sqrt(
            (dx / np.float32(radii[0])) ** 2
            + (dy / np.float32(radii[1])) ** 2
            + (dz / np.float32(radii[2])) ** 2
        )
        return part, soft((1 - rho) * np.float32(min(radii)), self.fine)

    def tube(self, points: Sequence[Point] | np.ndarray, radius: float | Point) -> np.ndarray:
        """(Z, Y, X): capsules along a line, of one radius or one a point."""
        out = np.zeros(self.shape, np.float32)
        line = np.asarray(points, np.float32)
        radii = np.broadcast_to(np.asarray(radius, np.float32), (len(line),))
        for p, q, r, t in zip(line[:-1], line[1:], radii[:-1], radii[1:], strict=True):
            part = self.part((p + q) / 2, float(np.linalg.norm(q - p)) / 2 + float(max(r, t)) + 2)
            dx, dy, dz = self.offsets(part, p)
            d = q - p
            along = np.clip((dx * d[0] + dy * d[1] + dz * d[2]) / max(float(d @ d), 1e-6), 0, 1)
            away = np.sqrt((dx - along * d[0]) ** 2 + (dy - along * d[1]) ** 2 + (dz - along * d[2]) ** 2)
            np.maximum(out[part], soft(r + (t - r) * along - away, self.fine), out=out[part])
        return out

    def noise(self, scale: float, rng: np.random.Generator) -> np.ndarray:
        """(Z, Y, X) smooth noise of about unit deviation with structures of `scale` mm."""
        counts = [
            max(int(np.ceil(n * v / scale)) + 2, 3) for n, v in zip(self.shape, self.voxel, strict=True)
        ]
        coarse = rng.standard_normal(counts).astype(np.float32)
        for axis, (n, v) in enumerate(zip(self.shape, self.voxel, strict=True)):
            at = np.arange(n) * (v / scale) + rng.random()
            low = np.floor(at).astype(int)
            shape = [-1 if i == axis else 1 for i in range(3)]
            w = (at - low).astype(np.float32).reshape(shape)
            w = w * w * (3 - 2 * w)
            coarse = coarse.take(low, axis) * (1 - w) + coarse.take(low + 1, axis) * w
        return np.asarray(coarse * np.float32(1.6))

    def splat(self, points: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(Z, Y, X): volumes in mm³ at points as the share of each voxel that they fill."""
        at = self.places(points)
        low = np.floor(at).astype(np.int64)
        rest = (at - low).astype(np.float32)
        z, y, x = self.shape
        out = np.zeros(z * y * x, np.float64)
        for corner in np.ndindex(2, 2, 2):
            i = low + corner
            w = weights * np.prod(np.where(np.array(corner) == 1, rest, 1 - rest), axis=1)
            inside = ((i >= 0) & (i < self.shape)).all(1)
            out += np.bincount(
                ((i[:, 0] * y + i[:, 1]) * x + i[:, 2])[inside], weights=w[inside], minlength=out.size
            )
        share = out.reshape(self.shape) / np.prod(self.voxel)
        return np.minimum(share, 1).astype(np.float32)


def soft(inside: np.ndarray, voxel: float) -> np.ndarray:
    """Signed distance in mm, positive inside → share of the voxel."""
    return np.clip(inside / np.float32(voxel) + np.float32(0.5), 0, 1)


def blur(values: np.ndarray, voxels: float) -> np.ndarray:
    return np.asarray(ndimage.gaussian_filter(values, voxels, mode="nearest", truncate=3.0))


def blend(hu: np.ndarray, mask: np.ndarray, value: float | np.ndarray, part: Part | None = None) -> None:
    """Put a tissue in place of what is there, by its share."""
    target = hu if part is None else hu[part]
    target += mask * (np.asarray(value, np.float32) - target)
