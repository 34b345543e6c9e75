"""Image files to grey pixels, grey pixels to what an encoder sees, and coordinates between the two."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmark.core.errors import DataError, ParamsError
from benchmark.core.guard import parsing
from benchmark.core.preprocessing import Preprocessing
from benchmark.data.dicom import read_dicom, read_header
from benchmark.data.raster import JPEG, PNG, decode_jpeg, decode_png, jpeg_header, png_header

MAX_BYTES = 1 << 29
MAX_PIXELS = 1 << 27
"""Limits of one file: bytes on disk and pixels that its header announces (11,585 x 11,585)."""

IMAGE = "a PNG, JPEG or DICOM image"
_INTERPOLATION = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def read_pixels(path: Path | str) -> np.ndarray:
    """(H, W) grey values of one file, black = air: uint8 or uint16 as stored.

    PNG keeps its depth (1, 2 and 4 bit become 8); JPEG gives luminance; colour files with equal channels
    give that channel, others luminance; alpha is composited on black; DICOM as in `read_dicom`. The format
    is told by content, not by name. Raises DataError, naming the file, where it is missing, empty,
    truncated, damaged, larger than MAX_BYTES or MAX_PIXELS, or of another format. Never returns part of an
    image.
    """
    return decode_pixels(read_bytes(path), path)


def read_bytes(path: Path | str) -> bytes:
    """The bytes of an image file. Raises DataError where there are none, or more than MAX_BYTES."""
    with parsing(path, IMAGE), open(path, "rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: {size:,} bytes, more than the limit of {MAX_BYTES:,} for an image.")
        data = handle.read()
    if not data:
        raise DataError(f"{path}: the file is empty. Fetch it again.")
    return data


def decode_pixels(data: bytes, path: Path | str) -> np.ndarray:
    """`read_pixels` of bytes that are already in memory; `path` is for messages."""
    name = str(path)
    if data.startswith(PNG):
        return decode_png(data, name, MAX_PIXELS)
    if data.startswith(JPEG):
        return decode_jpeg(data, name, MAX_PIXELS)
    if data[128:132] == b"DICM":
        return read_dicom(data, name, MAX_PIXELS)
    raise DataError(f"{name}: neither PNG, JPEG nor DICOM. Fetch it again or convert it.")


def image_size(path: Path | str) -> tuple[int, int]:
    """(height, width) of the pixels that `read_pixels` gives, from the header of a PNG, JPEG or DICOM file.

    Raises DataError where there is no such header.
    """
    with parsing(path, IMAGE), open(path, "rb") as handle:
        head = handle.read(1 << 16)
        if head.startswith(JPEG):
            head += handle.read(1 << 22)
    if not head:
        raise DataError(f"{path}: the file is empty. Fetch it again.")
    if head.startswith(PNG):
        png = png_header(head, str(path))
        return png.height, png.width
    if head.startswith(JPEG):
        jpeg = jpeg_header(head, str(path))
        upright = jpeg.orientation < 5
        return (jpeg.height, jpeg.width) if upright else (jpeg.width, jpeg.height)
    header = read_header(path)
    return header.height, header.width


def preprocess(pixels: np.ndarray, steps: Preprocessing) -> np.ndarray:
    """(S, S) uint8, S = steps.side, of (H, W) uint8, uint16 or float in [0, 1].

    depth, first: `full` divides by the range of the type; `high-byte` keeps the upper 8 bits; `min-max`
    stretches the image's own range to 0..255, rounded down, and makes a constant image black.
    fit: `pad` scales the longer side to `size`, the shorter one rounded down, and pads with 0, the odd pixel
    below or right (CARZero, datasets/utils: resize_img); `crop` scales the shorter side to `size`, the
    longer one rounded down, and cuts the centre once to `side` (torchvision Resize and CenterCrop);
    `stretch` ignores the aspect. After `pad` and `stretch` the centre of side `crop` is cut.
    interpolation: `area` is OpenCV's INTER_AREA; `bilinear` and `bicubic` are Pillow's, which low-pass.
    Raises ParamsError where `crop` is larger than `size`, DataError for another shape or type.
    """
    plan = geometry(pixels.shape, steps)
    grey = _to_8bit(pixels, steps.depth)
    size = (plan.resized[1], plan.resized[0])
    if size != (grey.shape[1], grey.shape[0]):
        if steps.interpolation == "area":
            grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA))
        else:
            grey = np.asarray(Image.fromarray(grey).resize(size, _INTERPOLATION[steps.interpolation]))
    side = plan.side
    out = np.zeros((side, side), dtype=np.uint8)
    rows, rows_in = _overlap(plan.offset[0], plan.resized[0], side)
    columns, columns_in = _overlap(plan.offset[1], plan.resized[1], side)
    out[rows, columns] = grey[rows_in, columns_in]
    return out


def _to_8bit(pixels: np.ndarray, depth: str) -> np.ndarray:
    if pixels.dtype.kind == "f":
        return _to_8bit(np.rint(np.clip(pixels, 0, 1) * 65535).astype(np.uint16), depth)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise DataError(f"pixels of type {pixels.dtype}; expected uint8, uint16 or float in [0, 1].")
    if depth == "min-max":
        low, high = int(pixels.min()), int(pixels.max())
        if (low, high) == (0, 255) and pixels.dtype == np.uint8:
            return pixels
        table = np.zeros(high + 1, dtype=np.uint8)
        if high > low:
            table[low:] = (np.arange(high - low + 1, dtype=np.int64) * 255) // (high - low)
        return np.asarray(table[pixels])
    if pixels.dtype == np.uint8:
        return pixels
    if depth == "high-byte":
        return (pixels >> 8).astype(np.uint8)
    return ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _overlap(offset: int, length: int, side: int) -> tuple[slice, slice]:
    """Where `length` resized pixels lie in the view, and which of them."""
    start, stop = max(offset, 0), min(offset + length, side)
    return slice(start, stop), slice(start - offset, stop - offset)


@dataclass(frozen=True)
class Geometry:
    """How one image lies in the encoder's view.

    original, resized: (height, width). offset: (y, x) of the resized image's corner in the view, negative
    where it is cut.
    """

    original: tuple[int, int]
    resized: tuple[int, int]
    offset: tuple[int, int]
    side: int


def geometry(shape: tuple[int, ...], steps: Preprocessing) -> Geometry:
    """Where an image of (height, width) lies in the view that `preprocess` makes of it."""
    if len(shape) != 2 or min(shape) < 1:
        raise DataError(f"pixels of shape {tuple(shape)}; expected one grey image (height, width).")
    if steps.crop is not None and steps.crop > steps.size:
        raise ParamsError(f"preprocessing: crop {steps.crop} is larger than size {steps.size}.")
    height, width = shape
    size, side = steps.size, steps.side
    if steps.fit == "stretch":
        resized = (size, size)
    else:
        pick = max if steps.fit == "pad" else min
        key = pick(height, width)
        resized = (_scaled(height, key, steps), _scaled(width, key, steps))
    if steps.fit == "crop":
        offset = (-_centre(resized[0], side), -_centre(resized[1], side))
    else:
        cut = _centre(size, side)
        offset = ((size - resized[0]) // 2 - cut, (size - resized[1]) // 2 - cut)
    return Geometry((height, width), resized, offset, side)


def _scaled(length: int, key: int, steps: Preprocessing) -> int:
    """A side after resizing, cut to an integer as the official codes do it: CARZero multiplies by a float
    ratio, torchvision divides a product. At least one pixel."""
    if length == key:
        return steps.size
    exact = length * (steps.size / key) if steps.fit == "pad" else steps.size * length / key
    return max(int(exact), 1)


def _centre(length: int, side: int) -> int:
    """First row of a centre crop (torchvision: round half to even)."""
    return round((length - side) / 2.0)
