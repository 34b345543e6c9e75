"""DICOM radiographs as acquisition systems write them; the same arguments give the same bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
)

from benchmark.core.files import atomic_path


def uid(*names: str | int) -> UID:
    """A DICOM UID of the 2.25 arc, made of names."""
    digest = hashlib.sha256(":".join(map(str, names)).encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big') | 1 << 127}")


def write_dicom(
    path: Path,
    stored: np.ndarray,
    *,
    instance: UID,
    study: UID,
    series: UID,
    bits: int,
    photometric: Literal["MONOCHROME1", "MONOCHROME2"] = "MONOCHROME2",
    window: tuple[float, float] | None = None,
    slope: float | None = None,
    intercept: float | None = None,
    padding: int | None = None,
    view: str = "",
    sex: str = "",
    age: int | None = None,
    patient: str = "",
    spacing: float = 0.143,
    jpeg: int | None = None,
) -> None:
    """Write stored values (H, W) uint8 or uint16 as one DICOM object.

    instance, study, series: UIDs. jpeg: quality of JPEG baseline, 8 bit only; None writes them raw.
    window: centre and width. spacing: mm per pixel.
    """
    image_class = SecondaryCaptureImageStorage if jpeg else ComputedRadiographyImageStorage
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = image_class
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian
    meta.ImplementationClassUID = uid("implementation")

    header = Dataset()
    header.file_meta = meta
    header.SOPClassUID, header.SOPInstanceUID = image_class, instance
    header.StudyInstanceUID, header.SeriesInstanceUID = study, series
    header.Modality = "CR"
    header.BodyPartExamined = "CHEST"
    header.ViewPosition = view
    header.PatientID = patient
    header.PatientName = patient
    header.PatientSex = sex
    if age is not None:
        header.PatientAge = f"{age:03d}Y"
    header.Rows, header.Columns = stored.shape
    header.PixelSpacing = [f"{spacing:.6g}", f"{spacing:.6g}"]
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = photometric
    header.BitsAllocated = 8 if stored.dtype == np.uint8 else 16
    header.BitsStored, header.HighBit = bits, bits - 1
    header.PixelRepresentation = 0
    if padding is not None:
        header.PixelPaddingValue = padding
    if window is not None:
        header.WindowCenter, header.WindowWidth = (f"{v:.10g}" for v in window)
    if slope is not None:
        header.RescaleSlope = f"{slope:.10g}"
        header.RescaleIntercept = f"{intercept or 0:.10g}"
        header.RescaleType = "US"
    if jpeg:
        done, coded = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, jpeg])
        if not done:
            raise ValueError(f"JPEG encoding of {path} failed")
        header.LossyImageCompression = "01"
        header.PixelData = encapsulate([coded.tobytes()])
        header["PixelData"].VR = "OB"
    else:
        header.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
        header["PixelData"].VR = "OB" if stored.dtype == np.uint8 else "OW"
    with atomic_path(path) as temporary:
        header.save_as(temporary, enforce_file_format=True)
