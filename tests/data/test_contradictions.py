"""Tables that contradict themselves or their images: refused in one line, where they gave a number before."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pytest

from benchmark.cli import main
from benchmark.core.errors import CardError
from benchmark.data.cards import load_card
from benchmark.data.dataset import read_dataset, remarks
from benchmark.data.readers.files import listed
from benchmark.stages.look import known_of
from tests.data.official import fails, load, png, save
from tests.data.test_challenge_readers import dicom, rsna
from tests.data.test_ct_readers import RAD, ct_rate  # noqa: F401  (a fixture)
from tests.data.test_mimic_challenge_readers import DICOM, MS_HEADER, mimic_path
from tests.data.test_readers_2026 import found, grounded, study
from tests.data.test_table_reader import change_card, page  # noqa: F401  (a fixture)

ROW = "a001.png,p1,PA,test,1,0"


@pytest.mark.parametrize(
    ("rows", "row"),
    [
        ([f'{ROW},"heart is wide', "a002.png,p1,AP,test,0,-1,clear", 'a003.png,p2,PA,train,,1,"clear"'], 1),
        ([f"{ROW},wide", 'a002.png,p1,AP,test,0,-1,"heart is cl'], 2),
    ],
)
def test_a_quote_that_is_not_closed_takes_no_rows_along(page, rows, row):  # noqa: F811
    """The rows below it became text of its field, and the images were gone without a word."""
    change_card(page, report="report")
    head = "file,person,view,set,Cardiomegaly,Pleural Effusion,report"
    (page / "labels.csv").write_text("\n".join([head, *rows]))
    assert f"labels.csv: row {row}: not a readable CSV table" in fails("ward7", page)


@pytest.mark.parametrize("patient", ["1,23457E+15", "1.23457E15", "205366866401363" + "0" * 24])
def test_patients_that_a_spreadsheet_rounded_in_any_notation(page, patient):  # noqa: F811
    text = (page / "labels.csv").read_text().replace(",p1,", f',"{patient}",')
    (page / "labels.csv").write_text(text)
    assert f"was rounded to {patient} by a spreadsheet" in fails("ward7", page)


def test_a_column_of_a_class_that_is_none(page):  # noqa: F811
    """A misspelt class would leave its label to a column that happens to have the name of the class."""
    change_card(page, labels={"kind": "columns", "columns": {"Pleural effusion": "Cardiomegaly"}})
    with pytest.raises(CardError, match=r"table\.labels\.columns names class 'Pleural effusion'"):
        read_dataset("ward7", page, "official")


@pytest.mark.parametrize("box", ["nan,1,2,3", "1,inf,2,3", "10,10,-5,3", "900,10,300,3", "-90,1,2,3"])
def test_boxes_that_mark_nothing_of_the_image(make, tmp_path, box):
    root = make("chestxray14")
    path = root / "BBox_List_2017.csv"
    path.write_text(f"{path.read_text()}00000001_000.png,Mass,{box},,,\n")
    assert f"the box {box} " in fails("chestxray14", root)
    if not box.startswith("nan"):  # a blank box has another meaning there
        root = rsna(tmp_path / "rsna", f"a,,,,,0\nb,{box},1\n", ("a", "b"))
        assert "row 2: the box" in fails("rsna_pneumonia", root)
    x, y, w, h = map(float, box.split(","))
    if x + w < 1000:
        vindr(tmp_path / "vindr", f"one,R1,Cardiomegaly,{x},{y},{x + w},{y + h}\n")
        assert "row 1: the box" in fails("vindr_cxr", tmp_path / "vindr")


def vindr(root: Path, boxes: str) -> None:
    folder = root / "annotations"
    folder.mkdir(parents=True)
    classes = load_card("vindr_cxr").classes
    zeros = ",".join("0" * len(classes))
    (folder / "image_labels_test.csv").write_text(f"image_id,{','.join(classes)}\none,{zeros}\n")
    (folder / "annotations_test.csv").write_text(
        f"image_id,rad_id,class_name,x_min,y_min,x_max,y_max\n{boxes}"
    )
    dicom(root / "test" / "one.dicom")


def test_boxes_of_the_originals_on_smaller_copies(tmp_path):
    """They marked other places of the copy, or none, and the pointing game counted a miss."""
    vindr(tmp_path, "one,R1,Cardiomegaly,1,2,60,60\none,R1,Cardiomegaly,10,20,700,900\n")
    said = fails("vindr_cxr", tmp_path)
    assert "annotations_test.csv: row 2: the box lies outside of its image, 64 x 64" in said
    (tmp_path / "names.txt").write_text("test/one.dicom\n")
    with listed(tmp_path, tmp_path / "names.txt"):
        assert len(read_dataset("vindr_cxr", tmp_path, "official").regions) == 2


def test_boxes_of_the_originals_are_scaled_where_they_are_shown(make):
    """A map of a small ChestX-ray14 image was held against boxes in pixels of its original."""
    root = make("chestxray14")
    manifest = read_dataset("chestxray14", root, "official")
    box = manifest.regions.iloc[0]
    image = root / manifest.frame.set_index("image_id")["path"][box["image_id"]]
    with patch("benchmark.stages.look.manifest_of", return_value=manifest):
        known = known_of(None, None, image, "nothing of the report", box["class"])
    width = known.mask.shape[1]
    x, y, w, h = (int(v) for v in box[["x", "y", "w", "h"]].astype(float) * width / 1024)
    assert known.mask.sum() == (w + 1) * (h + 1)
    assert known.mask[y : y + h + 1, x : x + w + 1].all()


def test_an_uncertain_label_is_not_shown_as_negative(make):
    """-1 stood beside the map of an image as `class Mass: negative`."""
    root = make("chestxray14")
    manifest = read_dataset("chestxray14", root, "official")
    row = manifest.frame.iloc[0]
    for label, shown in ((-1, None), (pd.NA, None), (0, False), (1, True)):
        manifest.frame.loc[0, "Mass"] = label
        with patch("benchmark.stages.look.manifest_of", return_value=manifest):
            assert known_of(None, None, root / row["path"], "nothing", "Mass").positive is shown


def test_views_and_splits_in_another_spelling_are_said(page, capsys):  # noqa: F811
    """Protocols left their images out, and no command said a word of it."""
    text = (page / "labels.csv").read_text()
    (page / "labels.csv").write_text(text.replace("PA,test", "pa,test").replace("AP,test", "P.A.,Test"))
    manifest = read_dataset("ward7", page, "official")
    said = "\n".join(remarks(manifest, load_card("ward7")))
    for word, meant in (("view 'pa'", "PA"), ("view 'P.A.'", "PA"), ("split 'Test'", "test")):
        assert f"1 images of {word}, which the card does not know; did it mean '{meant}'?" in said
    (page / "labels.csv").write_text(text.replace("AP,test", "P.A.,test"))
    assert main(["data", "check", "ward7", "--data-root", str(page), "--skip-images"]) == 1
    shown = capsys.readouterr().out
    assert "1 images, 2 classes (read 3, split test 2, view PA or AP 1)" in shown
    assert "view 'P.A.', which the card does not know; did it mean 'PA'?: 1" in shown


def test_boxes_of_images_that_the_label_table_lacks_are_counted(tmp_path):
    vindr(tmp_path, "one,R1,Cardiomegaly,1,2,3,4\none.dicom,R1,Cardiomegaly,1,2,3,4\n")
    manifest = read_dataset("vindr_cxr", tmp_path, "official")
    assert manifest.info.lists["boxes"] == {"listed": 2, "found": 1}


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([f"1,Edema,x,{mimic_path(2)},1,2,3,4,100,100,test"], "its path is of image"),
        ([f"1,Edema,x,{mimic_path(1)},1,2,3,4,inf,100,test"], "the size of the image is no number"),
        ([f"1,Edema,x,{mimic_path(1)},0,0,1,1,0,100,test"], "the size of the image is no number"),
        (
            [f"1,Edema,x,{mimic_path(1)},1,2,3,4,100,100,{split}" for split in ("test", "val")],
            "two values of split",
        ),
    ],
)
def test_rows_of_ms_cxr_that_contradict_each_other(tmp_path, lines, reason):
    for number in (1, 2):
        png(tmp_path / mimic_path(number), 100)
    rows = [DICOM.format(line[0]) + line[1:] for line in lines]
    (tmp_path / "MS_CXR_Local_Alignment_v1.1.0.csv").write_text("\n".join([f"{MS_HEADER},split", *rows]))
    assert reason in fails("ms_cxr", tmp_path)


@pytest.mark.parametrize("kind", ["chexpert", "split"])
def test_a_table_that_is_of_no_image_here(make, kind):
    """Study ids of a frame with a blank cell are written as 50414267.0: every label became unknown."""
    root = make("mimic_cxr")
    path = root / f"mimic-cxr-jpg/mimic-cxr-2.0.0-{kind}.csv.gz"
    head, *rows = load(path).rstrip("\n").split("\n")
    place = head.split(",").index("study_id" if kind == "chexpert" else "dicom_id")
    moved = [",".join(f + ".0" * (i == place) for i, f in enumerate(r.split(","))) for r in rows]
    save(path, "\n".join([head, *moved]) + "\n")
    assert "no row is of an image" in fails("mimic_cxr", root)


@pytest.mark.parametrize("cell", ["", "-1", "nan"])
def test_cells_of_tables_of_zeros_and_ones(tmp_path, cell):
    """A blank cell counted as a negative label, and an uncertain one too."""
    columns = sorted(
        {f"{t}*lung" for rule in RAD.label_rules.values() for terms in rule.terms.values() for t in terms}
    )
    values = ["0"] * (len(columns) - 1) + [cell]
    (tmp_path / "imgtrain_Abnormality_and_Location_Labels.csv").write_text(
        f"NoteAcc_DEID,{','.join(columns)}\ntrn00001,{','.join(values)}\n"
    )
    (tmp_path / "trn00001.npz").touch()
    assert f"row 1: '{columns[-1]}' holds '{cell}'; labels must be 0 or 1" in fails("rad_chestct", tmp_path)


@pytest.mark.parametrize("value", ["False", "no", 0, None])
def test_a_sentence_whose_state_is_no_state(tmp_path, value):
    """The text `False` is true to Python: a denied finding became a positive label."""
    png(tmp_path / "a.png", 16)
    grounded(tmp_path, study("a", found(abnormal=value)))
    assert "`abnormal` of a finding is neither true nor false" in fails("padchest_gr", tmp_path)


@pytest.mark.parametrize("name", ["openi", "rsna_pneumonia", "padchest_gr"])
def test_copies_of_an_image_in_two_folders(make, tmp_path, name):
    """The first folder by name was read, be it that of thumbnails."""
    if name == "openi":
        root = make(name)
    elif name == "rsna_pneumonia":
        root = rsna(tmp_path / name, "a,,,,,0\n", ("a",))
    else:
        root = tmp_path / name
        grounded(root, study("a"))
        png(root / "images" / "a.png", 16)
    manifest = read_dataset(name, root, "official")
    copy = root / "00-small" / Path(manifest.frame["path"].iloc[0]).name
    copy.parent.mkdir()
    copy.write_bytes((root / manifest.frame["path"].iloc[0]).read_bytes())
    assert "is in several folders" in fails(name, root)


@pytest.mark.parametrize("spacing", ["-1.5", "0", "0.0015", "900"])
def test_slices_at_a_distance_that_none_have(ct_rate, spacing):  # noqa: F811
    """A distance below 0 turned the volume upside down."""
    path = ct_rate / "dataset/metadata/validation_metadata.csv"
    head, *rows = path.read_text().splitlines()
    place = head.split(",").index("ZSpacing") - len(head.split(","))
    parts = [r.split(",") for r in rows]
    for part in parts:
        part[place] = spacing
    path.write_text("\n".join([head, *map(",".join, parts)]))
    assert f"row 1: ZSpacing is {float(spacing):g}" in fails("ct_rate", ct_rate)


def test_a_blank_list_of_findings_is_no_negative(make):
    root = make("chestxray14")
    path = root / "Data_Entry_2017_v2020.csv"
    head, first, *rows = load(path).rstrip("\n").split("\n")
    fields = first.split(",")
    save(path, "\n".join([head, ",".join([fields[0], "", *fields[2:]]), *rows]) + "\n")
    assert "row 1: Finding Labels is blank" in fails("chestxray14", root)


@pytest.mark.parametrize("cell", ["", "-1.0"])
def test_radiologists_say_zero_or_one(make, cell):
    root = make("chexpert")
    path = root / "CheXpert/test_labels.csv"
    head, first, *rows = load(path).rstrip("\n").split("\n")
    save(path, "\n".join([head, f"{first.rpartition(',')[0]},{cell}", *rows]) + "\n")
    assert f"row 1: 'Support Devices' holds '{cell}'; labels must be 0 or 1" in fails("chexpert", root)


def test_sex_and_age_that_are_not_understood_are_counted(make, page, tmp_path):  # noqa: F811
    change_card(page, sex="person", age="view")
    seen = {s.what: s.count for s in read_dataset("ward7", page, "official").info.seen}
    assert (seen["sex is neither F nor M"], seen["age is not understood"]) == (3, 3)
    root = make("chexpert")
    path = root / "CheXpert-v1.0-small/train.csv"
    head, *rows = load(path).rstrip("\n").split("\n")
    for row, age in enumerate(("-5", "inf", "fifty")):
        fields = rows[row].split(",")
        rows[row] = ",".join([*fields[:2], age, *fields[3:]])
    save(path, "\n".join([head, *rows]) + "\n")
    manifest = read_dataset("chexpert", root, "official")
    assert {s.what: s.count for s in manifest.info.seen}["age is not understood"] == 3
    assert manifest.frame["age"].dropna().between(0, 120).all()
    png(tmp_path / "gr" / "a.png", 16)
    grounded(tmp_path / "gr", study("a"), table="ImageID,PatientID,split,PatientAge\n a.png , p1 ,test,-5\n")
    manifest = read_dataset("padchest_gr", tmp_path / "gr", "official")
    assert manifest.frame["patient_id"].tolist() == ["p1"]
    assert manifest.frame["age"].isna().all()
    grounded(tmp_path / "gr", study("a"), table="ImageID,PatientID,split\na,p1,test\n")
    assert "master_table.csv: no row is of an image" in fails("padchest_gr", tmp_path / "gr")


def test_labels_that_a_second_table_lacks_are_counted(make):
    root = make("mimic_cxr")
    path = root / "mimic-cxr-jpg/mimic-cxr-2.0.0-negbio.csv.gz"
    head, first, *rows = load(path).rstrip("\n").split("\n")
    save(path, "\n".join([head, "1" + first, *rows]) + "\n")
    seen = {s.what: s.count for s in read_dataset("mimic_cxr", root, "official").info.seen}
    assert seen["study without a row in the negbio table alone"] == 1


@pytest.mark.parametrize("name", ["cxr_lt", "cxr_lt_2026"])
def test_blank_cells_of_challenge_tables_are_counted(make, name):
    root = make(name)
    path = next(p for p in sorted(root.rglob("*.csv")) if "train" in p.name)
    head, first, *rows = load(path).rstrip("\n").split("\n")
    save(path, "\n".join([head, f"{first.rpartition(',')[0]},", *rows]) + "\n")
    seen = {s.what: s.count for s in read_dataset(name, root, "official").info.seen}
    assert seen[f"label of 0 or 1 is blank or uncertain in {path.name}"] == 1


def test_a_folder_that_cannot_be_read_is_not_absent_images(make):
    root = make("chestxray14")
    scan = os.scandir

    def refused(path):
        if str(path).endswith("images_001/images"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    with patch("os.scandir", refused), pytest.raises(PermissionError):
        read_dataset("chestxray14", root, "official")


def test_the_list_of_training_images_alone_keeps_test_images_out(make):
    """Without the list of test images, those were split over train, validate and test."""
    root = make("chestxray14")
    for path in root.rglob("test_list.txt"):
        path.unlink()
    frame = read_dataset("chestxray14", root, "official").frame
    listed_here = frame["image_id"].isin((root / "train_val_list.txt").read_text().split())
    assert frame.loc[~listed_here, "split"].isna().all()
    assert set(frame.loc[listed_here, "split"]) <= {"train", "validate"}
    assert 0 < listed_here.sum() < len(frame)
