"""What one dataset's files alone can have wrong: left out and counted by a policy, or refused in one line."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pandas as pd
import pytest

from benchmark.core.errors import DataError
from benchmark.data.dataset import read_dataset
from tests.data.official import TABLES, fails, load, save


def test_openi_absent_images(make):
    root = make("openi")
    before = read_dataset("openi", root, "official").frame
    (root / before["path"].iloc[0]).unlink()
    after = read_dataset("openi", root, "official")
    assert len(after) == len(before) - 1
    assert after.info.dropped[0].count == 1


def test_truncated_gzip(make):
    root = make("mimic_cxr")
    for kind in ("metadata", "split", "chexpert"):
        path = root / f"mimic-cxr-jpg/mimic-cxr-2.0.0-{kind}.csv.gz"
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        assert "not a readable CSV table" in fails("mimic_cxr", root)
        path.write_bytes(b"not gzip at all")
        assert "not a readable CSV table" in fails("mimic_cxr", root)
        path.write_bytes(whole)


def test_mimic_without_reports(make):
    root = make("mimic_cxr")
    for path in (root / "mimic-cxr").rglob("*.txt"):
        path.unlink()
    assert "no report texts" in fails("mimic_cxr", root)


def test_mimic_in_the_folders_of_the_download(make, tmp_path):
    root = make("mimic_cxr")
    before = read_dataset("mimic_cxr", root, "official").frame
    place = tmp_path / "physionet.org" / "files"
    for name in ("mimic-cxr", "mimic-cxr-jpg"):
        (place / name).mkdir(parents=True)
        (root / name).rename(place / name / "2.0.0")
    after = read_dataset("mimic_cxr", tmp_path / "physionet.org", "official").frame
    assert before.drop(columns="path").equals(after.drop(columns="path"))
    # one tree for both, and a root that lacks the reports beside a folder that has them
    both = tmp_path / "both"
    (place / "mimic-cxr-jpg" / "2.0.0").rename(both)
    assert "no report texts" in fails("mimic_cxr", both)
    for path in sorted((place / "mimic-cxr" / "2.0.0").rglob("*.txt")):
        target = both / path.relative_to(place / "mimic-cxr" / "2.0.0")
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    one = read_dataset("mimic_cxr", both, "official").frame
    assert before.drop(columns="path").equals(one.drop(columns="path"))


def test_linked_image_folders_are_followed_once(make, tmp_path):
    root = make("chestxray14")
    before = read_dataset("chestxray14", root, "official").frame
    (root / "images_001").rename(tmp_path / "disk")
    (root / "images_001").symlink_to(tmp_path / "disk")
    (root / "images_001" / "loop").symlink_to(root)
    assert before.equals(read_dataset("chestxray14", root, "official").frame)


def test_mimic_counts_missing_and_strange_reports(make):
    root = make("mimic_cxr")
    texts = sorted((root / "mimic-cxr").rglob("*.txt"))
    texts[0].unlink()
    texts[1].write_bytes("FINDINGS: opacit\xe9.".encode("latin-1"))
    texts[2].write_text("  \n")
    manifest = read_dataset("mimic_cxr", root, "official")
    seen = {s.what: s.count for s in manifest.info.seen}
    assert seen["study without report"] == 2
    assert seen["report is not UTF-8, read as Latin-1"] == 1
    assert manifest.frame["report"].str.contains("opacité", na=False).any()


def test_mimic_bad_states_splits_and_ids(make):
    root = make("mimic_cxr")
    path = root / "mimic-cxr-jpg/mimic-cxr-2.0.0-chexpert.csv.gz"
    text = load(path)
    lines = text.split("\n")
    fields = lines[5].split(",")
    save(path, "\n".join([*lines[:5], ",".join([*fields[:2], "yes", *fields[3:]]), *lines[6:]]))
    assert "row 5: 'Atelectasis' holds 'yes'; expected 1, 0, -1 or blank" in fails("mimic_cxr", root)
    save(path, text)
    path = root / "mimic-cxr-jpg/mimic-cxr-2.0.0-split.csv.gz"
    text = load(path)
    save(path, text.replace("train", "training", 1))
    assert "split 'training'; expected" in fails("mimic_cxr", root)
    save(path, text)
    path = root / TABLES["mimic_cxr"]
    lines = load(path).split("\n")
    save(path, "\n".join([lines[0], "NaN," + lines[1].split(",", 1)[1], *lines[2:]]))
    assert "row 1: column 'dicom_id' is blank" in fails("mimic_cxr", root)
    save(path, "\n".join([lines[0], "../../x," + lines[1].split(",", 1)[1], *lines[2:]]))
    assert "ids must be plain" in fails("mimic_cxr", root)


def test_mimic_missing_rows_are_counted(make):
    root = make("mimic_cxr")
    for kind, what in (
        ("chexpert", "study without a label row"),
        ("split", "image without a row in the split table"),
    ):
        path = root / f"mimic-cxr-jpg/mimic-cxr-2.0.0-{kind}.csv.gz"
        lines = load(path).rstrip("\n").split("\n")
        save(path, "\n".join(lines[:-3]) + "\n")
        info = read_dataset("mimic_cxr", root, "official").info
        assert {s.what: s.count for s in info.seen}[what] == 3


def test_padchest_ids_that_a_spreadsheet_rounded(make):
    root = make("padchest")
    path = root / TABLES["padchest"]
    patient = read_dataset("padchest", root, "official").frame["patient_id"].iloc[0]
    save(path, load(path).replace(patient, "8.39860488694292E+35"))
    assert "was rounded to 8.39860488694292E+35" in fails("padchest", root)


def test_padchest_rows_without_a_patient_are_left_out_and_counted(make):
    root = make("padchest")
    path = root / TABLES["padchest"]
    before = read_dataset("padchest", root, "official").frame
    patient = before["patient_id"].iloc[0]
    save(path, load(path).replace(patient, ""))
    manifest = read_dataset("padchest", root, "official")
    lost = before["patient_id"] == patient
    assert len(manifest) == len(before) - lost.sum()
    assert manifest.info.dropped[0].what == "PatientID is blank"
    assert manifest.info.dropped[0].count == lost.sum()


def test_padchest_labels_that_are_no_list(make):
    root = make("padchest")
    path = root / TABLES["padchest"]
    text = load(path)
    good = read_dataset("padchest", root, "official").frame
    save(path, text.replace("['normal']", "normal", 1))
    assert read_dataset("padchest", root, "official").frame.equals(good)
    for odd in ("[1]", "['pneumonia'", "['pneumonia' 3]"):
        save(path, text.replace("['pneumonia']", odd))
        assert "'Labels' is not understood" in fails("padchest", root)
    save(path, text.replace("Physician", "Doctor", 1))
    assert "MethodLabel 'Doctor'" in fails("padchest", root)


def test_padchest_unknown_labels_are_counted(make):
    root = make("padchest")
    path = root / TABLES["padchest"]
    save(path, load(path).replace("['pneumonia']", "['pneumonía']"))
    unknown = read_dataset("padchest", root, "official", unknown_labels=True).info.unknown_labels
    assert set(unknown) == {"pneumonía"}


def test_padchest_flat_copies_and_doubles(make, tmp_path):
    root = make("padchest")
    before = read_dataset("padchest", root, "official").frame
    for path in before["path"]:
        (root / path).rename(root / Path(path).name)
    flat = read_dataset("padchest", root, "official").frame
    assert before.drop(columns="path").equals(flat.drop(columns="path"))
    name = flat["image_id"].iloc[0]
    for folder in ("x", "y"):
        (root / folder).mkdir()
        (root / folder / name).write_bytes((root / name).read_bytes())
    (root / name).unlink()
    assert "is in several folders" in fails("padchest", root)


def test_padchest_image_folder_that_leaves_the_root(make):
    root = make("padchest")
    path = root / TABLES["padchest"]
    frame = read_dataset("padchest", root, "official").frame
    name = frame["image_id"].iloc[0]
    folder = frame["path"].iloc[0].split("/")[0]
    (root / frame["path"].iloc[0]).unlink()
    save(path, load(path).replace(f"{name},{folder},", f"{name},../../etc,"))
    assert "leaves the data root" in fails("padchest", root)


def test_padchest_with_the_official_label_file(make):
    root = make("padchest")
    frame = read_dataset("padchest", root, "official").frame
    names = frame["image_id"].tolist()
    labels = {n: ["pneumonia"] if i else ["normal"] for i, n in enumerate(names[:10])} | {"9_x.png": ["cyst"]}
    (root / "manual_image.json").write_text(json.dumps(labels))
    manifest = read_dataset("padchest", root, "official")
    assert manifest.info.lists["manual"] == {"listed": 11, "found": 10}
    test = manifest.frame[manifest.frame["split"] == "test"]
    assert set(test["image_id"]) == set(names[:10])
    assert test["pneumonia"].sum() == 9
    (root / TABLES["padchest"]).unlink()
    alone = read_dataset("padchest", root, "official")
    assert len(alone) == 10
    assert (alone.frame["patient_id"] == alone.frame["image_id"].str.rsplit("_", n=1).str[0]).all()
    assert "stands for the patient" in alone.info.notes[0]
    (root / "manual_image.json").write_text('{"a_1.png": [], "a_1.png": []}')
    assert "'a_1.png' occurs twice" in fails("padchest", root)
    (root / "manual_image.json").write_text('{"a_1.png": "normal"}')
    assert "must be a list of strings" in fails("padchest", root)
    (root / "manual_image.json").write_text("{")
    assert "not valid JSON" in fails("padchest", root)


def test_chestxray14_lists(make):
    root = make("chestxray14")
    path = root / "CheXNet" / "test_list.txt"
    text = path.read_text()
    path.write_text(text.replace(" 0", " 2", 1))
    assert "test_list.txt:1: expected a path and 14 zeros or ones" in fails("chestxray14", root)
    path.write_text(text + text.split("\n")[0] + "\n")
    assert "occurs twice" in fails("chestxray14", root)
    path.write_text("\n")
    assert "the list is empty" in fails("chestxray14", root)
    path.write_text(text)
    (root / "my_test_list.txt").write_text(text)
    assert "a second test list with labels" in fails("chestxray14", root)


def test_chestxray14_shifted_columns_and_2017_header(make):
    root = make("chestxray14")
    path = root / TABLES["chestxray14"]
    before = read_dataset("chestxray14", root, "official").frame
    head, *rest = load(path).rstrip("\n").split("\n")
    save(root / "Data_Entry_2017.csv", "\n".join([head + ",", *(line + "," for line in rest)]) + "\n")
    path.unlink()
    assert before.equals(read_dataset("chestxray14", root, "official").frame)
    fields = rest[0].split(",")
    fields[3] = "77777"
    save(path, "\n".join([head, ",".join(fields), *rest[1:]]))
    assert "Patient ID '77777' is not that of image" in fails("chestxray14", root)


def test_chestxray14_boxes(make):
    root = make("chestxray14")
    path = root / "BBox_List_2017.csv"
    text = path.read_text()
    path.write_text(text + "00000001_000.png,Oedema,1,2,3,4,,,\n")
    assert "unknown finding 'Oedema'" in fails("chestxray14", root)
    path.write_text(text + "00000001_000.png,Mass,1,2\n")
    assert "a finding and four numbers" in fails("chestxray14", root)


def test_chestxray14_unknown_labels(make):
    root = make("chestxray14")
    path = root / TABLES["chestxray14"]
    save(path, load(path).replace("Cardiomegaly", "Cardiomegalie"))
    manifest = read_dataset("chestxray14", root, "official", unknown_labels=True)
    assert set(manifest.info.unknown_labels) == {"Cardiomegalie"}
    with pytest.raises(DataError, match=r"'Cardiomegalie' \d+ \(near 'Cardiomegaly'\); that is"):
        read_dataset("chestxray14", root, "official")


def test_chexpert_paths(make):
    root = make("chexpert")
    path = root / TABLES["chexpert"]
    text = load(path)
    save(path, text.replace("test/patient", "somewhere/patient", 1))
    assert "is not like train/patient00001" in fails("chexpert", root)
    save(path, text.replace("test/patient", "CheXpert-v1.0/test/patient", 1))
    assert len(read_dataset("chexpert", root, "official")) > 0
    path.unlink()
    manifest = read_dataset("chexpert", root, "official")
    assert any("the test part is not here" in n for n in manifest.info.notes)
    (root / "CheXpert-v1.0-small" / "train.csv").write_text("Path,Sex\n")
    assert "no column" in fails("chexpert", root)


def test_5x200_row_with_two_classes(make):
    root = make("chexpert5x200")
    path = root / TABLES["chexpert5x200"]
    head, first, rest = load(path).split("\n", 2)
    fields = first.split(",")
    for column in ("Edema", "Consolidation"):
        fields[head.split(",").index(column)] = "1.0"
    save(path, "\n".join([head, ",".join(fields), rest]))
    assert "row 1: expected exactly one of" in fails("chexpert5x200", root)


BOMB = b"""<?xml version="1.0"?><!DOCTYPE e [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>
<eCitation><uId id="CXR1"/><Abstract>&b;</Abstract></eCitation>"""


FILE = b"""<?xml version="1.0"?><!DOCTYPE e [<!ENTITY a SYSTEM "file:///etc/hostname">]>
<eCitation><uId id="CXR1"/><Abstract>&a;</Abstract></eCitation>"""


GOOD = b'<eCitation><uId id="CXR1"/><parentImage id="CXR1_IM-0001-1001"/></eCitation>'


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (BOMB, "declares a document type or entities"),
        (FILE, "declares a document type or entities"),
        (b"<eCitation><uId", "not well-formed XML"),
        (b"", "not well-formed XML"),
        (b"<eCitation/>", "no uId"),
        (GOOD.replace(b"CXR1_IM", b"../../CXR1_IM"), "is not a plain name"),
        (GOOD.replace(b"<parentImage", b"<x"), "none of 1 reports names an image"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_openi_xml(tmp_path, data, says, packed):
    if packed:
        with tarfile.open(tmp_path / "NLMCXR_reports.tgz", "w:gz") as archive:
            member = tarfile.TarInfo("../../outside/1.xml")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    else:
        (tmp_path / "ecgen-radiology").mkdir()
        (tmp_path / "ecgen-radiology" / "1.xml").write_bytes(data)
    message = fails("openi", tmp_path)
    assert says in message
    assert not (tmp_path.parent.parent / "outside").exists()


def test_openi_archives(tmp_path, make):
    path = tmp_path / "NLMCXR_reports.tgz"
    whole = (make("openi") / path.name).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "not a readable gzipped tar archive" in fails("openi", tmp_path)
    path.write_bytes(b"no archive")
    assert "not a readable gzipped tar archive" in fails("openi", tmp_path)
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("readme.txt"))
    assert "no XML report inside" in fails("openi", tmp_path)
    path.unlink()
    (tmp_path / "ecgen-radiology").mkdir()
    assert "no XML report is here" in fails("openi", tmp_path)


def test_openi_image_of_two_reports(tmp_path):
    (tmp_path / "ecgen-radiology").mkdir()
    for number in (1, 2):
        data = GOOD.replace(b'"CXR1"', f'"CXR{number}"'.encode())
        (tmp_path / "ecgen-radiology" / f"{number}.xml").write_bytes(data)
    assert "is named by reports CXR1 and CXR2" in fails("openi", tmp_path)


@pytest.mark.parametrize(
    ("study", "birth", "age", "said"),
    [
        ("20130512", "1936", 77, None),
        ("2013-05-12", "1936.0", 77, None),
        ("20130512", "1936-01-30", 77, None),
        ("41406", "1936", None, "the date of the study does not begin with a year: no age"),
        ("05/12/2013", "1936", None, "the date of the study does not begin with a year: no age"),
        ("20130512", "36", None, "no year of birth"),
        ("20130512", "1900", 113, "age above 100, kept"),
    ],
)
def test_padchest_dates_as_a_spreadsheet_writes_them(make, study, birth, age, said):
    """A spreadsheet's day gave an age of 2,204 years, a year of two digits one of 1,977, and a date that does
    not begin with the year none, each without a word."""
    root = make("padchest")
    path = root / TABLES["padchest"]
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[0, ["StudyDate_DICOM", "PatientBirth"]] = [study, birth]
    table.to_csv(path, index=False)
    manifest = read_dataset("padchest", root, "official")
    own = manifest.frame.set_index("image_id")["age"][table["ImageID"][0]]
    assert pd.isna(own) if age is None else own == age
    if said:
        noticed = {n.what: n.examples for n in manifest.info.seen}
        assert table["ImageID"][0] in noticed[said]


def test_no_finding_beside_a_finding_is_counted(make):
    """NIH writes it alone; the finding counted and nobody was told."""
    root = make("chestxray14")
    path = root / TABLES["chestxray14"]
    save(path, load(path).replace(",No Finding,", ",No Finding|Mass,", 1))
    seen = {n.what: n.count for n in read_dataset("chestxray14", root, "official").info.seen}
    assert seen["'No Finding' beside a finding, which counts"] == 1
