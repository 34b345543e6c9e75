"""Challenges on MIMIC-CXR images, MS-CXR and CXR-LT: boxes, labels, and what their files may have wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.core.errors import DataError
from benchmark.data.cards import load_card
from benchmark.data.dataset import evaluation_set, read_dataset
from tests.data.official import check_form, png, row

DICOM = "0a1b2c3d-0a1b2c3d-0a1b2c3d-0a1b2c3d-0000000{}"
MS_HEADER = "dicom_id,category_name,label_text,path,x,y,w,h,image_width,image_height"


def mimic_path(number: int, subject: str = "10000032", study: str = "50414267") -> str:
    return f"files/p{subject[:2]}/p{subject}/s{study}/{DICOM.format(number)}.jpg"


def test_ms_cxr(tmp_path: Path) -> None:
    tree = tmp_path / "mimic-cxr-jpg"
    for number in (1, 2):
        png(tree / mimic_path(number), 100)
    (tree / "mimic-cxr-2.0.0-metadata.csv").write_text(
        f"dicom_id,ViewPosition\n{DICOM.format(2)},AP\n{DICOM.format(1)},LATERAL\n"
    )
    rows = [
        (2, "Pneumothorax", '"apical, small"', "10,20,40,50,200,400", "test"),
        (1, "Edema", "edema", "1,2,3,4,100,100", "val"),
        (2, "Pneumothorax", '"apical, small"', "0,0,200,400,200,400", "test"),
        (2, "Pneumonia", "pneumonia", "5,5,5,5,200,400", "test"),
        (3, "Edema", "edema", "1,2,3,4,100,100", "test"),
    ]
    text = [f"{DICOM.format(n)},{c},{t},{mimic_path(n)},{b},{s}" for n, c, t, b, s in rows]
    (tmp_path / "MS_CXR_Local_Alignment_v1.1.0.csv").write_text("\n".join([MS_HEADER + ",split", *text]))
    manifest = read_dataset("ms_cxr", tmp_path, "official")
    check_form(manifest, "ms_cxr")
    second = row(manifest, DICOM.format(2))
    assert [second[k] for k in ("patient_id", "study_id", "view", "split")] == [
        "10000032",
        "50414267",
        "AP",
        "test",
    ]
    assert row(manifest, DICOM.format(1))["view"] == "L"
    assert row(manifest, DICOM.format(1))["split"] == "validate"
    assert second["Pneumothorax"] == 1
    assert manifest.frame["Cardiomegaly"].isna().all()
    assert manifest.regions is not None
    assert manifest.regions[["x", "y", "w", "h"]].iloc[0].tolist() == [5, 5, 20, 12.5]
    assert manifest.regions["phrase"].tolist() == ["apical, small", "edema", "apical, small", "pneumonia"]
    assert manifest.info.counts["phrases"] == 3
    assert manifest.info.dropped[0].count == 1
    assert len(evaluation_set(manifest, load_card("ms_cxr"), "radzero")) == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{DICOM.format(1)},Edma,x,{mimic_path(1)},1,2,3,4,100,100", "Did you mean 'Edema'"),
        (f"{DICOM.format(1)},Edema,,{mimic_path(1)},1,2,3,4,100,100", "label_text is blank"),
        (f"{DICOM.format(1)},Edema,x,{mimic_path(1)},1,2,300,4,100,100", "outside"),
        (f"{DICOM.format(1)},Edema,x,{mimic_path(1)},1,2,w,4,100,100", "is not four numbers"),
        (f"{DICOM.format(1)},Edema,x,../../{mimic_path(1)},1,2,3,4,100,100", "leaves the data root"),
        (f"{DICOM.format(1)},Edema,x,elsewhere/1.jpg,1,2,3,4,100,100", "is not like"),
    ],
)
def test_ms_cxr_bad_rows(tmp_path: Path, line: str, reason: str) -> None:
    png(tmp_path / mimic_path(1), 100)
    (tmp_path / "MS_CXR_Local_Alignment_v1.0.0.csv").write_text(f"{MS_HEADER}\n{line}\n")
    with pytest.raises(DataError, match=reason) as caught:
        read_dataset("ms_cxr", tmp_path, "official")
    assert "MS_CXR_Local_Alignment_v1.0.0.csv" in str(caught.value)


def test_ms_cxr_without_images_says_where_they_go(tmp_path: Path) -> None:
    (tmp_path / "MS_CXR_Local_Alignment_v1.0.0.csv").write_text(
        f"{MS_HEADER}\n{DICOM.format(1)},Edema,x,{mimic_path(1)},1,2,3,4,100,100\n"
    )
    with pytest.raises(DataError, match="mimic-cxr-jpg"):
        read_dataset("ms_cxr", tmp_path, "official")


def cxr_lt(root: Path, name: str, classes: list[str], rows: list[tuple[int, str, list[int]]]) -> None:
    header = ["dicom_id", "subject_id", "study_id", "fpath", *classes]
    lines = []
    for number, subject, values in rows:
        path = mimic_path(number, subject)
        png(root / "mimic-cxr-jpg" / path, 8)
        lines.append(",".join([DICOM.format(number), f"p{subject}", "s50414267", path, *map(str, values)]))
    (root / name).write_text("\n".join([",".join(header), *lines]) + "\n")


def test_cxr_lt(tmp_path: Path) -> None:
    cxr_lt(tmp_path, "train_labeled.csv", ["Normal", "Edema", "Tuberculosis"], [(1, "10000032", [0, 1, 1])])
    cxr_lt(
        tmp_path,
        "test_labeled_task2.csv",
        ["Edema", "No Finding"],
        [(2, "11000032", [1, 0]), (3, "12000032", [0, 1])],
    )
    cxr_lt(
        tmp_path,
        "test_labeled_task3.csv",
        ["Scoliosis", "Bulla"],
        [(3, "12000032", [0, 1]), (2, "11000032", [1, 0])],
    )
    cxr_lt(tmp_path, "development_images.csv", [], [(4, "10000032", [])])
    manifest = read_dataset("cxr_lt", tmp_path, "official")
    check_form(manifest, "cxr_lt")
    assert len(manifest) == 3
    first, second, third = (row(manifest, DICOM.format(n)) for n in (1, 2, 3))
    assert (first["split"], second["split"]) == ("train", "test")
    assert (first["patient_id"], first["study_id"]) == ("10000032", "50414267")
    assert (first["Tuberculosis"], first["Edema"], first["Normal"]) == (1, 1, 0)
    assert (second["Edema"], second["Normal"], second["Scoliosis"], second["Bulla"]) == (1, 0, 1, 0)
    assert (third["Normal"], third["Scoliosis"], third["Bulla"]) == (1, 0, 1)
    assert manifest.frame["Cardiomegaly"].isna().all()
    assert {s.what: s.count for s in manifest.info.seen}["unlabelled image in development_images.csv"] == 1
    chosen = evaluation_set(manifest, load_card("cxr_lt"), "task2")
    assert chosen.classes[14:16] == ("Normal", "Nodule")
    assert (chosen.labels[:, 1] == -1).all()
    assert chosen.labels[:, 14].tolist() == [0, 1]


def test_cxr_lt_contradictions(tmp_path: Path) -> None:
    cxr_lt(tmp_path, "test_task1.csv", ["Edema"], [(2, "11000032", [1])])
    cxr_lt(tmp_path, "test_task2.csv", ["Edema"], [(2, "11000032", [0])])
    with pytest.raises(DataError, match=r"test_task2\.csv.*Edema"):
        read_dataset("cxr_lt", tmp_path, "official")
    (tmp_path / "test_task2.csv").unlink()
    cxr_lt(tmp_path, "train_labeled.csv", ["Edema"], [(2, "11000032", [1])])
    with pytest.raises(DataError, match="two values of split"):
        read_dataset("cxr_lt", tmp_path, "official")
    cxr_lt(tmp_path, "train_labeled.csv", ["Edema"], [(1, "11000032", [1])] * 2)
    with pytest.raises(DataError, match=r"train_labeled\.csv: row 2.*twice"):
        read_dataset("cxr_lt", tmp_path, "official")
