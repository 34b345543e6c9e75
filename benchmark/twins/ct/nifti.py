"""NIfTI-1 files as CT-RATE has them: axes L, P, S, millimetres, packed; equal volumes give equal bytes."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

LEVEL = 1
"""Noise hardly packs: higher levels cost seconds a volume and save a few percent."""


def write_nifti(
    path: Path,
    hu: np.ndarray,
    spacing: tuple[float, float, float],
    *,
    stated: tuple[float, float, float] | None = None,
) -> None:
    """hu: (Z, Y, X) int16, z to the head, y to the back, x to the left. spacing: (z, y, x) in mm; `stated`
    stands in the header in its place, as in the older files of CT-RATE, whose spacings are wrong."""
    z, y, x = stated or spacing
    header: Any = nibabel.Nifti1Header()  # type: ignore[no-untyped-call]
    header.set_data_dtype(np.int16)
    header.set_data_shape(hu.shape[::-1])
    header.set_zooms((x, y, z))
    affine = np.diag([-x, -y, z, 1.0])
    header.set_sform(affine, code=1)
    header.set_qform(affine, code=1)
    header.set_xyzt_units("mm")
    header["vox_offset"] = 352
    header.set_slope_inter(1, 0)
    raw = io.BytesIO()
    header.write_to(raw)
    raw.write(b"\0" * (352 - raw.tell()))
    raw.write(np.ascontiguousarray(hu, dtype="<i2").tobytes())
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, compresslevel=LEVEL, filename="") as handle:
        handle.write(raw.getvalue())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed.getvalue())
