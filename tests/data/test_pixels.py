"""Image files to grey pixels, and grey pixels to the view of an encoder."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmark.core.errors import DataError, ParamsError
from benchmark.core.preprocessing import Preprocessing
from benchmark.data import pixels as pixels_module
from benchmark.data.pixels import geometry, preprocess, read_pixels
from benchmark.twins.writers.dicom import uid, write_dicom


def noise(shape: tuple[int, ...], top: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, top + 1, shape).astype(np.uint8 if top < 256 else np.uint16)


def dicom(path: Path, stored: np.ndarray, bits: int, **options) -> Path:  # type: ignore[no-untyped-def]
    write_dicom(path, stored, instance=uid("i"), study=uid("s"), series=uid("r"), bits=bits, **options)
    return path


@pytest.mark.parametrize("top", [255, 65535])
def test_png_keeps_its_depth(tmp_path: Path, top: int) -> None:
    stored = noise((37, 53), top)
    Image.fromarray(stored).save(tmp_path / "a.png")
    read = read_pixels(tmp_path / "a.png")
    assert read.dtype == stored.dtype
    np.testing.assert_array_equal(read, stored)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_low_depth_png_becomes_8_bit(tmp_path: Path, bits: int) -> None:
    levels = noise((8, 8), (1 << bits) - 1)
    Image.fromarray((levels * (255 // ((1 << bits) - 1))).astype(np.uint8)).convert("P").save(
        tmp_path / "a.png", bits=8
    )
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.png"), levels * (255 // ((1 << bits) - 1)))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_equal_channels_give_that_channel(tmp_path: Path, mode: str) -> None:
    stored = noise((21, 30), 255)
    Image.fromarray(stored).convert(mode).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.png"), stored)


def test_16_bit_colour_keeps_its_depth(tmp_path: Path) -> None:
    stored = noise((9, 7), 65535)
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([stored] * 3))
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.png"), stored)


def test_colour_becomes_luminance_and_transparency_black(tmp_path: Path) -> None:
    red = np.zeros((4, 4, 4), np.uint8)
    red[..., 0], red[..., 3] = 200, 255
    red[:2, :, 3] = 0
    Image.fromarray(red).save(tmp_path / "a.png")
    read = read_pixels(tmp_path / "a.png")
    assert (read[:2] == 0).all()
    assert (read[2:] == round(0.299 * 200)).all()


def test_jpeg_is_what_the_official_code_reads(tmp_path: Path) -> None:
    smooth = cv2.GaussianBlur(noise((64, 80), 255), (0, 0), 3)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    np.testing.assert_array_equal(
        read_pixels(tmp_path / "a.jpg"), cv2.imread(str(tmp_path / "a.jpg"), cv2.IMREAD_GRAYSCALE)
    )


def test_format_is_told_by_content(tmp_path: Path) -> None:
    Image.fromarray(noise((5, 5), 255)).save(tmp_path / "a.png")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.png").read_bytes())
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.jpg"), read_pixels(tmp_path / "a.png"))


@pytest.mark.parametrize("kind", ["L", "I;16", "RGB", "jpg", "dcm"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.99])
def test_truncated_files_name_the_file(tmp_path: Path, kind: str, share: float) -> None:
    stored = noise((64, 64), 65535 if kind == "I;16" else 255)
    good = tmp_path / ("whole.jpg" if kind == "jpg" else "whole.png")
    if kind == "dcm":
        dicom(good, stored, 8)
    else:
        Image.fromarray(stored).convert("RGB" if kind == "RGB" else None).save(good)
    data = good.read_bytes()
    cut = tmp_path / "cut.file"
    cut.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=r"cut\.file"):
        read_pixels(cut)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_damaged_png_is_no_image(tmp_path: Path, mode: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(noise((64, 64), 255)).convert(mode).save(buffer, "png")
    data = bytearray(buffer.getvalue())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.png").write_bytes(bytes(data))
    with pytest.raises(DataError, match="damaged"):
        read_pixels(tmp_path / "a.png")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_bombs_are_refused_by_their_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    (tmp_path / "bomb.png").write_bytes(bomb + chunk(b"IEND", b""))
    with pytest.raises(DataError, match=r"bomb\.png.*60000x60000"):
        read_pixels(tmp_path / "bomb.png")
    monkeypatch.setattr(pixels_module, "MAX_PIXELS", 100)
    Image.fromarray(noise((20, 20), 255)).save(tmp_path / "b.jpg")
    dicom(tmp_path / "b.dcm", noise((20, 20), 255), 8)
    for name in ("b.jpg", "b.dcm"):
        with pytest.raises(DataError, match="limit"):
            read_pixels(tmp_path / name)
    monkeypatch.setattr(pixels_module, "MAX_BYTES", 10)
    with pytest.raises(DataError, match="bytes"):
        read_pixels(tmp_path / "b.jpg")


def test_missing_empty_and_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "page.png").write_text("<html>not found</html>")
    for name, reason in (("none.png", "no such file"), ("empty.png", "empty"), ("page.png", "neither")):
        with pytest.raises(DataError, match=rf"{name}.*{reason}"):
            read_pixels(tmp_path / name)
    with pytest.raises(DataError, match="is a folder"):
        read_pixels(tmp_path)


def test_dicom_photometric_pair(shared: Path) -> None:
    folder = shared / "data" / "dicom"
    negative = read_pixels(folder / "Fake_MONOHR1.dcm")
    positive = read_pixels(next(p for p in folder.glob("*.dcm") if "Fake" not in p.name))
    assert positive.shape == (1024, 1024)
    assert positive.dtype == np.uint8
    assert (positive.min(), positive.max()) == (0, 254)
    np.testing.assert_array_equal(negative, 255 - positive)


def test_real_nih_images(shared: Path) -> None:
    paths = sorted((shared / "data" / "nih1000" / "images").glob("*.png"))
    modes: dict[str, Path] = {}
    for path in paths:
        with Image.open(path) as image:
            modes.setdefault(image.mode, path)
        assert read_pixels(path).shape == (64, 64)
    assert set(modes) == {"RGB", "RGBA"}
    for path in modes.values():
        np.testing.assert_array_equal(read_pixels(path), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))


@pytest.mark.parametrize("bits", [10, 12, 14, 15, 16])
def test_dicom_stored_bits_span_the_range(tmp_path: Path, bits: int) -> None:
    stored = np.array([[0, (1 << bits) - 1], [1 << (bits - 1), 1]], np.uint16)
    read = read_pixels(dicom(tmp_path / "a.dcm", stored, bits))
    assert read.dtype == np.uint16
    np.testing.assert_allclose(read, stored / ((1 << bits) - 1) * 65535, atol=1)
    assert read.max() == 65535


def test_dicom_bits_above_the_stored_ones_are_ignored(tmp_path: Path) -> None:
    stored = noise((6, 6), 4095)
    clean = read_pixels(dicom(tmp_path / "a.dcm", stored, 12))
    np.testing.assert_array_equal(read_pixels(dicom(tmp_path / "b.dcm", stored | 0x8000, 12)), clean)


def test_dicom_inverts_after_the_window(tmp_path: Path) -> None:
    stored = noise((16, 16), 4095)
    options = {"window": (2048.0, 1000.0)}
    a = read_pixels(dicom(tmp_path / "a.dcm", stored, 12, **options)).astype(int)
    b = read_pixels(dicom(tmp_path / "b.dcm", stored, 12, photometric="MONOCHROME1", **options)).astype(int)
    np.testing.assert_array_equal(a, 65535 - b)
    low, high = 2047.5 - 999 / 2, 2047.5 + 999 / 2
    expected = np.clip((stored - low) / (high - low), 0, 1) * 65535
    np.testing.assert_allclose(a, expected, atol=1)


def test_dicom_window_applies_to_rescaled_values(tmp_path: Path) -> None:
    stored = noise((16, 16), 4095)
    a = read_pixels(dicom(tmp_path / "a.dcm", stored, 12, window=(2000.0, 801.0)))
    b = read_pixels(
        dicom(tmp_path / "b.dcm", stored, 12, slope=2.0, intercept=-500.0, window=(3500.0, 1601.0))
    )
    np.testing.assert_allclose(a.astype(float), b.astype(float), atol=65535 / 800)
    c = read_pixels(dicom(tmp_path / "c.dcm", stored, 12, slope=-1.0, intercept=4095.0))
    np.testing.assert_allclose(c, np.rint((4095 - stored) / 4095 * 65535), atol=1)


def test_dicom_voi_lut_and_padding(tmp_path: Path) -> None:
    from pydicom import dcmread
    from pydicom.dataset import Dataset

    stored = np.array([[0, 1, 2, 3]], np.uint8)
    path = dicom(tmp_path / "a.dcm", stored, 8)
    header = dcmread(path)
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [4, 0, 8])
    table.add_new("LUTData", "OW", bytes([0, 0, 10, 0, 250, 0, 255, 0]))
    header.VOILUTSequence = [table]
    header.save_as(path)
    np.testing.assert_array_equal(read_pixels(path), [[0, 2570, 64250, 65535]])
    padded = dicom(tmp_path / "b.dcm", stored, 8, photometric="MONOCHROME1", padding=3)
    np.testing.assert_array_equal(read_pixels(padded), [[255, 254, 253, 0]])


def test_dicom_without_pixels_or_with_frames(tmp_path: Path) -> None:
    from pydicom import dcmread

    path = dicom(tmp_path / "a.dcm", noise((4, 4), 255), 8)
    header = dcmread(path)
    header.NumberOfFrames = 2
    header.save_as(tmp_path / "frames.dcm")
    del header.PixelData
    header.save_as(tmp_path / "none.dcm")
    with pytest.raises(DataError, match=r"frames\.dcm.*2 frames"):
        read_pixels(tmp_path / "frames.dcm")
    with pytest.raises(DataError, match=r"none\.dcm.*without pixel data"):
        read_pixels(tmp_path / "none.dcm")


def test_twin_dicom_bytes_repeat(tmp_path: Path) -> None:
    stored = noise((32, 32), 255)
    for jpeg in (None, 90):
        one = dicom(tmp_path / "a.dcm", stored, 8, jpeg=jpeg).read_bytes()
        assert dicom(tmp_path / "b.dcm", stored, 8, jpeg=jpeg).read_bytes() == one
    assert np.abs(read_pixels(tmp_path / "a.dcm").astype(int) - stored).max() < 40


def test_crop_is_torchvision(tmp_path: Path) -> None:
    from torchvision.transforms import v2

    official = v2.Compose([v2.Resize(36, interpolation=v2.InterpolationMode.BICUBIC), v2.CenterCrop(32)])
    for shape in ((50, 81), (81, 50), (40, 40), (97, 33)):
        image = noise(shape, 255)
        ours = preprocess(
            image, Preprocessing(size=36, crop=32, depth="full", fit="crop", interpolation="bicubic")
        )
        np.testing.assert_array_equal(ours, np.asarray(official(Image.fromarray(image))))


def test_depth_rules() -> None:
    wide = np.array([[0, 255, 256, 40_000, 65_535]], np.uint16).repeat(5, axis=0)

    def first(depth: str, image: np.ndarray = wide) -> object:
        return preprocess(image, Preprocessing(size=5, depth=depth, fit="stretch"))[0].tolist()  # type: ignore[arg-type]

    assert first("high-byte") == [0, 0, 1, 156, 255]
    assert first("full") == [0, 1, 1, 156, 255]
    assert first("min-max", wide // 2 + 100) == [0, 0, 0, 155, 255]
    assert first("min-max", np.full((5, 5), 77, np.uint8)) == [0] * 5
    assert first("full", np.full((5, 5), 77, np.uint8)) == [77] * 5
    assert first("full", np.linspace(0, 1, 5, dtype=np.float32)[None].repeat(5, 0)) == [0, 64, 128, 191, 255]


def test_wrong_pixels_and_crop() -> None:
    with pytest.raises(ParamsError, match="crop 9"):
        preprocess(noise((4, 4), 255), Preprocessing(size=8, crop=9))
    with pytest.raises(DataError, match="shape"):
        preprocess(np.zeros((4, 4, 3), np.uint8), Preprocessing(size=8))
    with pytest.raises(DataError, match="int64"):
        preprocess(np.zeros((4, 4), np.int64), Preprocessing(size=8))


STEPS = st.builds(
    Preprocessing,
    size=st.integers(8, 40),
    crop=st.one_of(st.none(), st.integers(4, 8)),
    depth=st.just("full"),
    fit=st.sampled_from(["pad", "crop", "stretch"]),
    interpolation=st.sampled_from(["area", "bilinear"]),
)
SIDES = st.integers(1, 120)


@settings(max_examples=60, deadline=None)
@given(height=SIDES, width=SIDES, steps=STEPS)
def test_geometry_matches_pixels(height: int, width: int, steps: Preprocessing) -> None:
    plan = geometry((height, width), steps)
    assert plan.side == steps.side
    assert plan.original == (height, width)
    view = preprocess(np.full((height, width), 200, np.uint8), steps)
    top, left = (max(corner, 0) for corner in plan.offset)
    bottom, right = (max(o + n, 0) for o, n in zip(plan.offset, plan.resized, strict=True))
    expected = np.zeros_like(view)
    expected[top:bottom, left:right] = 200
    np.testing.assert_array_equal(view, expected)
