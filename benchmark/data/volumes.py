"""CT volumes: reading any file of one, and resampling, crop, padding and intensity as BrgSA does it.

`read_volume` gives the standard orientation of `volume_grid`. In the steps after it arrays are Hounsfield
units in the order (Z, Y, X), and spacing is (x, y, z) in mm, as image headers give it.
Source: laihaoran/BrgSA `preprocess/*.py`, `gloria/gloria.py`. Differs from it in `outside`: where the last
slice of a coarse volume lies beyond its voxels the official code fills with 0 HU, which is brighter than
air; here the default is air, and 0 is asked for by the parity check alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmark.core.errors import DataError
from benchmark.data.dicom_series import read_series
from benchmark.data.nifti import read_nifti
from benchmark.data.volume_grid import Told, Volume
from benchmark.data.volume_npz import read_npz

SPACING_XYZ = (1.5, 1.5, 3.0)
SHAPE_ZYX = (128, 256, 256)
AIR = -1024.0
RANGE = (-1000.0, 1000.0)
MEAN, STD = 0.4978, 0.2449


SUFFIXES = (".nii", ".nii.gz", ".npz")


def read_volume(path: Path | str, told: Told | None = None) -> Volume:
    """One volume: a NIfTI file, a folder with a DICOM series, or a numpy archive.

    hu: (Z, Y, X) int16 Hounsfield units, z to the head, y to the back, x to the patient's left; spacing:
    (z, y, x) in mm. told: what the dataset's tables say where a header is wrong or silent. Raises DataError,
    one line that names the file.
    """
    path = Path(path)
    if path.is_dir():
        return read_series(path)
    name = path.name.lower()
    if name.endswith(".npz"):
        return read_npz(path, told)
    if name.endswith(SUFFIXES):
        return read_nifti(path, told)
    raise DataError(f"{path}: neither .nii, .nii.gz, .npz nor a folder of DICOM slices. Convert it.")


def resample(
    volume: np.ndarray,
    spacing_xyz: Sequence[float],
    target_xyz: Sequence[float] = SPACING_XYZ,
    outside: float = AIR,
) -> np.ndarray:
    """(Z, Y, X) → linear resampling to `target_xyz` mm, size round(n · spacing / target), float32.

    Voxel centres of the first voxel coincide. A point up to half a voxel beyond the outermost centres takes
    the border value; beyond that, `outside`.
    """
    if volume.ndim != 3:
        raise DataError(f"volume: expected three axes (z, y, x), got shape {volume.shape}.")
    if min(spacing_xyz) <= 0:
        raise DataError(f"volume: spacing must be positive, got {tuple(map(float, spacing_xyz))}.")
    result = volume.astype(np.float64)
    ratios = [t / s for t, s in zip(target_xyz, spacing_xyz, strict=True)][::-1]  # z, y, x
    masks = []
    for axis, ratio in enumerate(ratios):
        size = volume.shape[axis]
        count = int(np.round(size / ratio))
        place = np.arange(count) * ratio
        masks.append(place < size - 0.5)
        place = np.clip(place, 0, size - 1)
        low = np.floor(place).astype(int)
        high = np.minimum(low + 1, size - 1)
        shape = [1, 1, 1]
        shape[axis] = -1
        weight = (place - low).reshape(shape)
        result = result.take(low, axis) * (1 - weight) + result.take(high, axis) * weight
    valid = masks[0][:, None, None] & masks[1][None, :, None] & masks[2][None, None, :]
    return np.where(valid, result, outside).astype(np.float32)


def crop_or_pad(volume: np.ndarray, shape: Sequence[int], fill: float = AIR) -> np.ndarray:
    """Centre crop, then centre pad with `fill` to `shape`.

    Of an odd number of surplus voxels the lower side loses one more; of an odd number of missing ones
    the lower side gets one less.
    """
    for axis, want in enumerate(shape):
        have = volume.shape[axis]
        if have > want:
            start = -(-(have - want) // 2)
            volume = volume.take(range(start, start + want), axis)
        elif have < want:
            before = (want - have) // 2
            widths = [(0, 0)] * volume.ndim
            widths[axis] = (before, want - have - before)
            volume = np.pad(volume, widths, constant_values=fill)
    return volume


def prepare_volume(
    volume: np.ndarray,
    spacing_xyz: Sequence[float],
    shape_zyx: Sequence[int] = SHAPE_ZYX,
    target_xyz: Sequence[float] = SPACING_XYZ,
    outside: float = AIR,
) -> np.ndarray:
    """(Z, Y, X) HU of any spacing → `shape_zyx` at `target_xyz` mm, clamped to RANGE, float32."""
    resampled = resample(volume, spacing_xyz, target_xyz, outside)
    clamped: np.ndarray = np.clip(crop_or_pad(resampled, shape_zyx), *RANGE).astype(np.float32)
    return clamped


def network_input(volume_zyx: np.ndarray) -> np.ndarray:
    """Prepared volume → (1, X, Y, Z) float32: RANGE to [-1, 1], clipped, then (x - MEAN) / STD."""
    low, high = RANGE
    scaled = np.clip((volume_zyx - low) / (high - low) * 2 - 1, -1, 1)
    standard: np.ndarray = ((scaled - MEAN) / STD).transpose(2, 1, 0)[None].astype(np.float32)
    return standard
