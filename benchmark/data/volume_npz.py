"""Volumes in numpy archives, as RAD-ChestCT has them. Nothing in them is ever unpickled."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from benchmark.core.errors import DataError
from benchmark.core.guard import parsing
from benchmark.data.volume_grid import Told, Volume, check_shape, check_spacing, hounsfield, spacing_told

WHAT = "a numpy archive"
FETCH = "Fetch it again."
KEY = "ct"
STATED = "spacing.npy"
SPACING = (0.8, 0.8, 0.8)
"""RAD-ChestCT: resampled by its makers; the archive says nothing of it."""


def read_npz(path: Path | str, told: Told | None = None, key: str = KEY) -> Volume:
    """The array `key` of an archive: (Z, Y, X), from head to feet as RAD-ChestCT stores it, and turned here.

    spacing: of `told`, else of an array `spacing` of three numbers (z, y, x), which archives of one's own may
    hold, else SPACING. Shape and type are read before the array, so that an array of objects or
    one too large is refused unread. Raises DataError, naming the file.
    """
    from numpy.lib import format as npy

    member = f"{key}.npy"
    with parsing(path, WHAT, FETCH), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if member not in names:
            said = ", ".join(sorted(names)[:5]) or "nothing"
            raise DataError(f"{path}: no array '{key}' in it, but {said}. Is it a volume?")
        with archive.open(member) as handle:
            version = npy.read_magic(handle)
            head = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = head(handle)
            if dtype.hasobject or dtype.kind not in "iuf":
                raise DataError(f"{path}: '{key}' holds {dtype}, not numbers; nothing in it was unpickled.")
            check_shape(shape, str(path))
            length = int(np.prod(shape)) * dtype.itemsize
            data = handle.read(length)
            if len(data) < length:
                raise DataError(f"{path}: '{key}' ends before its {length:,} bytes. {FETCH}")
            handle.read(1)
        array = np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran else "C")
        own = _spacing(archive) if STATED in names else SPACING
    spacing = spacing_told(told, str(path)) or own
    check_spacing(spacing, str(path), "its array 'spacing'")
    return Volume(np.ascontiguousarray(hounsfield(array, told, str(path))[::-1]), spacing)


def _spacing(archive: zipfile.ZipFile) -> tuple[float, float, float]:
    """The array `spacing`. Raises ValueError where it holds anything but three numbers."""
    from numpy.lib import format as npy

    with archive.open(STATED) as handle:
        values = npy.read_array(handle, allow_pickle=False)
    if values.shape != (3,) or values.dtype.kind not in "iuf":
        raise ValueError(f"'spacing' holds {values.dtype} {values.shape}, not three numbers")
    z, y, x = (float(v) for v in values)
    return z, y, x
