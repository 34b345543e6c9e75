"""Voxels of any storage order to the standard one: (Z, Y, X), Hounsfield units, int16.

z rises from the feet to the head, y from the front to the back, x from the patient's right to the left: the
picture `hu[z]` has the patient's right at the left and the front at the top, as a radiologist reads it
(DICOM PS3.3 C.7.6.2: axes L, P, S).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.core.errors import DataError

AIR = -1024
"""Hounsfield units of what lies outside of the scan: padding of -2048 or -3024 becomes this."""
MAX_VOXELS = 800_000_000
"""1024 x 1024 slices of a chest at 0.5 mm have 600 million; as int16 this limit is 1.6 GB."""
MIN_SIDE = 2
MIN_SPACING, MAX_SPACING = 0.05, 50.0
"""Millimetres; the voxels of no scanner of patients are smaller or larger, so that the unit is another."""
MIN_RANGE = 100.0
"""Hounsfield units between the lowest and the highest voxel; from air to bone there are 2,000."""
_AIR_RANGE = (-1100.0, -600.0)
_AIR_SHARE = 0.02
_STANDARD = np.array([[0, -1], [1, -1], [2, 1]])
"""nibabel's axis and flip of L, P, S, seen from R, A, S."""


@dataclass(frozen=True)
class Told:
    """What a table beside the files says of a volume, where its header does not or is wrong.

    spacing: (z, y, x) in mm. slope, intercept: of a rescale that the file may lack.
    """

    spacing: tuple[float, float, float] | None = None
    slope: float | None = None
    intercept: float | None = None


@dataclass(frozen=True)
class Volume:
    """hu: (Z, Y, X) int16, in the order above. spacing: (z, y, x) in mm."""

    hu: np.ndarray
    spacing: tuple[float, float, float]

    @property
    def spacing_xyz(self) -> tuple[float, float, float]:
        z, y, x = self.spacing
        return x, y, z


def check_shape(shape: tuple[int, ...], name: str) -> None:
    """Raises DataError for anything but one volume of a size that is taken."""
    if len(shape) != 3:
        said = " x ".join(map(str, shape))
        raise DataError(f"{name}: {len(shape)} axes ({said}); expected one volume of 3. Split or fetch it.")
    if min(shape) < MIN_SIDE:
        said = " x ".join(map(str, shape))
        raise DataError(f"{name}: {said} voxels are no volume but a slice. Give the whole series.")
    count = int(np.prod([int(n) for n in shape], dtype=object))
    if count > MAX_VOXELS:
        raise DataError(
            f"{name}: {count:,} voxels ({2 * count / 1e9:.1f} GB), more than the limit of {MAX_VOXELS:,}. "
            "Cut it to the chest."
        )


def check_spacing(spacing: tuple[float, ...], name: str, said: str = "its header") -> None:
    """Raises DataError where a voxel has no plausible size in millimetres. said: what gives it."""
    if not all(MIN_SPACING <= s <= MAX_SPACING for s in spacing):
        sizes = " x ".join(f"{s:g}" for s in spacing)
        raise DataError(
            f"{name}: {said} gives voxels of {sizes} mm, and {MIN_SPACING:g} to {MAX_SPACING:g} are taken. "
            "Correct the size or its unit."
        )


def spacing_told(told: Told | None, name: str) -> tuple[float, float, float] | None:
    """The spacing that a table gives, where it does. Raises DataError where that is no size of a voxel."""
    if told is None or told.spacing is None:
        return None
    check_spacing(told.spacing, name, "its table")
    return told.spacing


def check_affine(affine: np.ndarray, name: str) -> None:
    """Raises DataError where the three axes of a grid do not span the space."""
    axes = affine[:3, :3]
    volume = np.linalg.norm(axes, axis=0).prod()
    if not np.isfinite(affine).all() or not abs(np.linalg.det(axes)) > 1e-6 * volume:
        raise DataError(f"{name}: the header gives two axes one direction, or one none. Correct it.")


def to_standard(voxels: np.ndarray, affine: np.ndarray, name: str) -> Volume:
    """(I, J, K) voxels whose `affine` (4, 4) gives millimetres to the right, front and head → a Volume.

    An oblique grid keeps its voxels and is named by its nearest axes. `voxels` is not copied but where it
    must be turned. Raises DataError where an axis has no direction.
    """
    from nibabel.orientations import io_orientation, ornt_transform

    check_affine(affine, name)
    now = np.asarray(io_orientation(affine))  # type: ignore[no-untyped-call]
    sizes = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    change = np.asarray(ornt_transform(now, _STANDARD)).astype(int)  # type: ignore[no-untyped-call]
    order = np.argsort(change[:, 0])
    turned = voxels.transpose(*order)
    flips = change[order, 1]
    turned = turned[tuple(slice(None, None, int(f)) for f in flips)]
    x, y, z = (float(sizes[i]) for i in order)
    check_spacing((z, y, x), name)
    return Volume(np.ascontiguousarray(turned.transpose(2, 1, 0)), (z, y, x))


def hounsfield(values: np.ndarray, told: Told | None, name: str) -> np.ndarray:
    """(…) numbers in place of which int16 Hounsfield units come, with padding as AIR.

    A rescale that a table gives is applied only where it is missing: a chest holds air, so that values of
    which too few lie near -1,000 are not yet Hounsfield units. Applied twice, a rescale would shift
    everything by about 1,000. Raises DataError for values that are no numbers, for those that can be no
    Hounsfield units and have no rescale, or become none by it, and for those that span too little, as of a
    volume that was scaled to [-1, 1].
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise DataError(f"{name}: {bad:,} voxels are no number (NaN or infinite). Fetch it again.")
    if values.dtype.kind not in "iuf":
        raise DataError(f"{name}: voxels of type {values.dtype}; expected whole or real numbers.")
    slope, intercept = rescale_missing(values, told, name)
    low, high = float(values.min()) * slope + intercept, float(values.max()) * slope + intercept
    if abs(high - low) < MIN_RANGE:
        raise DataError(
            f"{name}: its values reach from {low:g} to {high:g}; Hounsfield units of a chest reach from "
            "about -1000 (air) to 300 or more (bone). Give the volume as it was before it was scaled."
        )
    if (slope, intercept) == (1.0, 0.0):
        return to_int16(values)
    return to_int16(values, slope, intercept)


def rescale_missing(values: np.ndarray, told: Told | None, name: str) -> tuple[float, float]:
    """Slope and intercept that are still to be applied; (1, 0) where the values are Hounsfield units."""
    sample = values[tuple(slice(None, None, max(1, n // 64)) for n in values.shape)].astype(np.float32)
    if _has_air(sample):
        return 1.0, 0.0
    slope = 1.0 if told is None or told.slope is None else float(told.slope)
    intercept = 0.0 if told is None or told.intercept is None else float(told.intercept)
    if not (np.isfinite(slope) and np.isfinite(intercept)) or slope == 0:
        raise DataError(f"{name}: its table gives a rescale of {slope:g} and {intercept:g}. Correct it.")
    if (slope, intercept) != (1.0, 0.0) and _has_air(sample * slope + intercept):
        return slope, intercept
    if sample.min() >= 0:
        tried = f"neither as stored nor with slope {slope:g} and intercept {intercept:g} " if told else ""
        raise DataError(
            f"{name}: no value below 0, so {tried}are these Hounsfield units. "
            "Give the rescale of the scanner."
        )
    return 1.0, 0.0


def _has_air(sample: np.ndarray) -> bool:
    low, high = _AIR_RANGE
    return bool(((sample >= low) & (sample <= high)).mean() >= _AIR_SHARE)


def to_int16(values: np.ndarray, slope: float = 1.0, intercept: float = 0.0) -> np.ndarray:
    """Rescaled, rounded and cut to [AIR, 32767], one slab of the first axis at a time; int16 that needs no
    rescale is cut where it lies."""
    if values.dtype == np.int16 and values.flags.writeable and (slope, intercept) == (1.0, 0.0):
        np.maximum(values, np.int16(AIR), out=values)
        return values
    out = np.empty(values.shape, dtype=np.int16)
    plain = values.dtype.kind in "iu" and (slope, intercept) == (1.0, 0.0)
    for i, slab in enumerate(values):
        if plain:
            out[i] = np.clip(slab, AIR, 32767)
        else:
            numbers = slab.astype(np.float32) * np.float32(slope) + np.float32(intercept)
            out[i] = np.clip(np.rint(numbers), AIR, 32767)
    return out
