"""DICOM radiographs to grey values: photometric, modality and VOI steps (PS3.3 C.7.6.3, C.11.1, C.11.2)."""

from __future__ import annotations

import io
import math
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np

from benchmark.core.cells import age_in_years
from benchmark.core.errors import DataError
from benchmark.core.guard import parsing
from benchmark.data.raster import jpeg_header, jpeg_luminance

INVERTED = "MONOCHROME1"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
DECODERS = {
    "1.2.840.10008.1.2.4.5": "pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.7": "pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.8": "pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.9": "pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.20": "pylibjpeg-openjpeg",
}
"""First digits of a transfer syntax → what pydicom needs for it. JPEG Lossless, the usual syntax of archives,
is 4.57 and 4.70; 4.8x is JPEG-LS, 4.9x and 4.20x JPEG 2000."""


def read_dicom(data: bytes, name: str, max_pixels: int) -> np.ndarray:
    """(H, W) grey values of one DICOM object, black = air.

    Steps: stored bits → rescale slope and intercept (or modality LUT) → first VOI LUT or window, else the
    stored range → inversion of MONOCHROME1 → padding pixels to black. The display range spans the result:
    uint8 where at most 8 bits are stored and nothing was rescaled or windowed, else uint16 over 0..65535.
    Where neither window nor LUT is given and the header calls every bit of a word stored, the range is the
    number of bits that the data fill. Colour objects become luminance over the range of their type; these
    steps are not for them (PS3.3 C.11.1, C.11.2). Raises DataError, naming the file, for objects without
    pixel data, with several frames, too large, with numbers in the header that are none, or in a
    compression that no installed decoder reads.
    """
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with parsing(name, "a DICOM file", "Fetch it again."):
            header = pydicom.dcmread(io.BytesIO(data))
        with parsing(name, "a DICOM radiograph", "Fetch it again."):
            return _display(header, name, max_pixels)


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
        with parsing(path, "a DICOM image", "Fetch it again."):
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)
            height, width = int(header.Rows), int(header.Columns)
        view = str(header.get("ViewPosition") or "").strip()
        sex = str(header.get("PatientSex") or "").strip()
        return Header(height, width, view, sex, age_in_years(str(header.get("PatientAge") or "")))


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
    stored = _stored(header, name)
    if photometric == "PALETTE COLOR" or stored.ndim == 3:
        return _luminance(header, stored, photometric, name)
    if stored.ndim != 2:
        raise DataError(f"{name}: DICOM pixels of shape {stored.shape}; expected one grey image.")
    return _grey(header, stored, photometric, name)


def _grey(header: Any, stored: np.ndarray, photometric: str, name: str) -> np.ndarray:
    size = 8 * stored.dtype.itemsize
    declared = bits = int(header.get("BitsStored", size))
    signed = bool(header.get("PixelRepresentation", 0))
    if not 1 <= bits <= size:
        raise DataError(f"{name}: {bits} bits stored in words of {size}. Fetch it again.")
    if int(header.get("HighBit", bits - 1)) != bits - 1:
        raise DataError(f"{name}: the stored bits are not the lowest of a word (PS3.5, 8.1.1). Convert it.")
    if not signed and bits < size:
        stored = stored & np.array((1 << bits) - 1, dtype=stored.dtype)
    padding = _padding(header, stored)
    if bits == size > 8:
        bits = _bits_filled(stored if padding is None else stored[~padding], signed)

    first = -(1 << (bits - 1)) if signed else 0
    values, low, high, plain = _modality(header, stored, first, first + (1 << bits) - 1, name)
    shown, windowed = _voi(header, values, low, high, name)
    if plain and not windowed and not signed and declared <= 8:
        grey = stored.astype(np.uint8) if bits == 8 else _spread(shown, 255, np.uint8)
    else:
        grey = _spread(shown, 65535, np.uint16)
    if photometric == INVERTED:
        grey = np.iinfo(grey.dtype).max - grey
    if padding is not None:
        grey[padding] = 0
    return np.ascontiguousarray(grey)


def _padding(header: Any, stored: np.ndarray) -> np.ndarray | None:
    """(H, W) bool of pixels outside of the image, or None where the header names none."""
    value = header.get("PixelPaddingValue")
    if value is None:
        return None
    lower, upper = sorted((int(value), int(header.get("PixelPaddingRangeLimit", value))))
    return np.asarray((stored >= lower) & (stored <= upper))


def _bits_filled(stored: np.ndarray, signed: bool) -> int:
    """Bits that the data fill, at least 8: many files call 16 bits stored and fill 10 or 12 of them."""
    if not stored.size:
        return 8
    low, high = int(stored.min()), int(stored.max())
    if not signed:
        return max(high.bit_length(), 8)
    return max(high.bit_length() + 1, (-low - 1).bit_length() + 1 if low < 0 else 1, 8)


def _luminance(header: Any, stored: np.ndarray, photometric: str, name: str) -> np.ndarray:
    """Grey of colour. The values of a palette have the depth of its tables, not of the stored index."""
    from pydicom.pixels.processing import apply_color_lut

    bits = int(header.get("BitsStored", 8 * stored.dtype.itemsize))
    if photometric == "PALETTE COLOR":
        stored = apply_color_lut(stored, header)
        bits = 8 * stored.dtype.itemsize
    if stored.ndim != 3 or stored.shape[-1] != 3 or bits > 16:
        raise DataError(f"{name}: {bits}-bit colour of shape {stored.shape}; expected 8 or 16-bit RGB.")
    grey = np.rint(stored @ np.array([0.299, 0.587, 0.114]))
    if bits == 8:
        return np.ascontiguousarray(grey.astype(np.uint8))
    return np.ascontiguousarray(_spread(grey / ((1 << bits) - 1), 65535 if bits > 8 else 255, np.uint16))


def _stored(header: Any, name: str) -> np.ndarray:
    """Pixels as stored: (H, W) numbers, or (H, W, 3) RGB."""
    syntax = header.file_meta.TransferSyntaxUID
    if syntax == JPEG_BASELINE and int(header.get("SamplesPerPixel", 1)) == 1:
        from pydicom.encaps import get_frame

        frame = get_frame(header.PixelData, 0, number_of_frames=1)
        inside = jpeg_header(frame, name)
        if (inside.height, inside.width) != (header.Rows, header.Columns):
            raise DataError(
                f"{name}: a JPEG of {inside.width}x{inside.height} pixels for {header.Columns}x"
                f"{header.Rows}. Fetch it again."
            )
        return jpeg_luminance(frame, name)  # Pillow, which pydicom would ask, goes on after damage
    try:
        return np.asarray(header.pixel_array)
    except Exception as error:  # the guard around says it, but for a decoder that is not there
        package = next((p for start, p in DECODERS.items() if str(syntax).startswith(start)), None)
        if package is None or find_spec(package.removeprefix("pylibjpeg-")) is not None:
            raise
        short = " ".join(str(error).split())[:120]
        raise DataError(
            f"{name}: no installed decoder reads its pixels ({syntax.name}; {short}). "
            f"Install {package} (`pip install 'cxr-alignbench[dicom]'`), or fetch it again."
        ) from None


def _modality(
    header: Any, stored: np.ndarray, low: float, high: float, name: str
) -> tuple[np.ndarray, float, float, bool]:
    """Values, their range, and whether the step changed nothing."""
    from pydicom.pixels.processing import apply_modality_lut

    if header.get("ModalityLUTSequence"):
        depth = int(header.ModalityLUTSequence[0].LUTDescriptor[2])
        return apply_modality_lut(stored, header).astype(np.float32), 0, float((1 << depth) - 1), False
    slope = _number(header, "RescaleSlope", name, 1.0)
    intercept = _number(header, "RescaleIntercept", name, 0.0)
    if slope == 0:
        raise DataError(f"{name}: RescaleSlope is 0, which makes every pixel equal. Fetch it again.")
    if slope == 1 and intercept == 0:
        return stored, low, high, True
    ends = sorted((low * slope + intercept, high * slope + intercept))
    values = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    return values, ends[0], ends[1], False


def _voi(header: Any, values: np.ndarray, low: float, high: float, name: str) -> tuple[np.ndarray, bool]:
    """Values on [0, 1] of the display range, and whether a VOI LUT or a window was applied.

    A window narrower than the function allows (below 1 for LINEAR) is no window.
    """
    from pydicom.pixels.processing import apply_voi

    if header.get("VOILUTSequence"):
        depth = int(header.VOILUTSequence[0].LUTDescriptor[2])
        indices = values if values.dtype.kind in "iu" else np.rint(values).astype(np.int32)
        return apply_voi(indices, header, index=0).astype(np.float32) / ((1 << depth) - 1), True
    centre = _number(header, "WindowCenter", name, None)
    width = _number(header, "WindowWidth", name, None)
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


@overload
def _number(header: Any, tag: str, name: str, blank: float) -> float: ...
@overload
def _number(header: Any, tag: str, name: str, blank: None) -> float | None: ...
def _number(header: Any, tag: str, name: str, blank: float | None) -> float | None:
    """First of the values of an element, or `blank` where it has none. Raises DataError for NaN and infinity,
    which would make the image black without a word."""
    value = header.get(tag)
    if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
        value = value[0] if len(value) else None
    if value is None or value == "":
        return blank
    number = float(value)
    if not math.isfinite(number):
        raise DataError(f"{name}: {tag} is {number}. Correct the header or fetch the file again.")
    return number
