"""A map of three dimensions in the voxels of its volume, and how well it marks a mask drawn there.

A map has one value a token (z, y, x), several centimetres wide. Between the centres of tokens it is
interpolated, as maps of radiographs are; what the encoder's crop leaves out has no value.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmark.data.volume_grid import Volume
from benchmark.data.volume_steps import VolumeSteps
from benchmark.evaluation.grounding import UNSEEN
from benchmark.evaluation.localisation import LocalisationMetrics, measured
from benchmark.evaluation.volume_masks import DrawnMasks

Places = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Drawn:
    """A lesion of a twin. voxels: (Z, Y, X) bool; touched: (*grid) bool, tokens that it touches."""

    voxels: np.ndarray
    touched: np.ndarray


def token_places(volume: Volume, steps: VolumeSteps, grid: tuple[int, int, int]) -> Places:
    """For each axis the place of every voxel on the map, in tokens (0 is the centre of the first one), NaN
    where the encoder does not see it. The inverse of `volume_steps.apply_steps`."""
    z, y, x = (
        _along(count, old, new, want, tokens, steps.grid)
        for count, old, new, want, tokens in zip(
            volume.hu.shape, volume.spacing, steps.spacing, steps.shape, grid, strict=True
        )
    )
    return z, y, x


def _along(count: int, old: float, new: float, want: int, tokens: int, grid: str) -> np.ndarray:
    voxels = np.arange(count, dtype=np.float64)
    if grid == "corner":
        size = max(int(np.round(count * old / new)), 1)
        at = voxels * (old / new)
    else:
        size = max(int(count * old / new), 1)
        at = (voxels + 0.5) * (size / count) - 0.5
    surplus = size - want
    first = 0
    if surplus > 0:
        first = -(-surplus // 2) if grid == "corner" else surplus // 2
    row = at - first + max(-surplus, 0) // 2
    seen = (row >= -0.5) & (row <= want - 0.5)
    return np.where(seen, (row + 0.5) * tokens / want - 0.5, np.nan)


def sample(tokens: np.ndarray, places: Sequence[np.ndarray]) -> np.ndarray:
    """(*grid) map → (len z, len y, len x) float32 at the places, linear between the centres of tokens, the
    border value beyond them, UNSEEN where a place is NaN."""
    values = tokens.astype(np.float64)
    seen = np.ones((1, 1, 1), dtype=bool)
    for axis, at in enumerate(places):
        shape = [-1 if a == axis else 1 for a in range(3)]
        seen = seen & ~np.isnan(at).reshape(shape)
        inside = np.clip(np.nan_to_num(at), 0, tokens.shape[axis] - 1)
        low = np.floor(inside).astype(int)
        high = np.minimum(low + 1, tokens.shape[axis] - 1)
        weight = (inside - low).reshape(shape)
        values = values.take(low, axis) * (1 - weight) + values.take(high, axis) * weight
    return np.where(seen, values, UNSEEN).astype(np.float32)


def highest_voxel(tokens: np.ndarray, places: Sequence[np.ndarray]) -> tuple[int, int, int]:
    """(z, y, x) of the voxel nearest to the centre of the highest token, the first among equal ones."""
    best = np.unravel_index(int(tokens.argmax()), tokens.shape)
    z, y, x = (int(np.nanargmin(np.abs(at - cell))) for at, cell in zip(places, best, strict=True))
    return z, y, x


def fullest_voxel(mask: np.ndarray) -> tuple[int, int, int]:
    """(z, y, x), for each axis the plane that holds most of a (Z, Y, X) mask."""
    z, y, x = (int(mask.sum(axis=tuple(a for a in range(3) if a != own)).argmax()) for own in range(3))
    return z, y, x


def drawn_lesion(
    root: Path,
    image: str,
    concepts: Collection[str],
    volume: Volume,
    steps: VolumeSteps,
    grid: tuple[int, int, int],
) -> Drawn | None:
    """What the twin at `root` drew of these concepts in an image; None where nothing of it lies in what the
    encoder sees. Raises DataError where there are no masks."""
    masks = DrawnMasks(root)
    wanted = {image: [("", frozenset(concepts))]}
    whole = VolumeSteps(spacing=volume.spacing, shape=volume.hu.shape, grid="corner")
    touched = [cells for *_, cells in masks.cells(wanted, steps, grid)]
    voxels = [cells for *_, cells in masks.cells(wanted, whole, volume.hu.shape)]
    return Drawn(voxels[0], touched[0]) if touched and voxels else None


def measured_volume(
    tokens: np.ndarray, places: Sequence[np.ndarray], lesion: Drawn, attention: bool
) -> LocalisationMetrics:
    """Whether the lesion touches the highest token, and the share of tokens that it touches, as the task
    `volume_grounding` counts; CNR, IoU and Dice over voxels."""
    voxels = sample(tokens, places)
    flat = (len(voxels), -1)
    found = measured(voxels.reshape(flat), lesion.voxels.reshape(flat), attention)
    hit = bool(lesion.touched.reshape(-1)[int(tokens.argmax())])
    return replace(found, hit=hit, chance=float(lesion.touched.mean()))
