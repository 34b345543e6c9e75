"""DICOM radiographs to grey values: photometric, modality and VOI steps (PS3.3 C.7.6.3, C.11.1, C.11.2)."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmark.core.errors import DataError

INVERTED = "MONOCHROME1"


def read_dicom(data: bytes, name: str, max_pixels: int) -> np.ndarray:
    """(H, W) grey values of one DICOM object, black = air.

    Steps: stored bits → rescale slope and intercept (or modality LUT) → first VOI LUT or window, else the
    stored range → inversion of MONOCHROME1 → padding pixels to black. The display range spans the result:
    uint8 where at most 8 bits are stored and nothing was rescaled or windowed, else uint16 over 0..65535.
    Colour objects become luminance. Raises DataError, naming the file, for objects without pixel data, with
    several frames, too large, or in a compression that no installed decoder reads.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            header = pydicom.dcmread(io.BytesIO(data))
        except InvalidDicomError:
            raise DataError(f"{name}: not a DICOM file. Fetch it again.") from None
        except Exception as error:
            raise DataError(f"{name}: damaged DICOM header ({_short(error)}). Fetch it again.") from None
        try:
            return _display(header, name, max_pixels)
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"{name}: DICOM pixels cannot be decoded ({_short(error)}).") from None


class Header(NamedTuple):
    """What readers take from a DICOM header. Blank where the file says nothing; age in years."""

    height: int
    width: int
    view: str
    sex: str
    age: float | None


def read_header(path: Path | str) -> Header:
    """Header of one DICOM file, without its pixels. Raises DataError, naming the file."""
    import pydicom

    tags = ["Rows", "Columns", "ViewPosition", "PatientSex", "PatientAge"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)
            height, width = int(header.Rows), int(header.Columns)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from None
        except Exception as error:
            raise DataError(f"{path}: not a DICOM image ({_short(error)}). Fetch it again.") from None
        view = str(header.get("ViewPosition") or "").strip()
        sex = str(header.get("PatientSex") or "").strip()
        return Header(height, width, view, sex, _years(str(header.get("PatientAge") or "")))


def _years(text: str) -> float | None:
    """`045Y`, `006M`, or a bare number of years."""
    found = re.fullmatch(r"\s*(\d+)\s*([YMWD]?)\s*", text.upper())
    if not found:
        return None
    return int(found[1]) / {"": 1, "Y": 1, "M": 12, "W": 52.18, "D": 365.25}[found[2]]


def _display(header: Any, name: str, max_pixels: int) -> np.ndarray:
    if "PixelData" not in header:
        raise DataError(f"{name}: DICOM object without pixel data. Leave it out or fetch it again.")
    frames = int(header.get("NumberOfFrames", 1) or 1)
    if frames != 1:
        raise DataError(f"{name}: DICOM object with {frames} frames; expected one radiograph.")
    if int(header.Rows) * int(header.Columns) > max_pixels:
        raise DataError(
            f"{name}: {header.Columns}x{header.Rows} pixels, more than the limit of {max_pixels}."
        )

    photometric = str(header.get("PhotometricInterpretation", "MONOCHROME2")).strip()
    stored = _pixels(header, name, photometric)
    bits = int(header.get("BitsStored", 8 * stored.dtype.itemsize))
    signed = bool(header.get("PixelRepresentation", 0))
    if not signed and bits < 8 * stored.dtype.itemsize:
        stored = stored & np.array((1 << bits) - 1, dtype=stored.dtype)

    first = -(1 << (bits - 1)) if signed else 0
    values, low, high, plain = _modality(header, stored, first, first + (1 << bits) - 1)
    shown, windowed = _voi(header, values, low, high)
    if plain and not windowed and not signed and bits <= 8:
        grey = stored.astype(np.uint8) if bits == 8 else _spread(shown, 255, np.uint8)
    else:
        grey = _spread(shown, 65535, np.uint16)
    if photometric == INVERTED:
        grey = np.iinfo(grey.dtype).max - grey
    padding = header.get("PixelPaddingValue")
    if padding is not None:
        limit = header.get("PixelPaddingRangeLimit", padding)
        lower, upper = sorted((int(padding), int(limit)))
        grey[(stored >= lower) & (stored <= upper)] = 0
    return np.ascontiguousarray(grey)


def _pixels(header: Any, name: str, photometric: str) -> np.ndarray:
    from pydicom.pixels.processing import apply_color_lut

    try:
        stored: np.ndarray = header.pixel_array
    except (RuntimeError, NotImplementedError) as error:
        syntax = header.file_meta.TransferSyntaxUID.name
        raise DataError(
            f"{name}: no installed decoder reads its pixels ({syntax}; {_short(error)}). "
            "Install pylibjpeg or decompress the file."
        ) from None
    if photometric == "PALETTE COLOR":
        stored = apply_color_lut(stored, header)
    if stored.ndim == 3 and stored.shape[-1] == 3:
        weights = np.array([0.299, 0.587, 0.114])
        return np.asarray(np.rint(stored @ weights), dtype=stored.dtype)
    if stored.ndim != 2:
        raise DataError(f"{name}: DICOM pixels of shape {stored.shape}; expected one grey image.")
    return stored


def _modality(
    header: Any, stored: np.ndarray, low: float, high: float
) -> tuple[np.ndarray, float, float, bool]:
    """Values, their range, and whether the step changed nothing."""
    from pydicom.pixels.processing import apply_modality_lut

    if header.get("ModalityLUTSequence"):
        depth = int(header.ModalityLUTSequence[0].LUTDescriptor[2])
        return apply_modality_lut(stored, header).astype(np.float32), 0, float((1 << depth) - 1), False
    slope = float(header.get("RescaleSlope", 1) or 1)
    intercept = float(header.get("RescaleIntercept", 0) or 0)
    if slope == 1 and intercept == 0:
        return stored, low, high, True
    ends = sorted((low * slope + intercept, high * slope + intercept))
    values = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    return values, ends[0], ends[1], False


def _voi(header: Any, values: np.ndarray, low: float, high: float) -> tuple[np.ndarray, bool]:
    """Values on [0, 1] of the display range, and whether a VOI LUT or a window was applied.

    A window narrower than the function allows (below 1 for LINEAR) is no window.
    """
    from pydicom.pixels.processing import apply_voi

    if header.get("VOILUTSequence"):
        depth = int(header.VOILUTSequence[0].LUTDescriptor[2])
        indices = values if values.dtype.kind in "iu" else np.rint(values).astype(np.int32)
        return apply_voi(indices, header, index=0).astype(np.float32) / ((1 << depth) - 1), True
    centre, width = _first(header.get("WindowCenter")), _first(header.get("WindowWidth"))
    function = str(header.get("VOILUTFunction", "LINEAR") or "LINEAR").strip().upper()
    if centre is None or width is None or width <= 0 or (function == "LINEAR" and width < 1):
        span = max(high - low, 1)
        return np.clip((values.astype(np.float32) - np.float32(low)) / np.float32(span), 0, 1), False
    x = values.astype(np.float32)
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (x - centre) / width)), True
    if function == "LINEAR_EXACT":
        return np.clip((x - centre) / width + 0.5, 0, 1), True
    if width == 1:
        return (x > centre - 0.5).astype(np.float32), True
    return np.clip((x - (centre - 0.5)) / (width - 1) + 0.5, 0, 1), True


def _spread(shown: np.ndarray, top: int, dtype: Any) -> np.ndarray:
    return np.asarray(np.rint(np.clip(shown, 0, 1) * np.float32(top)), dtype=dtype)


def _first(value: Any) -> float | None:
    """First of the values of an element, or None."""
    if value is None or value == "":
        return None
    if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
        return float(value[0]) if len(value) else None
    return float(value)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
