"""Readers of ChestX-Det10, RSNA, SIIM, MS-CXR, VinDr-CXR and CXR-LT on hand-made official trees."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmark.core.errors import DataError
from benchmark.core.tables import Noticed
from benchmark.data.cards import load_card
from benchmark.data.dataset import evaluation_set, read_dataset
from benchmark.data.masks import decode_mask
from benchmark.twins.writers.dicom import uid, write_dicom
from tests.data.official import check_form, png, row


def dicom(path: Path, side: int = 64, **options: object) -> None:
    name = path.stem
    write_dicom(
        path,
        np.zeros((side, side), np.uint8),
        instance=uid(name),
        study=uid("s"),
        series=uid("r"),
        bits=8,
        **options,  # type: ignore[arg-type]
    )


def test_chestxdet10(tmp_path: Path, shared: Path) -> None:
    example = json.loads((shared / "data" / "chestxdet10" / "example_synthetic.json").read_text())
    (tmp_path / "test.json").write_text(json.dumps(example[::-1]))
    for entry in example:
        png(tmp_path / "test_data" / entry["file_name"], 256)
    png(tmp_path / "test_data" / "stray.png")
    manifest = read_dataset("chestxdet10", tmp_path, "official")
    check_form(manifest, "chestxdet10")
    assert len(manifest) == 5
    assert manifest.frame["patient_id"].isna().all()
    third = row(manifest, "90003.png")
    assert {c for c in manifest.classes if third[c] == 1} == {"Nodule", "Mass"}
    assert all(row(manifest, "90001.png")[c] == 0 for c in manifest.classes)
    assert manifest.regions is not None
    effusion = manifest.regions[manifest.regions["image_id"] == "90002.png"].iloc[0]
    assert effusion[["class", "x", "y", "w", "h"]].tolist() == ["Effusion", 25.0, 150.0, 70.0, 95.0]
    seen = {s.what: s.count for s in manifest.info.seen}
    assert seen == {"image file without an entry": 1, "no finding": 1}
    chosen = evaluation_set(manifest, load_card("chestxdet10"))
    assert chosen.classes == tuple(sorted(chosen.classes))
    assert chosen.labels.sum() == 6
    assert len(set(chosen.patients)) == 5


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"file_name": "1.png", "syms": ["Mass"], "boxes": []}, "1 findings for 0 boxes"),
        ({"file_name": "1.png", "syms": ["Mas"], "boxes": [[0, 0, 1, 1]]}, "Did you mean 'Mass'"),
        ({"file_name": "1.png", "syms": ["Mass"], "boxes": [[5, 5, 1, 9]]}, "is not x1"),
        ({"file_name": "1.png", "syms": ["Mass"], "boxes": [[5, 5, 1100, 9]]}, "1024"),
        ({"file_name": "../1.png", "syms": [], "boxes": []}, "leaves"),
        ({"name": "1.png"}, "expected `file_name`"),
        ({"file_name": "1.png", "syms": True, "boxes": []}, "two lists"),
        ({"file_name": "1.png", "syms": [], "boxes": 3}, "two lists"),
        ({"file_name": "1.png", "syms": ["Mass"], "boxes": [7]}, "expected four numbers"),
        ({"file_name": "1.png", "syms": ["Mass"], "boxes": [{"a": 1}]}, "expected four numbers"),
        ({"file_name": "1.png", "syms": ["Mass"], "boxes": [[0, 0, float("nan"), 1]]}, "is not x1"),
        ({"file_name": 5 * "a" * 99, "syms": ["Mass"], "boxes": [[0, 0, 1, 1]]}, "none of the images"),
    ],
)
def test_chestxdet10_bad_entries(tmp_path: Path, entry: dict[str, object], reason: str) -> None:
    (tmp_path / "test.json").write_text(json.dumps([entry]))
    png(tmp_path / "test_data" / "1.png")
    with pytest.raises(DataError, match=reason) as caught:
        read_dataset("chestxdet10", tmp_path, "official")
    assert "test.json" in str(caught.value)


def test_chestxdet10_repeats_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no test\.json"):
        read_dataset("chestxdet10", tmp_path, "official")
    entry = {"file_name": "1.png", "syms": [], "boxes": []}
    (tmp_path / "test.json").write_text(json.dumps([entry, entry]))
    png(tmp_path / "test_data" / "1.png")
    with pytest.raises(DataError, match="occurs twice"):
        read_dataset("chestxdet10", tmp_path, "official")


def rsna(root: Path, labels: str, names: tuple[str, ...] = ("a", "b", "c")) -> Path:
    root.mkdir(exist_ok=True)
    (root / "stage_2_train_labels.csv").write_text("patientId,x,y,width,height,Target\n" + labels)
    for i, name in enumerate(names):
        dicom(
            root / "stage_2_train_images" / f"{name}.dcm",
            512,
            view="PAAP"[2 * (i % 2) :][:2],
            sex="F",
            age=155,
        )
    return root


def test_rsna(tmp_path: Path) -> None:
    root = rsna(tmp_path, "b,100.0,200.0,50.0,60.0,1\na,,,,,0\nb,300.0,1.0,2.0,4.0,1\nc,,,,,0\nd,,,,,0\n")
    dicom(root / "stage_2_test_images" / "hidden.dcm")
    (root / "stage_2_detailed_class_info.csv").write_text(
        "patientId,class\na,Normal\nb,Lung Opacity\nb,Lung Opacity\nc,Lung Opacity\nd,Normal\n"
    )
    (root / "radzero_test_list.txt").write_text("b.dcm\nc\n")
    manifest = read_dataset("rsna_pneumonia", root, "official")
    check_form(manifest, "rsna_pneumonia")
    assert manifest.frame.set_index("image_id")["Pneumonia"].to_dict() == {"b": 1, "a": 0, "c": 0}
    assert row(manifest, "a")["view"] == "PA"
    assert row(manifest, "b")["view"] == "AP"
    assert row(manifest, "a")["age"] == 155
    assert manifest.regions is not None
    assert manifest.regions[["x", "y", "w", "h"]].iloc[0].tolist() == [50.0, 100.0, 25.0, 30.0]
    assert len(manifest.regions) == 2
    seen = {s.what: s.count for s in manifest.info.seen}
    assert seen["test image of the challenge, unlabelled"] == 1
    assert seen["detailed class contradicts Target"] == 1
    assert manifest.info.dropped[0] == Noticed(what="image file is absent", count=1, examples=("d",))
    assert evaluation_set(manifest, load_card("rsna_pneumonia"), "radzero").labels.ravel().tolist() == [1, 0]
    assert len(evaluation_set(manifest, load_card("rsna_pneumonia"))) == 3


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ("a,1,2,,4,1\n", "half blank"),
        ("a,,,,,1\n", "without a box"),
        ("a,1,2,3,4,0\n", "with a box"),
        ("a,1,2,3,x,1\n", "four numbers"),
        ("a,,,,,2\n", "not 0 or 1"),
        ("a,,,,,0\na,1,2,3,4,1\n", "Target 0 and 1"),
        ("nan,,,,,0\n", "blank"),
    ],
)
def test_rsna_bad_rows(tmp_path: Path, labels: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        read_dataset("rsna_pneumonia", rsna(tmp_path, labels), "official")
    assert "stage_2_train_labels.csv" in str(caught.value)


def test_rsna_without_the_list_says_where_to_put_it(tmp_path: Path) -> None:
    manifest = read_dataset("rsna_pneumonia", rsna(tmp_path, "a,,,,,0\n"), "official")
    with pytest.raises(DataError, match="radzero"):
        evaluation_set(manifest, load_card("rsna_pneumonia"), "radzero")


def siim(root: Path, rows: str, names: tuple[str, ...] = ("1.2", "1.3", "1.4"), side: int = 1024) -> Path:
    root.mkdir(exist_ok=True)
    (root / "train-rle.csv").write_text("ImageId, EncodedPixels\n" + rows)
    for name in names:
        dicom(root / "dicom-images-train" / f"9.{name}" / f"8.{name}" / f"{name}.dcm", side, view="PA")
    return root


def test_siim(tmp_path: Path) -> None:
    first, second = "1029 2 1022 2", " 1028 1 1024 3"
    root = siim(tmp_path, f"1.3, -1\n1.2,{first}\n1.2,{second}\n1.4,-1\n1.9,-1\n")
    manifest = read_dataset("siim_pneumothorax", root, "official")
    check_form(manifest, "siim_pneumothorax")
    assert manifest.frame.set_index("image_id")["Pneumothorax"].to_dict() == {"1.3": 0, "1.2": 1, "1.4": 0}
    assert row(manifest, "1.2")["study_id"] == "9.1.2"
    assert manifest.regions is not None
    region = manifest.regions.iloc[0]
    expected = np.zeros((1024, 1024), bool)
    for column, line in ((1, 5), (1, 6), (2, 5), (2, 6), (1, 4), (2, 7)):
        expected[line, column] = True
    np.testing.assert_array_equal(decode_mask(region["rle"]), expected)
    assert region[["x", "y", "w", "h"]].tolist() == [1, 4, 2, 4]
    assert manifest.info.dropped[0].examples == ("1.9",)


def test_siim_masks_follow_smaller_files(tmp_path: Path) -> None:
    block = " ".join([f"{1024 * 100 + 200} 40", *["984 40"] * 39])
    manifest = read_dataset("siim_pneumothorax", siim(tmp_path, f"1.2,{block}\n", ("1.2",), 256), "official")
    assert manifest.regions is not None
    assert manifest.regions[["x", "y", "w", "h"]].iloc[0].tolist() == [25, 50, 10, 10]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("1.2,5 3 1\n", "pairs"),
        ("1.2,1048575 3\n", "leaves the image"),
        ("1.2,\n", "blank"),
        ("1.2,1 2\n1.2,-1\n", "mask and -1"),
        ("1.2,a b\n", "integers"),
    ],
)
def test_siim_bad_rows(tmp_path: Path, rows: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        read_dataset("siim_pneumothorax", siim(tmp_path, rows), "official")
    assert "train-rle.csv" in str(caught.value)


def vindr(root: Path, test_name: str = "Other disease") -> Path:
    classes = list(load_card("vindr_cxr").classes)
    folder = root / "annotations"
    folder.mkdir(parents=True, exist_ok=True)

    def line(name: str, reader: str, positive: set[str]) -> str:
        return ",".join([name, *([reader] if reader else []), *(str(int(c in positive)) for c in classes)])

    train = [
        line("t1", "R2", {"Nodule/Mass", "COPD"}),
        line("t1", "R9", {"Nodule/Mass", "Other diseases"}),
        line("t1", "R4", {"No finding"}),
        line("t2", "R1", {"No finding"}),
        line("t2", "R2", {"No finding"}),
    ]
    (folder / "image_labels_train.csv").write_text(
        "\n".join([f"image_id,rad_id,{','.join(classes)}", *train])
    )
    names = [c if c != "Other diseases" else test_name for c in reversed(classes)]
    positive = {"Other diseases": 1, "Pneumothorax": 1}
    values = [str(positive.get(c, 0)) for c in reversed(classes)]
    (folder / "image_labels_test.csv").write_text(f"image_id,{','.join(names)}\ne1,{','.join(values)}\n")
    (folder / "annotations_train.csv").write_text(
        "image_id,rad_id,class_name,x_min,y_min,x_max,y_max\n"
        "t1,R2,Nodule/Mass,10,20,30.5,40\nt1,R4,No finding,,,,\nt2,R1,No finding,,,,\n"
    )
    (folder / "annotations_test.csv").write_text(
        "image_id,class_name,x_min,y_min,x_max,y_max\ne1,Pneumothorax,1,2,3,4\n"
    )
    for part, image in (("train", "t1"), ("train", "t2"), ("test", "e1")):
        dicom(root / part / f"{image}.dicom")
    return root


def test_vindr(tmp_path: Path) -> None:
    manifest = read_dataset("vindr_cxr", vindr(tmp_path), "official")
    check_form(manifest, "vindr_cxr")
    first, second, test = (row(manifest, name) for name in ("t1", "t2", "e1"))
    assert (first["Nodule/Mass"], first["COPD"], first["Other diseases"], first["No finding"]) == (1, 0, 0, 0)
    assert [first[f"{c}@any"] for c in ("Nodule/Mass", "COPD", "Other diseases", "No finding", "ILD")] == [
        1,
        1,
        1,
        1,
        0,
    ]
    assert second["No finding"] == 1
    assert {c for c in manifest.classes if test[c] == 1} == {"Other diseases", "Pneumothorax"}
    assert (first["split"], test["split"]) == ("train", "test")
    assert manifest.regions is not None
    assert manifest.regions[["image_id", "class", "x", "y", "w", "h"]].to_numpy().tolist() == [
        ["t1", "Nodule/Mass", 10, 20, 20.5, 20],
        ["e1", "Pneumothorax", 1, 2, 2, 2],
    ]
    seen = {s.what: s.examples for s in manifest.info.seen}
    assert seen["not 3 reading(s) in the train part"] == ("t2",)
    assert seen["readers disagree"] == ("t1",)
    card = load_card("vindr_cxr")
    assert evaluation_set(manifest, card).labels.sum() == 2
    assert evaluation_set(manifest, card, "train-any").labels.sum() == 5
    assert evaluation_set(manifest, card, "train-majority").labels.sum() == 2


def test_vindr_bad_files(tmp_path: Path) -> None:
    vindr(tmp_path, test_name="Other things")
    with pytest.raises(DataError, match=r"image_labels_test\.csv.*Other diseases"):
        read_dataset("vindr_cxr", tmp_path, "official")
    vindr(tmp_path)
    path = tmp_path / "annotations" / "annotations_test.csv"
    for line, reason in (
        ("e1,Pneumothorx,1,2,3,4", "Did you mean 'Pneumothorax'"),
        ("e1,Pneumothorax,3,2,1,4", "the box has a side below 0"),
        ("e1,Pneumothorax,3,2,,4", "the box is not four numbers"),
    ):
        path.write_text(f"image_id,class_name,x_min,y_min,x_max,y_max\n{line}\n")
        with pytest.raises(DataError, match=reason):
            read_dataset("vindr_cxr", tmp_path, "official")
