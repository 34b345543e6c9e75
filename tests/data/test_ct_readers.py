"""CT-RATE, CT-RATE-LT and RAD-ChestCT in their official layouts."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from benchmark.core.errors import DataError
from benchmark.data.cards import load_card
from benchmark.data.check import check_dataset
from benchmark.data.dataset import evaluation_set, read_dataset
from benchmark.data.decoded_volumes import VolumeSource, decoded_volumes, open_volumes, volume_sources
from benchmark.data.volume_steps import STEPS, VolumeSteps, apply_steps
from benchmark.data.volumes import Volume, prepare_volume, read_volume

CT, LT, RAD = (load_card(n) for n in ("ct_rate", "ct_rate_lt", "rad_chestct"))
SMALL = VolumeSteps(spacing=(2.0, 1.5, 1.5), shape=(5, 6, 7))


def _table(path: Path, header: list[str], rows: list[list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows([header, *rows])


def _nifti(path: Path, seed: int, raw: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    body = np.random.default_rng(seed).integers(-1000, 400, (8, 7, 6)).astype(np.int16)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) if raw else np.diag([-0.7, -0.7, 1.5, 1.0])
    nibabel.Nifti1Image(body + 1024 if raw else body, affine).to_filename(path)


@pytest.fixture
def ct_rate(tmp_path: Path) -> Path:
    """Three scans: one of two reconstructions, one in the older tree alone, one of the training part."""
    root = tmp_path / "ct"
    tree = root / "dataset"
    _nifti(tree / "valid_fixed/valid_1/valid_1_a/valid_1_a_1.nii.gz", 0)
    _nifti(tree / "valid_fixed/valid_1/valid_1_a/valid_1_a_2.nii.gz", 1)
    _nifti(tree / "valid/valid_2/valid_2_a/valid_2_a_1.nii.gz", 2, raw=True)
    _nifti(tree / "valid/valid_1/valid_1_a/valid_1_a_1.nii.gz", 3, raw=True)
    _nifti(tree / "train_fixed/train_7/train_7_b/train_7_b_1.nii.gz", 4)
    names = ["valid_1_a_1", "valid_1_a_2", "valid_2_a_1"]
    labels = [[f"{n}.nii.gz", *(int(i == k) for i in range(18))] for k, n in enumerate(names)]
    where = tree / "multi_abnormality_labels"
    _table(where / "valid_predicted_labels.csv", ["VolumeName", *CT.classes], labels)
    _table(
        where / "train_predicted_labels.csv", ["VolumeName", *CT.classes], [["train_7_b_1.nii.gz", *[0] * 18]]
    )
    head = ["VolumeName", "ClinicalInformation_EN", "Technique_EN", "Findings_EN", "Impressions_EN"]
    _table(
        tree / "radiology_text_reports/validation_reports.csv",
        head,
        [[f"{n}.nii.gz", "Cough.", "Not given.", "Heart is normal.", "Normal."] for n in names[:2]],
    )
    head = [
        "VolumeName",
        "PatientSex",
        "PatientAge",
        "XYSpacing",
        "ZSpacing",
        "RescaleSlope",
        "RescaleIntercept",
    ]
    rows = [[f"{n}.nii.gz", "F", "051Y", "[0.8, 0.8]", "2.0", "1", "-1024"] for n in names]
    _table(tree / "metadata/validation_metadata.csv", head, rows)
    return root


def test_official_tree(ct_rate: Path) -> None:
    manifest = read_dataset("ct_rate", ct_rate, "official")
    frame = manifest.frame.set_index("image_id")
    assert list(frame.index) == ["train_7_b_1", "valid_1_a_1", "valid_1_a_2", "valid_2_a_1"]
    first = frame.loc["valid_1_a_1"]
    assert (first["patient_id"], first["study_id"], first["split"]) == ("valid_1", "valid_1_a", "test")
    assert first["path"] == "dataset/valid_fixed/valid_1/valid_1_a/valid_1_a_1.nii.gz"
    assert first["report"] == "CLINICAL INFORMATION: Cough.\nFINDINGS: Heart is normal.\nIMPRESSION: Normal."
    assert (first["sex"], first["age"]) == ("F", 51)
    assert [first[CT.classes[0]], first[CT.classes[1]]] == [1, 0]
    sources = dict(zip(frame.index, volume_sources(manifest), strict=True))
    assert sources["valid_2_a_1"].told is not None
    assert sources["valid_2_a_1"].told.spacing == (2.0, 0.8, 0.8)
    assert sources["valid_1_a_1"].told is not None
    assert sources["valid_1_a_1"].told.spacing is None


def test_protocols_of_reconstructions(ct_rate: Path) -> None:
    manifest = read_dataset("ct_rate", ct_rate, "official")
    one = evaluation_set(manifest, CT, "first")
    assert list(one.frame["image_id"]) == ["valid_1_a_1", "valid_2_a_1"]
    every = evaluation_set(manifest, CT, "volumes")
    assert list(every.patients) == ["valid_1", "valid_1", "valid_2"]


def test_rare_labels_are_joined_by_name(ct_rate: Path) -> None:
    order = [
        "Pneumonia",
        "Atherosclerosis",
        *(c for c in LT.classes if c not in ("Pneumonia", "Atherosclerosis")),
    ]
    row = ["valid_1_a_1.nii.gz", *(int(c == "Atherosclerosis") for c in order)]
    _table(ct_rate / "CT-RATE-LT-label.csv", ["VolumeName", *order], [row])
    _table(
        ct_rate / "CT-RATE-LT-label_uncorrect.csv",
        ["VolumeName", *order],
        [["valid_1_a_1.nii.gz", *[1] * 15]],
    )
    chosen = evaluation_set(read_dataset("ct_rate_lt", ct_rate, "official"), LT, "volumes")
    assert chosen.classes[:2] == ("Pneumonia", "Pneumothorax")
    assert [c for c, v in zip(chosen.classes, chosen.labels[0], strict=True) if v] == ["Atherosclerosis"]


def test_rows_and_volumes_that_lack_each_other(ct_rate: Path) -> None:
    (ct_rate / "dataset/valid/valid_2/valid_2_a/valid_2_a_1.nii.gz").unlink()
    _nifti(ct_rate / "dataset/valid_fixed/valid_9/valid_9_a/valid_9_a_1.nii.gz", 9)
    report = check_dataset("ct_rate", ct_rate, "official", workers=1)
    said = " ".join(map(str, report.problems))
    assert "label without an image: 1 (valid_2_a_1)" in said
    assert "image file without a row in the label table: 1 (valid_9_a_1)" in said
    assert report.images is not None
    assert report.images.opened == 3


@pytest.mark.parametrize(
    ("cell", "message"),
    [("2", "row 1: 'Medical material' holds"), ("yes", "row 1: 'Medical material' holds")],
)
def test_wrong_labels(ct_rate: Path, cell: str, message: str) -> None:
    path = ct_rate / "dataset/multi_abnormality_labels/train_predicted_labels.csv"
    _table(path, ["VolumeName", *CT.classes], [["train_7_b_1.nii.gz", cell, *[0] * 17]])
    with pytest.raises(DataError, match=message):
        read_dataset("ct_rate", ct_rate, "official")


@pytest.mark.parametrize("name", ["../../etc_1_a_1", "valid_x_a_1", ""])
def test_wrong_names(ct_rate: Path, name: str) -> None:
    path = ct_rate / "dataset/multi_abnormality_labels/train_predicted_labels.csv"
    _table(path, ["VolumeName", *CT.classes], [[name, *[0] * 18]])
    with pytest.raises(DataError, match="row 1: .* is no name of a volume"):
        read_dataset("ct_rate", ct_rate, "official")


@pytest.fixture
def rad_chestct(tmp_path: Path) -> Path:
    root = tmp_path / "rad"
    (root / "volumes").mkdir(parents=True)
    for k, scan in enumerate(("tst00002", "tst00001")):
        body = np.random.default_rng(k).integers(-1000, 400, (6, 7, 8)).astype(np.int16)
        np.savez(root / "volumes" / f"{scan}.npz", ct=body)
    terms = {a for rule in RAD.label_rules.values() for names in rule.terms.values() for a in names}
    columns = [f"{a}*{place}" for a in sorted(terms) for place in ("lung", "other")]
    present = {"nodulegr1cm*lung", "hernia*other"}
    rows = [["tst00001", *(int(c in present) for c in columns)], ["tst00002", *[0] * len(columns)]]
    _table(root / "imgtest_Abnormality_and_Location_Labels.csv", ["NoteAcc_DEID", *columns], rows)
    return root


def test_two_mappings_of_rad_chestct(rad_chestct: Path) -> None:
    manifest = read_dataset("rad_chestct", rad_chestct, "official")
    found = {}
    for protocol in ("single", "multi", "hlip", "rest"):
        chosen = evaluation_set(manifest, RAD, protocol)
        row = list(chosen.frame["image_id"]).index("tst00001")
        found[protocol] = [c for c, v in zip(chosen.classes, chosen.labels[row], strict=True) if v]
        assert len(chosen.classes) == {"single": 16, "multi": 16, "hlip": 14, "rest": 67}[protocol]
    assert found["single"] == ["Hiatal hernia"]
    assert found["multi"] == ["Hiatal hernia", "Lung nodule"]
    opened = check_dataset("rad_chestct", rad_chestct, "official").images
    assert opened is not None
    assert opened.opened == 2


def test_decoded_volumes_are_kept_by_content(ct_rate: Path, tmp_path: Path) -> None:
    sources = volume_sources(read_dataset("ct_rate", ct_rate, "official"))
    made = decoded_volumes(sources, SMALL, tmp_path / "cache")
    assert made.voxels.shape == (4, 5, 6, 7)
    assert made.voxels.dtype == np.int16
    assert made.voxels.min() >= -1000
    again = decoded_volumes(sources, SMALL, tmp_path / "cache")
    assert again.reused
    _nifti(ct_rate / "dataset/valid_fixed/valid_1/valid_1_a/valid_1_a_2.nii.gz", 77)
    other = decoded_volumes(sources, SMALL, tmp_path / "cache")
    assert not other.reused
    changed = (np.asarray(other.voxels) != made.voxels).any(axis=(1, 2, 3))
    assert changed.tolist() == [False, False, True, False]


def test_a_volume_that_changes_while_it_is_read_is_not_kept(
    ct_rate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its voxels were kept under the content that was there before."""
    sources = volume_sources(read_dataset("ct_rate", ct_rate, "official"))
    changing = ct_rate / "dataset/valid_fixed/valid_1/valid_1_a/valid_1_a_2.nii.gz"
    before, seen = changing.read_bytes(), []

    def changes(path: Path, told: object) -> Volume:
        if path == changing:
            _nifti(changing, 77)
        seen.append(path)
        return read_volume(path, told)

    monkeypatch.setattr("benchmark.data.decoded_volumes.read_volume", changes)
    refused = r"valid_1_a_2\.nii\.gz: changed while it was read\. Run again"
    with pytest.raises(DataError, match=refused):
        decoded_volumes(sources, SMALL, tmp_path / "cache")
    changing.write_bytes(before)
    assert [o.error for (o,) in open_volumes(sources) if "changed while" in o.error] != []
    monkeypatch.undo()
    changing.write_bytes(before)
    again = decoded_volumes(sources, SMALL, tmp_path / "cache")
    np.testing.assert_array_equal(again.voxels, decoded_volumes(sources, SMALL, tmp_path / "other").voxels)
    assert len(seen) == 3 + len(sources)


def test_a_part_of_a_spacing_is_refused(ct_rate: Path) -> None:
    """The header's was taken, which the table is there to correct."""
    manifest = read_dataset("ct_rate", ct_rate, "official")
    old = manifest.frame["told:spacing_z"].notna()
    manifest.frame.loc[old, "told:spacing_x"] = pd.NA
    with pytest.raises(DataError, match=r"valid_2_a_1\.nii\.gz: its table gives only a part of the spacing"):
        volume_sources(manifest)


@pytest.mark.parametrize("how", ["blank", "no row", "no table"])
def test_an_older_header_without_a_spacing_of_the_table_is_refused(ct_rate: Path, how: str) -> None:
    """Its own was taken, which is what makes the header an older one."""
    path = ct_rate / "dataset/metadata/validation_metadata.csv"
    table = pd.read_csv(path, dtype=str)
    old = table["VolumeName"] == "valid_2_a_1.nii.gz"
    if how == "blank":
        table.loc[old, ["XYSpacing", "ZSpacing"]] = "nan"
    (table[~old] if how == "no row" else table).to_csv(path, index=False)
    if how == "no table":
        path.unlink()
    with pytest.raises(DataError, match="1 volumes with an older header.* the first valid_2_a_1. Fetch that"):
        read_dataset("ct_rate", ct_rate, "official")


def _series(folder: Path, values: np.ndarray, slope: float, intercept: float) -> Path:
    """DICOM slices of (Z, Y, X) stored values; the first column is padding."""
    import pydicom
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    folder.mkdir()
    for k, plane in enumerate(values.astype(np.int16)):
        meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
        meta.MediaStorageSOPInstanceUID = f"1.2.3.{k + 1}"
        slice_ = pydicom.Dataset()
        slice_.file_meta = meta
        slice_.SeriesInstanceUID, slice_.PhotometricInterpretation = "1.2.3", "MONOCHROME2"
        slice_.ImageOrientationPatient, slice_.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 2 * k]
        slice_.Rows, slice_.Columns, slice_.PixelSpacing = *plane.shape, [1, 1]
        slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit = 16, 16, 15
        slice_.PixelRepresentation, slice_.SamplesPerPixel = 1, 1
        slice_.RescaleSlope, slice_.RescaleIntercept, slice_.PixelPaddingValue = slope, intercept, -2000
        plane[:, 0] = -2000
        slice_.PixelData = plane.tobytes()
        slice_.save_as(folder / f"{k}.dcm", enforce_file_format=True)
    return folder


@pytest.mark.parametrize(
    ("what", "slope", "intercept"),
    [("hu", 1, 0), ("stored", 1, -1024), ("window", 1, 0), ("stored", 1, 0), ("counts", 3.2, 0)],
)
@pytest.mark.parametrize("kind", ["series", "nifti"])
def test_a_volume_without_lungs_is_refused(
    tmp_path: Path, what: str, slope: float, intercept: float, kind: str
) -> None:
    """Cut to a window, of another kind of scanner, or without its intercept; a series had no check at all."""
    hu = np.random.default_rng(0).choice([-1000, -850, 40, 300], (6, 9, 8))
    values = {"hu": hu, "stored": hu + 1024, "window": hu.clip(-160, 240), "counts": hu + 1000}[what]
    if kind == "series":
        path = _series(tmp_path / "series", values, slope, intercept)
    else:
        path = tmp_path / "v.nii"
        image = nibabel.Nifti1Image((values * slope + intercept).astype(np.int16), np.diag([1, 1, 2, 1]))
        image.to_filename(path)
    source = VolumeSource(path)
    if (what, intercept) in (("hu", 0), ("stored", -1024)):
        assert len(decoded_volumes([source], SMALL, tmp_path / "cache")) == 1
        return
    with pytest.raises(DataError, match=rf"{path.name}: (hardly a value between|no value below 0)"):
        decoded_volumes([source], SMALL, tmp_path / "cache")
    ((opened,),) = open_volumes([source])
    assert opened.error


def test_published_preprocessings() -> None:
    """BrgSA's is the one that the parity check knows; CT-CLIP's is torch's interpolation without corners."""
    import torch

    hu = np.random.default_rng(0).integers(-1000, 900, (20, 40, 42)).astype(np.int16)
    volume = Volume(hu, (4.0, 1.0, 1.0))
    ours = apply_steps(volume, STEPS["brgsa"])
    theirs = prepare_volume(hu, (1.0, 1.0, 4.0))
    np.testing.assert_allclose(ours, theirs, atol=0.51)
    steps = VolumeSteps(spacing=(1.5, 0.75, 0.75), shape=(60, 50, 64))
    size = (int(20 * 4 / 1.5), int(40 / 0.75), int(42 / 0.75))
    wide = torch.nn.functional.interpolate(
        torch.tensor(hu[None, None].astype(np.float32)), size, mode="trilinear"
    )
    want = np.full(steps.shape, -1000.0)
    z, x = (60 - size[0]) // 2, (64 - size[2]) // 2
    y = (size[1] - 50) // 2
    want[z : z + size[0], :, x : x + size[2]] = wide[0, 0, :, y : y + 50].numpy()
    np.testing.assert_allclose(apply_steps(volume, steps), want, atol=0.51)
