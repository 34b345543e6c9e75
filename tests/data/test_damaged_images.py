"""`read_pixels` returns a whole image or refuses: files cut, changed or announcing what they do not hold."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmark.core.errors import DataError
from benchmark.data.pixels import decode_pixels, image_size, read_pixels

SHAPE = (75, 90)


def smooth(channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(4)
    planes = [
        cv2.GaussianBlur(rng.integers(0, 256, SHAPE).astype(np.uint8), (0, 0), 2) for _ in range(channels)
    ]
    return planes[0] if channels == 1 else np.dstack(planes)


def jpeg(channels: int = 1, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(smooth(channels)).save(buffer, "JPEG", **{"quality": 90, **options})
    return buffer.getvalue()


JPEGS = {
    "grey": jpeg(),
    "progressive": jpeg(progressive=True),
    "optimised": jpeg(optimize=True),
    "restarts": jpeg(restart_marker_rows=1),
    "colour 4:2:0": jpeg(3),
    "colour 4:4:4": jpeg(3, subsampling=0, quality=70),
    "stored as RGB": jpeg(3, keep_rgb=True),
}


def chunk(kind: bytes, body: bytes, sum_off: int = 0) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) ^ sum_off)


def png(
    depth: int, colour: int, *, rows: int = 1000, sum_off: int = 0, interlaced: int = 0, spoil: bool = False
) -> bytes:
    """An image of SHAPE that announces all of its rows and holds at most `rows`."""
    height, width = SHAPE
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = b"\0" + bytes(i % 251 for i in range(-(-width * channels * depth // 8)))
    packed = zlib.compress(row * min(rows, height))
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    palette = chunk(b"PLTE", bytes(range(256)) * 3) if colour == 3 else b""
    body = bytearray(chunk(b"IDAT", packed, sum_off))
    if spoil:
        body[len(body) // 2] ^= 0xFF
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + palette + bytes(body) + chunk(b"IEND", b"")


PNG_KINDS = [(1, 0), (8, 0), (16, 0), (8, 2), (16, 2), (8, 3), (8, 4), (16, 4), (8, 6), (16, 6)]


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_is_what_opencv_reads(name: str) -> None:
    data = JPEGS[name]
    np.testing.assert_array_equal(
        decode_pixels(data, name), cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_followed_as_opencv_follows_it(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(exif=exif))
    pixels = read_pixels(path)
    np.testing.assert_array_equal(pixels, cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    assert image_size(path) == pixels.shape


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("share", [0.55, 0.7, 0.9, 0.97])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_a_jpeg_without_its_end_is_refused(name: str, share: float, end: bytes) -> None:
    data = JPEGS[name]
    with pytest.raises(DataError, match=r"x\.jpg: the JPEG is truncated or damaged"):
        decode_pixels(data[: int(len(data) * share)] + end, "x.jpg")


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_that_lacks_bytes_in_its_middle_is_refused(name: str) -> None:
    data = JPEGS[name]
    first = data.find(b"\xff\xda") + 40
    cuts = [(at, size) for at in range(first, len(data) - 80, 97) for size in (20, 60)]
    refused = 0
    for at, size in cuts:
        try:
            decode_pixels(data[:at] + data[at + size :], name)
        except DataError:
            refused += 1
    least = 0.5 if name == "colour 4:2:0" else 0.9  # its six blocks a unit fall into step again more often
    assert refused >= least * len(cuts), refused / len(cuts)


@pytest.mark.parametrize("channels", [4])
def test_a_jpeg_of_four_components_says_so(channels: int) -> None:
    buffer = io.BytesIO()
    Image.fromarray(smooth(channels), "CMYK").save(buffer, "JPEG")
    with pytest.raises(DataError, match="4 components"):
        decode_pixels(buffer.getvalue(), "x.jpg")


@pytest.mark.parametrize(("depth", "colour"), PNG_KINDS)
def test_a_png_whose_rows_or_sums_are_wrong_is_refused(depth: int, colour: int) -> None:
    assert decode_pixels(png(depth, colour), "x.png").shape == SHAPE
    for off in (
        png(depth, colour, sum_off=1),
        png(depth, colour, rows=SHAPE[0] - 1),
        png(depth, colour, rows=1),
        png(depth, colour, spoil=True),
    ):
        with pytest.raises(DataError, match=r"x\.png: not a readable PNG image"):
            decode_pixels(off, "x.png")


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "LA"])
def test_an_interlaced_png_is_whole_only_with_all_passes(mode: str) -> None:
    """Pillow writes none, so the passes of an image of one value are made by hand."""
    colour = {"L": 0, "RGB": 2, "P": 3, "LA": 4}[mode]
    height, width = SHAPE
    channels = {0: 1, 2: 3, 3: 1, 4: 2}[colour]
    rows = b""
    for x, y, across, down in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        columns, lines = len(range(x, width, across)), len(range(y, height, down))
        rows += (b"\0" + b"\xff" * columns * channels) * lines if columns else b""
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 1)
    palette = chunk(b"PLTE", b"\xff" * 768) if colour == 3 else b""
    for packed, good in ((zlib.compress(rows), True), (zlib.compress(rows[:-1]), False)):
        data = (
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", head)
            + palette
            + chunk(b"IDAT", packed)
            + chunk(b"IEND", b"")
        )
        if good:
            assert (decode_pixels(data, "x.png") == 255).all()
        else:
            with pytest.raises(DataError, match=r"x\.png"):
                decode_pixels(data, "x.png")


@given(st.sampled_from(sorted(JPEGS)), st.binary(max_size=40), st.floats(0, 1), st.integers(0, 40))
def test_a_spoilt_jpeg_is_an_image_of_its_size_or_one_line(
    name: str, new: bytes, place: float, gone: int
) -> None:
    data = JPEGS[name]
    at = int(place * len(data))
    try:
        pixels = decode_pixels(data[:at] + new + data[at + gone :], "x.jpg")
    except DataError as error:
        said = str(error)
    else:
        said = "x.jpg: " if pixels.ndim == 2 else ""
    assert said.startswith("x.jpg: ")
    assert "\n" not in said


@given(st.sampled_from(PNG_KINDS), st.binary(min_size=1, max_size=40), st.floats(0, 1))
def test_a_png_that_is_changed_is_the_same_image_or_refused(
    kind: tuple[int, int], new: bytes, place: float
) -> None:
    good = png(*kind)
    at = int(place * (len(good) - len(new)))
    try:
        pixels = decode_pixels(good[:at] + new + good[at + len(new) :], "x.png")
    except DataError as error:
        said = str(error)
    else:
        np.testing.assert_array_equal(pixels, decode_pixels(good, "x.png"))
        said = "x.png: "
    assert said.startswith("x.png: ")


@given(st.sampled_from([*JPEGS.values(), png(8, 0)]), st.integers(0, 200))
def test_the_size_of_a_cut_file_is_its_size_or_one_line(tmp_path_factory, data: bytes, length: int) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.getbasetemp() / "cut.file"
    path.write_bytes(data[:length])
    try:
        size = image_size(path)
    except DataError as error:
        size, said = SHAPE, str(error)
    else:
        said = f"{path}: "
    assert size == SHAPE
    assert said.startswith(f"{path}: ")


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (60_000, 60_000)])
def test_sizes_that_cannot_be(size: tuple[int, int]) -> None:
    head = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    with pytest.raises(DataError, match=r"the header announces"):
        decode_pixels(data, "x.png")


@pytest.mark.parametrize("name", ["damaged-jpeg.jpg", "img-silent-jpgprog.bin"])
def test_damaged_files_that_people_have_are_refused(shared: Path, name: str) -> None:
    with pytest.raises(DataError, match=name):
        read_pixels(shared / "cases" / "damaged-images" / name)


def test_a_cut_png_of_the_cases_has_no_size(shared: Path) -> None:
    path = shared / "cases" / "damaged-images" / "img-image_size_error_at_data_pixels_py_87.bin"
    for read in (image_size, read_pixels):
        with pytest.raises(DataError, match="truncated"):
            read(path)
