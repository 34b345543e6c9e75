"""NIfTI-1 and -2 volumes, packed or not, read slab by slab so that one volume fills the memory once."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, Any

import numpy as np

from benchmark.core.errors import DataError
from benchmark.core.guard import opened, parsing
from benchmark.data.volume_grid import (
    Told,
    Volume,
    check_affine,
    check_shape,
    check_spacing,
    hounsfield,
    spacing_told,
    to_standard,
)

WHAT = "a NIfTI volume"
FETCH = "Fetch it again."
_HEAD = 1 << 12
_KINDS = "iuf"
_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Millimetres in a unit of the header: unknown (which writers leave for mm), metre, mm, micrometre."""


def read_nifti(path: Path | str, told: Told | None = None) -> Volume:
    """The volume of one `.nii` or `.nii.gz` file; `told` is what a table beside it says.

    Slope and intercept of the header are applied, then those of `told` where the values are not yet
    Hounsfield units. Where the table gives a spacing it replaces the header's, which older conversions of
    CT-RATE got wrong; a header without orientation codes is then taken as L, P, S. Lengths in metres or
    micrometres become millimetres. Raises DataError, naming the file, where it is missing, truncated,
    damaged, no single volume, too large, without orientation or with two that differ, where its voxels begin
    within its header or have no plausible size, or where its values are no Hounsfield units.
    """
    with parsing(path, WHAT, FETCH), opened(path) as handle:
        header = _header(handle, path)
        shape = _shape(header, str(path))
        voxels = _voxels(handle, header, shape, str(path))
    affine = _affine(header, told, str(path))
    hu = hounsfield(voxels, told, str(path))
    return to_standard(hu.transpose(2, 1, 0), affine, str(path))


def _header(handle: IO[bytes], path: Path | str) -> Any:
    import nibabel

    head = handle.read(_HEAD)
    if not head:
        raise DataError(f"{path}: the file is empty. {FETCH}")
    for kind in (nibabel.Nifti1Header, nibabel.Nifti2Header):
        size = int(kind.sizeof_hdr)
        magic = head[344:348] if size == 348 else head[4:8]
        if magic[:3] == (b"n+1" if size == 348 else b"n+2"):
            start = io.BytesIO(head[:size])
            header = kind.from_fileobj(start, check=False)  # type: ignore[no-untyped-call]
            first, least = int(header["vox_offset"]), int(kind.single_vox_offset)
            if first < least:  # of 0, other readers take byte 0, 348 or 352
                raise DataError(
                    f"{path}: its voxels begin at byte {first}, within its header of {least}. "
                    "Correct its vox_offset, or write it again."
                )
            return header
    raise DataError(f"{path}: not a NIfTI volume in one file (n+1 or n+2). {FETCH}")


def _shape(header: Any, name: str) -> tuple[int, ...]:
    shape = tuple(int(n) for n in header.get_data_shape())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    check_shape(shape, name)
    dtype = header.get_data_dtype()
    if dtype.kind not in _KINDS or dtype.itemsize > 8:
        raise DataError(f"{name}: voxels of type {dtype}; expected whole or real numbers of up to 64 bits.")
    return shape


def _voxels(handle: IO[bytes], header: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    """(K, J, I), with the header's slope and intercept: int16 where the stored numbers are whole, else
    float32. After the last slab a packed file says whether it is whole."""
    slope, intercept = header.get_slope_inter()
    slope, intercept = (1.0 if slope is None else slope), (0.0 if intercept is None else intercept)
    dtype = header.get_data_dtype()
    plain = (slope, intercept) == (1.0, 0.0)
    out = np.empty(
        (shape[2], shape[1], shape[0]), dtype=np.int16 if dtype.kind in "iu" and plain else np.float32
    )
    handle.seek(int(header["vox_offset"]))
    length = shape[0] * shape[1] * dtype.itemsize
    for k in range(shape[2]):
        data = handle.read(length)
        if len(data) < length:
            raise DataError(f"{name}: ends in slice {k + 1} of {shape[2]} that its header announces. {FETCH}")
        plane = np.frombuffer(data, dtype=dtype).reshape(shape[1], shape[0])
        if out.dtype == np.int16:
            out[k] = np.clip(plane, -32768, 32767)
        else:
            out[k] = plane.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    handle.read(1)
    return out


def _affine(header: Any, told: Told | None, name: str) -> np.ndarray:
    """(4, 4), in R, A, S. Where both codes are set they have to agree about the axes."""
    from nibabel.orientations import aff2axcodes

    unit = int(header["xyzt_units"]) % 8
    if unit not in _MM:
        raise DataError(f"{name}: lengths in unit {unit}, which NIfTI does not have. Correct xyzt_units.")
    scale = np.array([_MM[unit], _MM[unit], _MM[unit], 1.0])
    known: dict[str, np.ndarray] = {}
    for code, get in (("sform", header.get_sform), ("qform", header.get_qform)):
        with parsing(name, WHAT, FETCH):
            matrix, number = get(coded=True)
        if matrix is not None and number:
            known[code] = np.asarray(matrix, dtype=float) * scale[:, None]
            check_affine(known[code], name)
    spacing = spacing_told(told, name)
    if not known:
        if spacing is None:
            raise DataError(
                f"{name}: no orientation code in its header, so left and right are unknown. Correct it."
            )
        return _scaled(np.diag([-1.0, -1.0, 1.0, 1.0]), spacing)
    axes = {c: aff2axcodes(m) for c, m in known.items()}  # type: ignore[no-untyped-call]
    if len(set(axes.values())) > 1:
        said = " and ".join(f"{code} {''.join(map(str, a))}" for code, a in axes.items())
        raise DataError(f"{name}: its header has two orientations, {said}. Correct it.")
    affine = next(iter(known.values()))
    if spacing is None:
        zooms = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
        stated = np.array(header.get_zooms()[:3], dtype=float) * scale[:3]
        check_spacing(tuple(stated), name)
        if not np.allclose(zooms, stated, rtol=0.02):
            raise DataError(
                f"{name}: its orientation has voxels of {_mm(zooms)} mm and its pixdim of {_mm(stated)}. "
                "Correct it."
            )
        return affine
    return _scaled(affine, spacing)


def _mm(sizes: np.ndarray) -> str:
    return " x ".join(f"{s:.3g}" for s in sizes)


def _scaled(affine: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """The same directions with voxels of `spacing` (z, y, x) along the axes that point that way."""
    out = affine.copy()
    for column in range(3):
        axis = affine[:3, column]
        size = np.linalg.norm(axis)
        along = int(np.argmax(np.abs(axis)))  # 0: across, 1: front to back, 2: along the body
        if size:
            out[:3, column] = axis / size * (spacing[2], spacing[1], spacing[0])[along]
    return out
