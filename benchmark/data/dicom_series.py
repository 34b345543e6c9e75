"""A folder of DICOM slices to one volume: one series, sorted by position, without gaps (PS3.3 C.7.6.2)."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmark.core.errors import DataError
from benchmark.core.guard import parsing
from benchmark.data.volume_grid import AIR, Volume, check_shape, to_int16, to_standard

WHAT = "a DICOM slice"
FETCH = "Fetch it again."
MAX_SLICES = 4096
_SAME, _EVEN = 0.01, 0.1
"""Share of a slice distance below which two slices are at one place, and by which distances may differ."""


class _Slice(NamedTuple):
    path: Path
    series: str
    position: float
    corner: np.ndarray


def read_series(folder: Path | str) -> Volume:
    """The volume of one folder. Pixels are rescaled by each slice's own header; padding becomes AIR.

    Raises DataError, naming the file or the folder: no DICOM file, several series, slices of another
    orientation, size or spacing, two slices at one place, missing slices, a damaged file, a tilted gantry.
    """
    folder = Path(folder)
    with parsing(folder, "a folder of DICOM slices"):
        names = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    if not names:
        raise DataError(f"{folder}: holds no file. Give the folder of one DICOM series.")
    if len(names) > MAX_SLICES:
        raise DataError(f"{folder}: {len(names):,} files, more than a series has ({MAX_SLICES:,}).")
    first = _open(names[0], pixels=False)
    axes, spacing, shape = _plane(first, names[0])
    normal = np.cross(axes[0], axes[1])
    slices = sorted((_place(p, axes, spacing, shape, normal) for p in names), key=lambda s: s.position)
    _one_series(slices, folder)
    check_shape((len(slices), *shape), str(folder))
    step = _step(slices, folder)
    voxels = np.empty((len(slices), *shape), dtype=np.int16)
    for k, item in enumerate(slices):
        voxels[k] = _pixels(item.path, shape)
    shift = (slices[-1].corner - slices[0].corner) / (len(slices) - 1)
    if np.linalg.norm(shift - normal * step) > 0.05 * step:
        raise DataError(f"{folder}: slices are not stacked at right angles (a tilted gantry). Resample it.")
    affine = np.eye(4)
    # columns of a row lie along axes[0]; DICOM counts to the left and back, the affine to the right and front
    turn = np.diag([-1.0, -1.0, 1.0])
    affine[:3, 0] = turn @ (axes[0] * spacing[1])
    affine[:3, 1] = turn @ (axes[1] * spacing[0])
    affine[:3, 2] = turn @ (normal * step)
    affine[:3, 3] = turn @ slices[0].corner
    return to_standard(voxels.transpose(2, 1, 0), affine, str(folder))


def _open(path: Path, *, pixels: bool) -> Any:
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with parsing(path, WHAT, FETCH):
            return pydicom.dcmread(path, stop_before_pixels=not pixels)


def _plane(header: Any, path: Path) -> tuple[np.ndarray, tuple[float, float], tuple[int, int]]:
    """Directions of row and column (2, 3), spacing (down, across) in mm, and (rows, columns)."""
    with parsing(path, "a DICOM slice with a place in the patient", "Leave it out of the series."):
        axes = np.array([float(v) for v in header.ImageOrientationPatient]).reshape(2, 3)
        down, across = (float(v) for v in header.PixelSpacing)
        shape = int(header.Rows), int(header.Columns)
    lengths = np.linalg.norm(axes, axis=1)
    if not np.isfinite(axes).all() or abs(lengths - 1).max() > 0.01 or abs(axes[0] @ axes[1]) > 0.01:
        raise DataError(f"{path}: ImageOrientationPatient is no pair of axes. {FETCH}")
    return axes, (down, across), shape


def _place(
    path: Path, axes: np.ndarray, spacing: tuple[float, float], shape: tuple[int, int], normal: np.ndarray
) -> _Slice:
    header = _open(path, pixels=False)
    with parsing(path, WHAT, FETCH):  # pydicom reads an element when it is asked for
        series = str(header.get("SeriesInstanceUID", ""))
    if not series:
        raise DataError(f"{path}: no SeriesInstanceUID; it is no slice of a series. Leave it out.")
    mine, sizes, size = _plane(header, path)
    with parsing(path, "a DICOM slice with a place in the patient", "Leave it out of the series."):
        corner = np.array([float(v) for v in header.ImagePositionPatient])
        position = float(corner @ normal)
    if size != shape or not np.allclose(sizes, spacing, rtol=1e-3) or not np.allclose(mine, axes, atol=1e-3):
        raise DataError(
            f"{path}: of another size, spacing or direction than the first slice. Separate the series."
        )
    return _Slice(path, series, position, corner)


def _one_series(slices: list[_Slice], folder: Path) -> None:
    count = Counter(s.series for s in slices)
    if len(count) > 1:
        usual = count.most_common(1)[0][0]
        other = next(s for s in slices if s.series != usual)
        raise DataError(
            f"{folder}: {len(count)} series in one folder; {other.path.name} is of another than most. "
            "Give each series a folder."
        )


def _step(slices: list[_Slice], folder: Path) -> float:
    """Distance of slices in mm, where all are alike."""
    if len(slices) < 2:
        raise DataError(f"{folder}: one slice is no volume. Give the whole series.")
    gaps = np.diff([s.position for s in slices])
    step = float(np.median(gaps))
    twice = np.flatnonzero(gaps <= max(_SAME * step, 1e-3))
    if twice.size:
        a, b = slices[int(twice[0])], slices[int(twice[0]) + 1]
        raise DataError(f"{folder}: {a.path.name} and {b.path.name} lie at one place. Remove one of them.")
    uneven = np.flatnonzero(np.abs(gaps - step) > _EVEN * step)
    if uneven.size:
        at = int(uneven[0])
        missing = round(float(gaps[at]) / step) - 1
        what = f"{missing} slices are missing" if missing > 0 else "the distance of slices changes"
        raise DataError(
            f"{folder}: {what} between {slices[at].path.name} and {slices[at + 1].path.name} "
            f"({gaps[at]:g} mm for {step:g}). Fetch the whole series."
        )
    return step


def _pixels(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """(rows, columns) int16 Hounsfield units of one slice."""
    header = _open(path, pixels=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with parsing(path, WHAT, FETCH):
            if "PixelData" not in header:
                raise DataError(f"{path}: DICOM object without pixel data. {FETCH}")
            stored = np.asarray(header.pixel_array)
            slope, intercept = float(header.RescaleSlope), float(header.RescaleIntercept)
            padding = header.get("PixelPaddingValue")
    if stored.shape != shape or slope == 0 or not np.isfinite([slope, intercept]).all():
        raise DataError(f"{path}: pixels or rescale are not those of a CT slice. {FETCH}")
    hu = to_int16(stored, slope, intercept)
    if padding is not None:
        hu[stored == int(padding)] = AIR
    return hu
