"""PNG and JPEG bytes to grey pixels, whole or not at all.

A decoder that goes on after an error returns part of an image with the rest grey or shifted; here every
warning of a decoder, a wrong sum and a missing row is an error.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from benchmark.core.errors import DataError
from benchmark.core.guard import parsing

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""First column and row and the steps of an interlaced PNG's seven passes."""
_UPRIGHT: dict[int, tuple[Callable[[np.ndarray], np.ndarray], ...]] = {
    1: (),
    2: (np.fliplr,),
    3: (np.fliplr, np.flipud),
    4: (np.flipud,),
    5: (np.transpose,),
    6: (np.transpose, np.fliplr),
    7: (np.transpose, np.fliplr, np.flipud),
    8: (np.transpose, np.flipud),
}
"""EXIF orientation → what makes the stored rows upright."""


class PngHeader(NamedTuple):
    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool


def decode_png(data: bytes, name: str, max_pixels: int) -> np.ndarray:
    header = png_header(data, name)
    _bounded(header.width, header.height, max_pixels, name)
    if header.colour == 0 and header.depth >= 8:
        grey = _decode_grey_png(data, header)
        if grey is not None:
            return grey
    _check_png(data, header, name)
    with parsing(name, "a PNG image"):
        if header.depth == 16 and header.colour in (0, 2, 6):
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            if pixels is None:
                raise ValueError("OpenCV cannot decode it")
            order = [2, 1, 0, *range(3, pixels.shape[2])] if pixels.ndim == 3 else ...
            return _one_channel(pixels[..., order])
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.mode in ("L", "RGB", "RGBA", "LA"):
                return _one_channel(np.asarray(image))
            return _one_channel(np.asarray(image.convert("RGBA" if "transparency" in image.info else "RGB")))


def _decode_grey_png(data: bytes, header: PngHeader) -> np.ndarray | None:
    """The quick path for 8 and 16 bit grey, which checks sums and sizes itself; None where the slow path has
    to look (and to complain)."""
    from kornia_rs.io import decode_image_png_u8, decode_image_png_u16

    decode = decode_image_png_u8 if header.depth == 8 else decode_image_png_u16
    try:
        return np.asarray(decode(data, (header.height, header.width), "mono"))[..., 0]
    except Exception:
        return None


def png_header(data: bytes, name: str) -> PngHeader:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise DataError(f"{name}: the PNG is truncated. Fetch it again.")
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    return PngHeader(width, height, depth, colour, bool(interlaced))


def _check_png(data: bytes, header: PngHeader, name: str) -> None:
    """What Pillow and OpenCV let pass: a chunk with a wrong sum, no end, fewer rows than announced."""
    at, kind = 8, b""
    unpack = zlib.decompressobj()
    rows, expected = 0, _png_bytes(header)
    with parsing(name, "a PNG image"):
        while kind != b"IEND":
            length = int.from_bytes(data[at : at + 4], "big")
            kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
            if at + 12 + length > len(data):
                raise ValueError("it is truncated")
            if zlib.crc32(kind + body) != int.from_bytes(data[at + 8 + length : at + 12 + length], "big"):
                raise ValueError(f"it is damaged: the sum of chunk {kind.decode('latin-1')} is wrong")
            if kind == b"IDAT" and rows < expected:
                rows += len(unpack.decompress(body, expected - rows))
            at += 12 + length
        if rows < expected:
            raise ValueError(f"it is truncated: {rows:,} of {expected:,} bytes of pixels")


def _png_bytes(header: PngHeader) -> int:
    """Bytes of all rows, each with its filter byte, over the passes of an interlaced image."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(header.colour, 1)
    passes = _ADAM7 if header.interlaced else ((0, 0, 1, 1),)
    total = 0
    for x, y, step_x, step_y in passes:
        width, height = -(-(header.width - x) // step_x), -(-(header.height - y) // step_y)
        if width > 0 and height > 0:
            total += height * (1 + -(-width * channels * header.depth // 8))
    return total


class JpegHeader(NamedTuple):
    """orientation: EXIF's number, 1 where none is given."""

    width: int
    height: int
    components: int
    orientation: int


def decode_jpeg(data: bytes, name: str, max_pixels: int) -> np.ndarray:
    """Luminance, turned as EXIF says. Raises DataError for a damaged, cut or too large one and for CMYK."""
    header = jpeg_header(data, name)
    _bounded(header.width, header.height, max_pixels, name)
    if header.components not in (1, 3):
        raise DataError(f"{name}: JPEG of {header.components} components; expected grey or RGB. Convert it.")
    pixels = jpeg_luminance(data, name)
    for step in _UPRIGHT[header.orientation]:
        pixels = step(pixels)
    return np.ascontiguousarray(pixels)


def jpeg_luminance(data: bytes, name: str) -> np.ndarray:
    """(H, W) uint8 by libjpeg-turbo, whose warnings are errors: data that end early or do not decode.

    A JPEG has no checksum: damage that decodes without contradiction cannot be told from an image.
    """
    from kornia_rs.io import decode_image_jpegturbo

    try:
        return np.asarray(decode_image_jpegturbo(data, "mono"))[..., 0]
    except Exception:
        raise DataError(f"{name}: the JPEG is truncated or damaged. Fetch it again.") from None


def jpeg_header(data: bytes, name: str) -> JpegHeader:
    """From the segments before the first scan."""
    at, width, height, components, orientation = 2, 0, 0, 0, 1
    while at + 9 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xDA and width and height:
            return JpegHeader(width, height, components, orientation)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width, components = struct.unpack(">HHB", data[at + 5 : at + 10])
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _orientation(data[at + 4 : at + 2 + length])
        at += 2 + length
    raise DataError(f"{name}: the JPEG is truncated or damaged. Fetch it again.")


def _orientation(segment: bytes) -> int:
    """How EXIF says the stored pixels must be turned; 1, upright, where it is damaged."""
    exif = Image.Exif()
    try:
        exif.load(segment)
        value = exif.get(0x0112, 1)
    except Exception:
        return 1
    return value if value in _UPRIGHT else 1


def _bounded(width: int, height: int, max_pixels: int, name: str) -> None:
    if width * height > max_pixels:
        raise DataError(
            f"{name}: the header announces {width}x{height} pixels, more than the limit of {max_pixels}."
        )
    if width * height == 0:
        raise DataError(f"{name}: the header announces {width}x{height} pixels. Fetch it again.")


def _one_channel(pixels: np.ndarray) -> np.ndarray:
    """(H, W) of (H, W), (H, W, 2) grey and alpha, (H, W, 3) RGB or (H, W, 4) RGB and alpha."""
    if pixels.ndim == 2:
        return np.ascontiguousarray(pixels)
    count = pixels.shape[2]
    colour, alpha = (pixels[..., :-1], pixels[..., -1]) if count in (2, 4) else (pixels, None)
    grey = colour[..., 0]
    if colour.shape[2] == 3 and not (
        np.array_equal(grey, colour[..., 1]) and np.array_equal(grey, colour[..., 2])
    ):
        grey = cv2.cvtColor(np.ascontiguousarray(colour), cv2.COLOR_RGB2GRAY)
    top = np.iinfo(pixels.dtype).max
    if alpha is not None and (alpha != top).any():
        grey = np.rint(grey.astype(np.float64) * alpha / top).astype(pixels.dtype)
    return np.ascontiguousarray(grey)
