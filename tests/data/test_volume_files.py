"""Volumes of any file: orientation, rescale, and bad files that end in one line."""

from __future__ import annotations

import gzip
import itertools
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from benchmark.core.errors import DataError
from benchmark.data.volume_grid import AIR, Told
from benchmark.data.volumes import read_volume

SHARED = Path(__file__).parents[3] / "shared" / "data"
REAL = [SHARED / "ct_volumes/example_ct.nii.gz", SHARED / "ct_dicom/LIDC-IDRI-0003"]
needs_real = pytest.mark.skipif(not SHARED.is_dir(), reason="the real volumes are not part of the repository")


def _body(shape: tuple[int, int, int] = (6, 8, 10)) -> np.ndarray:
    """(Z, Y, X) with air around, bone at the back and a bright spot at the left, towards the head."""
    hu = np.full(shape, -1000, np.int16)
    hu[:, 2:6, 2:8] = 40
    hu[:, 5, 4:6] = 700
    hu[-2, 3, 7] = 1200
    return hu


def _write(path: Path, hu: np.ndarray, codes: str = "LPS", spacing=(1.5, 0.7, 0.7), dtype=np.int16) -> Path:
    """The same body stored along other axes."""
    from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

    image = hu.transpose(2, 1, 0).astype(dtype)
    affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    change = ornt_transform(axcodes2ornt("LPS"), axcodes2ornt(codes))
    stored = nibabel.apply_orientation(image, change)
    nibabel.Nifti1Image(stored, affine @ inv_ornt_aff(change, image.shape)).to_filename(path)
    return path


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_every_storage_order_gives_the_same_volume(tmp_path: Path, order: tuple[int, ...]) -> None:
    for signs in itertools.product((0, 1), repeat=3):
        codes = "".join(["RL", "AP", "IS"][axis][signs[axis]] for axis in order)
        volume = read_volume(_write(tmp_path / "v.nii", _body(), codes))
        np.testing.assert_array_equal(volume.hu, _body())
        assert volume.spacing == pytest.approx((1.5, 0.7, 0.7))


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_types_of_voxels(tmp_path: Path, dtype: type) -> None:
    volume = read_volume(_write(tmp_path / "v.nii.gz", _body(), dtype=dtype))
    assert volume.hu.dtype == np.int16
    np.testing.assert_array_equal(volume.hu, _body())


@needs_real
def test_left_and_right_of_real_volumes() -> None:
    """The liver is at the right of the upper abdomen, and the descending aorta at the left of the spine."""
    abdomen = read_volume(REAL[0]).hu
    upper = abdomen[int(0.85 * len(abdomen)) :, 20:80]
    soft = (upper > 30) & (upper < 80)
    half = upper.shape[2] // 2
    assert soft[:, :, :half].mean() > 1.2 * soft[:, :, half:].mean()
    chest = read_volume(REAL[1])
    assert chest.spacing == pytest.approx((2.5, 0.8203, 0.8203), abs=1e-3)
    beside = chest.hu[5, 315:345]  # the body of the vertebra reaches from column 228 to 275
    aorta, lung = beside[:, 282:298], beside[:, 204:220]
    assert np.median(aorta) > 200 > -700 > np.median(lung)


def test_rescale_is_applied_once(tmp_path: Path) -> None:
    told = Told(slope=1.0, intercept=-1024.0)
    body = _body()
    raw = read_volume(_write(tmp_path / "raw.nii", body + 1024), told)
    done = read_volume(_write(tmp_path / "done.nii", body), told)
    np.testing.assert_array_equal(raw.hu, body)
    np.testing.assert_array_equal(done.hu, body)
    with pytest.raises(DataError, match=r"raw\.nii: no value below 0"):
        read_volume(tmp_path / "raw.nii")


def test_a_slope_scales_the_voxels_and_what_no_int16_holds_is_cut(tmp_path: Path) -> None:
    body = _body()
    stored = (body + 1000) // 2
    told, own = tmp_path / "told.nii", tmp_path / "own.nii"
    rescaled = read_volume(_write(told, stored), Told(slope=2.0, intercept=-1000.0))
    np.testing.assert_array_equal(rescaled.hu, body)
    header = read_volume(_header(_write(own, stored), vox_offset=352, scl_slope=2.0, scl_inter=-1000.0))
    np.testing.assert_array_equal(header.hu, body)
    stored[-2, 3, 7] = 20_000
    assert read_volume(_write(told, stored), Told(slope=2.0, intercept=-1000.0)).hu.max() == 32767
    large = np.where(body == 1200, 40_000, body.astype(np.int32))
    assert read_volume(_write(own, large, dtype=np.int32)).hu.max() == 32767


def test_padding_is_air(tmp_path: Path) -> None:
    body = _body()
    body[:, 0], body[:, 1] = -2048, -3024
    assert (read_volume(_write(tmp_path / "v.nii", body)).hu[:, :2] == AIR).all()


def test_table_corrects_the_spacing_of_a_header(tmp_path: Path) -> None:
    path = _write(tmp_path / "v.nii", _body(), "SRA", spacing=(1, 1, 1))
    assert read_volume(path, Told(spacing=(2.0, 0.5, 0.5))).spacing == pytest.approx((2.0, 0.5, 0.5))


def test_npz_is_turned_and_never_unpickled(tmp_path: Path) -> None:
    body = _body()
    np.savez_compressed(tmp_path / "trn00001.npz", ct=body[::-1])
    volume = read_volume(tmp_path / "trn00001.npz")
    np.testing.assert_array_equal(volume.hu, body)
    assert volume.spacing == (0.8, 0.8, 0.8)
    np.savez(tmp_path / "objects.npz", ct=np.array([[[{"a": 1}]]], dtype=object))
    with pytest.raises(DataError, match=r"objects\.npz: 'ct' holds object"):
        read_volume(tmp_path / "objects.npz")
    np.savez(tmp_path / "other.npz", image=body)
    with pytest.raises(DataError, match=r"other\.npz: no array 'ct'"):
        read_volume(tmp_path / "other.npz")


def _cut(path: Path, keep: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def _header(path: Path, **fields: object) -> Path:
    header = nibabel.load(path).header
    for name, value in ({"vox_offset": 352} | fields).items():  # nibabel sets it to 0
        header[name] = value
    path.write_bytes(header.binaryblock + path.read_bytes()[348:])
    return path


def _twisted(path: Path) -> Path:
    image = nibabel.load(path)
    image.set_qform(np.diag([1.5, 0.7, 0.7, 1.0]), code=1)
    image.to_filename(path)
    return path


BAD = {
    "truncated": (lambda p: _cut(_write(p, _body()), 0.8), "ends in slice"),
    "empty": (lambda p: _cut(_write(p, _body()), 0), "empty"),
    "NaN": (
        lambda p: _write(p, np.where(_body() > 1000, np.nan, _body()), dtype=np.float32),
        "1 voxels are no",
    ),
    "one slice": (lambda p: _write(p, _body()[:1]), "no volume but a slice"),
    "two orientations": (lambda p: _twisted(_write(p, _body())), "two orientations"),
    "no orientation": (
        lambda p: _header(_write(p, _body()), sform_code=0, qform_code=0),
        "no orientation code",
    ),
    "no direction": (lambda p: _header(_write(p, _body()), srow_x=0), "direction"),
    "infinite": (lambda p: _header(_write(p, _body()), srow_x=np.nan), "direction|orientation"),
    "2 GB": (
        lambda p: _header(_write(p, _body()), dim=[3, 1024, 1024, 1024, 1, 1, 1, 1]),
        "more than the limit",
    ),
    "text": (lambda p: p.write_text("hello") and p, "not a NIfTI"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_nifti_is_one_line(tmp_path: Path, kind: str) -> None:
    make, message = BAD[kind]
    make(tmp_path / "bad.nii")
    with pytest.raises(DataError, match=message) as caught:
        read_volume(tmp_path / "bad.nii")
    assert "bad.nii" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("offset", [0, 344, 348, 351])
@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_voxels_that_begin_within_the_header(tmp_path: Path, offset: int, name: str) -> None:
    """The header was read as voxels: 5 to 25 % of them were wrong, and nothing said so."""
    path = _header(_write(tmp_path / "v.nii", _body()), vox_offset=offset)
    packed = gzip.compress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()
    (tmp_path / name).write_bytes(packed)
    with pytest.raises(DataError, match=rf"{name}: its voxels begin at byte {offset}, .* of 352\. Correct"):
        read_volume(tmp_path / name)


def test_nifti_2_has_a_longer_header(tmp_path: Path) -> None:
    path = tmp_path / "v.nii"
    nibabel.Nifti2Image(_body().transpose(2, 1, 0), np.diag([-0.7, -0.7, 1.5, 1.0])).to_filename(path)
    np.testing.assert_array_equal(read_volume(path).hu, _body())
    header = nibabel.load(path).header
    header["vox_offset"] = 352
    path.write_bytes(header.binaryblock + path.read_bytes()[540:])
    with pytest.raises(DataError, match=r"v\.nii: its voxels begin at byte 352, .* of 544\. Correct"):
        read_volume(path)


@pytest.mark.parametrize("coded", ["sform", "qform"])
@pytest.mark.parametrize(
    ("unit", "millimetres"), [(0, 1.0), (2, 1.0), (10, 1.0), (1, 1000.0), (9, 1000.0), (3, 0.001)]
)
def test_lengths_in_other_units(tmp_path: Path, unit: int, millimetres: float, coded: str) -> None:
    """8 is the bit of seconds. A volume in metres became one point of the grid."""
    path = tmp_path / "v.nii"
    affine = np.diag([-0.7, -0.7, 1.5, millimetres]) / millimetres
    image = nibabel.Nifti1Image(_body().transpose(2, 1, 0), affine)
    image.set_sform(affine, code=int(coded == "sform"))
    image.set_qform(affine, code=int(coded == "qform"))
    image.to_filename(path)
    volume = read_volume(_header(path, xyzt_units=unit))
    assert volume.spacing == pytest.approx((1.5, 0.7, 0.7), rel=1e-5)
    np.testing.assert_array_equal(volume.hu, _body())


@pytest.mark.parametrize(
    ("unit", "millimetres", "message"),
    [
        (0, 1000.0, r"its header gives voxels of 0\.0007 x 0\.0007 x 0\.0015 mm, and 0\.05 to 50"),
        (2, 1000.0, r"its header gives voxels of 0\.0007"),
        (1, 1.0, "its header gives voxels of 700 x 700 x 1500 mm"),
        (3, 1.0, r"its header gives voxels of 0\.0007"),
        (5, 1.0, "lengths in unit 5, which NIfTI does not have"),
    ],
)
def test_lengths_that_no_scanner_has(tmp_path: Path, unit: int, millimetres: float, message: str) -> None:
    path = _write(tmp_path / "v.nii", _body(), spacing=tuple(s / millimetres for s in (1.5, 0.7, 0.7)))
    with pytest.raises(DataError, match=rf"v\.nii: .*{message}"):
        read_volume(_header(path, xyzt_units=unit))


@pytest.mark.parametrize("wrong", [0.0, -1.5, np.nan, np.inf, 0.0015])
@pytest.mark.parametrize("name", ["v.nii", "v.npz"])
def test_a_table_whose_spacing_is_none(tmp_path: Path, wrong: float, name: str) -> None:
    if name == "v.npz":
        np.savez(tmp_path / name, ct=_body())
    else:
        _write(tmp_path / name, _body())
    for place in range(3):
        spacing = tuple(wrong if i == place else 1.0 for i in range(3))
        with pytest.raises(DataError, match=rf"{name}: its table gives voxels of .* Correct"):
            read_volume(tmp_path / name, Told(spacing=spacing))


@pytest.mark.parametrize("told", [None, Told(slope=1.0, intercept=-1024.0)])
@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (-0.5, 0.5), (0.0, 1.0), (-2.0, 6.0)])
@pytest.mark.parametrize("name", ["v.nii", "v.npz"])
def test_scaled_values_are_no_hounsfield_units(
    tmp_path: Path, low: float, high: float, told: Told | None, name: str
) -> None:
    """They were rounded to -1, 0 and 1, or, with a table's rescale, to air."""
    body = _body().astype(np.float32)
    scaled = (body - body.min()) / (body.max() - body.min()) * (high - low) + low
    if name == "v.npz":
        np.savez(tmp_path / name, ct=scaled)
    else:
        _write(tmp_path / name, scaled, dtype=np.float32)
    with pytest.raises(DataError, match=rf"{name}: (its values reach from|no value below 0)") as caught:
        read_volume(tmp_path / name, told)
    assert "\n" not in str(caught.value)


def test_four_axes_and_damaged_gzip(tmp_path: Path) -> None:
    four = tmp_path / "four.nii.gz"
    nibabel.Nifti1Image(np.zeros((4, 4, 4, 3), np.int16), np.eye(4)).to_filename(four)
    with pytest.raises(DataError, match=r"four\.nii\.gz: 4 axes"):
        read_volume(four)
    whole = _write(tmp_path / "whole.nii", _body()).read_bytes()
    packed = bytearray(gzip.compress(whole))
    packed[-6] ^= 1  # of the checksum
    (tmp_path / "damaged.nii.gz").write_bytes(packed)
    with pytest.raises(DataError, match=r"damaged\.nii\.gz: not a readable NIfTI volume"):
        read_volume(tmp_path / "damaged.nii.gz")


@needs_real
def test_bad_series(tmp_path: Path) -> None:
    import pydicom

    folder = Path(shutil.copytree(REAL[1], tmp_path / "series"))
    files = sorted(folder.iterdir(), key=lambda p: float(p.stem))
    kept = files[4].read_bytes()
    files[4].unlink()
    with pytest.raises(DataError, match="1 slices are missing between"):
        read_volume(folder)
    files[4].write_bytes(kept)
    (folder / "again.dcm").write_bytes(kept)
    with pytest.raises(DataError, match="at one place"):
        read_volume(folder)
    other = pydicom.dcmread(files[4])
    other.SeriesInstanceUID = "1.2.3"
    (folder / "again.dcm").unlink()
    other.save_as(files[4])
    with pytest.raises(DataError, match=f"2 series in one folder; {files[4].name}"):
        read_volume(folder)
    files[4].write_bytes(kept[: len(kept) // 2])
    with pytest.raises(DataError, match=files[4].name):
        read_volume(folder)
