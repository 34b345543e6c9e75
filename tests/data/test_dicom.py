"""DICOM objects against pydicom's own functions, and headers that lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_color_lut, apply_windowing
from pydicom.uid import UID, JPEGLosslessSV1, JPEGLSLossless

from benchmark.core.errors import DataError
from benchmark.core.preprocessing import Preprocessing
from benchmark.data.pixels import decode_pixels, preprocess, read_pixels
from benchmark.twins.writers.dicom import uid, write_dicom

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
WEIGHTS = np.array([0.299, 0.587, 0.114])


def write(path: Path, stored: np.ndarray, bits: int, **options) -> Dataset:  # type: ignore[no-untyped-def]
    write_dicom(path, stored, instance=uid("i"), study=uid("s"), series=uid("r"), bits=bits, **options)
    return pydicom.dcmread(path)


def ramp(top: int, size: int = 64) -> np.ndarray:
    stored = np.linspace(0, top, size * size).reshape(size, size)
    return stored.astype(np.uint8 if top < 256 else np.uint16)


def palette(path: Path, depth: int, tables: np.ndarray) -> Dataset:
    """An 8-bit index into 256 entries of `depth` bits."""
    header = write(path, ramp(255), 8)
    header.PhotometricInterpretation = "PALETTE COLOR"
    for name, table in zip(("Red", "Green", "Blue"), tables, strict=True):
        header.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [256, 0, depth])
        data = table.astype("<u2" if depth == 16 else np.uint8).tobytes()
        header.add_new(f"{name}PaletteColorLookupTableData", "OW", data)
    header.save_as(path)
    return header


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("curve", [0.4, 1.0, 2.5])
def test_a_palette_has_the_depth_of_its_tables(tmp_path: Path, depth: int, curve: float) -> None:
    top = (1 << depth) - 1
    shares = (np.arange(256) / 255) ** curve
    tables = np.stack([shares, shares * 0.8, 1 - shares]) * top
    header = palette(tmp_path / "a.dcm", depth, np.rint(tables))
    wanted = apply_color_lut(header.pixel_array, header) @ WEIGHTS
    read = read_pixels(tmp_path / "a.dcm")
    assert read.dtype == (np.uint8 if depth == 8 else np.uint16)
    np.testing.assert_allclose(read, wanted, atol=0.5 + top / 65535)


@pytest.mark.parametrize("name", ["examples_palette.dcm", "examples_rgb_color.dcm", "SC_rgb_rle_16bit.dcm"])
def test_public_colour_objects_are_as_pydicom_reads_them(name: str) -> None:
    header = pydicom.dcmread(BUNDLED / name)
    colour = header.pixel_array
    if header.PhotometricInterpretation == "PALETTE COLOR":
        colour = apply_color_lut(colour, header)
    read = read_pixels(BUNDLED / name)
    np.testing.assert_allclose(read, colour @ WEIGHTS, atol=1)


def test_a_window_is_not_for_colour(tmp_path: Path) -> None:
    plain = palette(tmp_path / "a.dcm", 16, np.tile(np.arange(256) * 257, (3, 1)))
    before = read_pixels(tmp_path / "a.dcm")
    plain.WindowCenter, plain.WindowWidth, plain.RescaleSlope, plain.RescaleIntercept = 100, 20, 3, -7
    plain.save_as(tmp_path / "b.dcm")
    np.testing.assert_array_equal(read_pixels(tmp_path / "b.dcm"), before)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_data_in_the_lower_bits_keep_their_levels(tmp_path: Path, bits: int, signed: bool) -> None:
    """Of 16 bits that the header calls stored only some are used, and there is no window."""
    stored = ramp((1 << bits) - 1).astype(np.uint16)
    if signed:
        stored = (stored.astype(np.int32) - (1 << (bits - 1))).astype(np.int16).view(np.uint16)
    header = write(tmp_path / "a.dcm", stored, 16)
    header.PixelRepresentation = int(signed)
    header.save_as(tmp_path / "a.dcm")
    pixels = read_pixels(tmp_path / "a.dcm")
    assert pixels.max() == 65535
    assert pixels.min() == 0
    full = preprocess(pixels, Preprocessing(size=64, fit="stretch", depth="full", interpolation="area"))
    assert len(np.unique(full)) >= 200


def test_padding_does_not_widen_the_range(tmp_path: Path) -> None:
    stored = ramp(4095)
    stored[:, :4] = 65535
    pixels = read_pixels_of(write(tmp_path / "a.dcm", stored, 16, padding=65535), tmp_path / "a.dcm")
    assert (pixels[:, :4] == 0).all()
    assert pixels.max() > 65000


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("width", [1.0, 6.0])
def test_a_window_has_the_shape_that_its_header_names(tmp_path: Path, function: str, width: float) -> None:
    """Narrow, so that the half and the one of the standard's LINEAR can be told from LINEAR_EXACT."""
    header = write(tmp_path / "a.dcm", ramp(15), 8, slope=1.0, intercept=0.0, window=(7.0, width))
    header.VOILUTFunction = function
    header.save_as(tmp_path / "a.dcm")
    wanted = apply_windowing(header.pixel_array, header) / 255
    read = read_pixels(tmp_path / "a.dcm")
    np.testing.assert_allclose(read / np.iinfo(read.dtype).max, wanted, atol=1 / 250)


def read_pixels_of(_: Dataset, path: Path) -> np.ndarray:
    return read_pixels(path)


@pytest.mark.parametrize("tag", ["RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_numbers_that_are_none_are_refused(tmp_path: Path, tag: str, value: str) -> None:
    path = tmp_path / "a.dcm"
    header = write(path, ramp(4095), 12, slope=1.0, intercept=0.0, window=(2000.0, 1000.0))
    header[tag]._value = value  # pydicom checks what is assigned, not what a file holds
    header.save_as(path)
    with pytest.raises(DataError, match=rf"a\.dcm: {tag} is"):
        read_pixels(path)


def test_a_slope_of_nothing_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.dcm", ramp(4095), 12, slope=0.0, intercept=0.0)
    with pytest.raises(DataError, match="RescaleSlope is 0"):
        read_pixels(tmp_path / "a.dcm")


def test_bits_that_lie_high_in_their_word_are_refused(tmp_path: Path) -> None:
    header = write(tmp_path / "a.dcm", ramp(4095) << 4, 12)
    header.HighBit = 15
    header.save_as(tmp_path / "a.dcm")
    with pytest.raises(DataError, match="not the lowest"):
        read_pixels(tmp_path / "a.dcm")


@pytest.mark.parametrize(
    ("syntax", "package"),
    [
        (JPEGLosslessSV1, "pylibjpeg-libjpeg"),
        (UID("1.2.840.10008.1.2.4.57"), "pylibjpeg-libjpeg"),
        (JPEGLSLossless, "pylibjpeg-libjpeg"),
    ],
)
def test_the_missing_decoder_is_named(tmp_path: Path, syntax: UID, package: str) -> None:
    header = write(tmp_path / "a.dcm", ramp(255), 8)
    header.PixelData = encapsulate([b"\xff\xd8\xff\xc3" + bytes(60)])
    header["PixelData"].is_undefined_length = True
    header.file_meta.TransferSyntaxUID = syntax
    header.save_as(tmp_path / "a.dcm")
    with pytest.raises(DataError, match=rf"a\.dcm.*{package}.*cxr-alignbench\[dicom\]"):
        read_pixels(tmp_path / "a.dcm")


@pytest.mark.parametrize("installed", [False, True])
@pytest.mark.parametrize("kind", [RuntimeError, ValueError, AttributeError, AssertionError])
def test_a_decoder_is_missed_only_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception], installed: bool
) -> None:
    header = write(tmp_path / "a.dcm", ramp(255), 8)
    header.PixelData = encapsulate([b"\xff\xd8\xff\xc3" + bytes(60)])
    header["PixelData"].is_undefined_length = True
    header.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    header.save_as(tmp_path / "a.dcm")

    def fails(_self: Dataset) -> None:
        raise kind("of a decoder")

    monkeypatch.setattr(Dataset, "pixel_array", property(fails))
    monkeypatch.setattr("benchmark.data.dicom.find_spec", lambda _: object() if installed else None)
    with pytest.raises(DataError, match=r"a\.dcm: .*of a decoder") as refused:
        read_pixels(tmp_path / "a.dcm")
    assert ("pylibjpeg-libjpeg" in str(refused.value)) is not installed


def test_a_damaged_jpeg_inside_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    header = write(tmp_path / "a.dcm", rng.integers(0, 256, (64, 64)).astype(np.uint8), 8, jpeg=90)
    frame = pydicom.encaps.get_frame(header.PixelData, 0, number_of_frames=1)
    good = read_pixels(tmp_path / "a.dcm")
    np.testing.assert_array_equal(good, header.pixel_array)
    header.PixelData = encapsulate([frame[: len(frame) // 2] + b"\xff\xd9"])
    header.save_as(tmp_path / "cut.dcm")
    with pytest.raises(DataError, match=r"cut\.dcm.*truncated or damaged"):
        read_pixels(tmp_path / "cut.dcm")
    header.Rows = 32
    header.PixelData = encapsulate([frame])
    header.save_as(tmp_path / "other.dcm")
    with pytest.raises(DataError, match=r"other\.dcm.*64x64 pixels for 64x32"):
        read_pixels(tmp_path / "other.dcm")


@pytest.mark.parametrize("path", sorted(BUNDLED.glob("*.dcm")), ids=lambda p: p.name)
def test_every_public_object_is_an_image_or_one_line(path: Path) -> None:
    try:
        pixels = read_pixels(path)
    except DataError as error:
        said = str(error)
    else:
        assert pixels.ndim == 2
        said = str(path)
    assert said.startswith(str(path))
    assert "\n" not in said


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), new=st.binary(max_size=16), gone=st.integers(0, 16))
def test_a_changed_object_is_an_image_or_one_line(
    tmp_path: Path, place: float, new: bytes, gone: int
) -> None:
    path = tmp_path / "whole.dcm"
    if not path.exists():
        write(path, ramp(4095, 16), 12, slope=1.0, intercept=0.0, window=(2000.0, 1000.0))
    data = path.read_bytes()
    at = 132 + int(place * (len(data) - 132))
    try:
        said = str(decode_pixels(data[:at] + new + data[at + gone :], "x.dcm").ndim)
    except DataError as error:
        said = str(error)
    assert said == "2" or said.startswith("x.dcm: ")


def test_the_objects_of_the_cases(shared: Path) -> None:
    folder = shared / "cases" / "dicom"
    header = pydicom.dcmread(folder / "pal16.dcm")
    wanted = apply_color_lut(header.pixel_array, header) @ WEIGHTS
    read = read_pixels(folder / "pal16.dcm")
    assert np.corrcoef(read.ravel(), wanted.ravel())[0, 1] > 0.999999
    steps = Preprocessing(size=64, fit="stretch", depth="full", interpolation="area")
    assert len(np.unique(preprocess(read_pixels(folder / "w12in16.dcm"), steps))) >= 200
