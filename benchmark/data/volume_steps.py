"""From a volume of any spacing to the fixed grid of an encoder of volumes: the published ways, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from benchmark.core.errors import UnknownName
from benchmark.data.volume_grid import AIR, Volume


class VolumeSteps(BaseModel):
    """One preprocessing of volumes.

    spacing: (z, y, x) in mm. shape: (Z, Y, X). low, high: Hounsfield units that values are cut to.
    grid: `corner`, size round(n · old / new), first voxel centres coincide (SimpleITK, as BrgSA calls it), or
    `centre`, size truncated, the whole extents coincide (torch interpolate without align_corners, CT-CLIP).
    pad: Hounsfield units around a volume that is smaller than the grid.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spacing: tuple[float, float, float]
    shape: tuple[int, int, int]
    low: int = -1000
    high: int = 1000
    grid: Literal["corner", "centre"] = "centre"
    pad: int = -1000


STEPS = {
    "brgsa": VolumeSteps(spacing=(3.0, 1.5, 1.5), shape=(128, 256, 256), grid="corner", pad=AIR),
    "ct-clip": VolumeSteps(spacing=(1.5, 0.75, 0.75), shape=(240, 480, 480)),
    "slices": VolumeSteps(spacing=(7.0, 2.8, 2.8), shape=(48, 128, 128)),
    "compact": VolumeSteps(spacing=(3.5, 2.25, 2.25), shape=(96, 160, 160)),
}
"""brgsa: laihaoran/BrgSA `preprocess/*.py`. ct-clip: ibrahimethemhamamci/CT-CLIP, `data_inference_nii.py`.
compact: a whole chest (336 x 360 x 360 mm) at a size that a CPU trains on; ours.
slices: the same chest as 48 slices of 128 x 128, the size that the encoder of planes takes; ours."""


def volume_steps(name: str) -> VolumeSteps:
    """Raises UnknownName."""
    if name not in STEPS:
        raise UnknownName("preprocessing of volumes", name, STEPS)
    return STEPS[name]


def apply_steps(volume: Volume, steps: VolumeSteps) -> np.ndarray:
    """(Z, Y, X) int16 of `steps.shape`: linear resampling, centre crop, centre pad, cut.

    Of an odd number of surplus voxels `corner` takes one more from the lower side, `centre` from the upper;
    of missing ones both put one more to the upper side. Planes are resampled one by one, so that memory holds
    the volume and the result.
    """
    places = [
        _places(n, old, new, steps.grid)
        for n, old, new in zip(volume.hu.shape, volume.spacing, steps.spacing, strict=True)
    ]
    cuts = [_cut(len(p), want, steps.grid) for p, want in zip(places, steps.shape, strict=True)]
    z, y, x = (p[cut] for p, (cut, _) in zip(places, cuts, strict=True))
    planes = np.empty((volume.hu.shape[0], len(y), len(x)), dtype=np.float32)
    for k, plane in enumerate(volume.hu):
        planes[k] = _linear(_linear(plane.astype(np.float32), y, 0), x, 1)
    result = _linear(planes, z, 0)
    if steps.grid == "corner":  # what lies more than half a voxel beyond the last centre is no patient
        for axis, (at, n) in enumerate(zip((z, y, x), volume.hu.shape, strict=True)):
            beyond = at >= n - 0.5
            if beyond.any():
                np.moveaxis(result, axis, 0)[beyond] = AIR
    out = np.full(steps.shape, np.clip(steps.pad, steps.low, steps.high), dtype=np.int16)
    inside = tuple(slice(before, before + n) for (_, before), n in zip(cuts, result.shape, strict=True))
    out[inside] = np.clip(np.rint(result), steps.low, steps.high)
    return out


def frontal(volume: np.ndarray, side: int, low: int = -1000, high: int = 1000) -> np.ndarray:
    """(Z, Y, X) int16 → (side, side) uint8: the mean from front to back, head above, like a radiograph."""
    import cv2

    flat = np.clip(volume, low, high).astype(np.float32).mean(axis=1)[::-1]
    grey = (flat - low) / (high - low) * 255
    return np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)).astype(np.uint8)


def _places(count: int, old: float, new: float, grid: str) -> np.ndarray:
    """Where the new voxel centres lie, in old voxels."""
    if grid == "corner":
        return np.arange(max(int(np.round(count * old / new)), 1)) * (new / old)
    size = max(int(count * old / new), 1)
    return (np.arange(size) + 0.5) * (count / size) - 0.5


def _cut(have: int, want: int, grid: str) -> tuple[slice, int]:
    """Which of `have` places are kept, and how many voxels of padding come before them."""
    if have <= want:
        return slice(0, have), (want - have) // 2
    start = -(-(have - want) // 2) if grid == "corner" else (have - want) // 2
    return slice(start, start + want), 0


def _linear(values: np.ndarray, places: np.ndarray, axis: int) -> np.ndarray:
    """float32 values at places along one axis; beyond the ends the border value."""
    last = values.shape[axis] - 1
    at = np.clip(places, 0, last)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, last)
    shape: Sequence[int] = [-1 if i == axis else 1 for i in range(values.ndim)]
    weight = (at - low).astype(np.float32).reshape(shape)
    result: np.ndarray = values.take(low, axis) * (1 - weight) + values.take(high, axis) * weight
    return result
