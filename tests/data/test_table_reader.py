"""A dataset from a card alone: docs/add-a-dataset.md does what it says, and bad tables are refused."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from benchmark.core.errors import CardError, DataError
from benchmark.core.tables import Noticed
from benchmark.data.cards import load_card
from benchmark.data.dataset import evaluation_set, read_dataset


@pytest.fixture
def page(root, tmp_path, monkeypatch) -> Path:
    """The files that the page shows, where it says; the data root."""
    text = (root / "docs" / "add-a-dataset.md").read_text(encoding="utf-8")
    plain = re.findall(r"^```\n(.*?)^```", text, re.M | re.S)
    card, prompts = re.findall(r"^```yaml\n(.*?)^```", text, re.M | re.S)
    table = next(block for block in plain if block.startswith("file,"))
    assert "CXR_ALIGNBENCH_DATASETS=my-cards" in text
    folder = tmp_path / "my-cards" / "ward7"
    folder.mkdir(parents=True)
    (folder / "card.yaml").write_text(card)
    (folder / "prompts.yaml").write_text(prompts)
    data = tmp_path / "ward7"
    (data / "films").mkdir(parents=True)
    (data / "labels.csv").write_text(table)
    for name in ("a001.png", "a002.png", "a003.png"):
        cv2.imwrite(str(data / "films" / name), np.zeros((8, 8), np.uint8))
    monkeypatch.setenv("CXR_ALIGNBENCH_DATASETS", str(tmp_path / "my-cards"))
    return data


def change_card(page: Path, **changes) -> None:
    path = page.parent / "my-cards" / "ward7" / "card.yaml"
    value = yaml.safe_load(path.read_text())
    value["table"] |= changes
    path.write_text(yaml.safe_dump(value, sort_keys=False))


def test_the_page_gives_a_dataset(page):
    manifest = read_dataset("ward7", page, "official")
    frame = manifest.frame
    assert list(frame["image_id"]) == ["a001.png", "a002.png", "a003.png"]
    assert list(frame["path"]) == ["films/a001.png", "films/a002.png", "films/a003.png"]
    assert list(frame["patient_id"]) == ["p1", "p1", "p2"]
    assert list(frame["split"]) == ["test", "test", "train"]
    assert frame["Cardiomegaly"].isna().tolist() == [False, False, True]
    chosen = evaluation_set(manifest, load_card("ward7"))
    assert chosen.classes == ("Cardiomegaly", "Pleural Effusion")
    assert chosen.labels.tolist() == [[1, 0], [0, -1]]
    assert chosen.labels.dtype == np.int8
    assert list(chosen.patients) == ["p1", "p1"]


@pytest.mark.parametrize(
    ("uncertain", "missing", "expected"),
    [
        ("positive", "ignore", [[1, 0], [0, 1], [-1, 1]]),
        ("negative", "positive", [[1, 0], [0, 0], [1, 1]]),
        ({"Cardiomegaly": "ignore", "Pleural Effusion": "positive"}, "negative", [[1, 0], [0, 1], [0, 1]]),
    ],
)
def test_policies_decide_what_the_two_other_states_count_as(page, uncertain, missing, expected):
    path = page.parent / "my-cards" / "ward7" / "card.yaml"
    value = yaml.safe_load(path.read_text())
    value["protocols"]["frontal"] |= {"labels": {"uncertain": uncertain, "missing": missing}, "split": []}
    path.write_text(yaml.safe_dump(value))
    chosen = evaluation_set(read_dataset("ward7", page, "official"), load_card("ward7"))
    assert chosen.labels.tolist() == expected


def test_labels_as_a_list_in_another_delimiter_and_encoding(page):
    rows = "file;what\na001;Cardiomegaly|Zwerchfellhochstand\na002;Ohne Befund\n"
    rows += "a003;['Pleural Effusion', ' ', 'Größe']\n"
    (page / "labels.csv").write_bytes(rows.encode("latin-1"))
    change_card(
        page,
        delimiter=";",
        encoding="latin-1",
        suffix=".png",
        patient=None,
        view=None,
        split=None,
        labels={"kind": "list", "column": "what", "normal": ["Ohne Befund"]},
    )
    manifest = read_dataset("ward7", page, "official", unknown_labels=True)
    assert manifest.frame[["Cardiomegaly", "Pleural Effusion"]].to_numpy().tolist() == [
        [1, 0],
        [0, 0],
        [0, 1],
    ]
    assert manifest.info.unknown_labels == {"Zwerchfellhochstand": 1, "Größe": 1}
    assert list(manifest.frame["patient_id"]) == ["a001", "a002", "a003"]
    assert any("no patients" in note for note in manifest.info.notes)
    assert set(manifest.frame["split"]) == {"test"}


def test_split_names_views_sex_and_age(page):
    rows = "file,person,view,set,Cardiomegaly,Pleural Effusion,g,y\na001.png,p1,frontal,dev,1,0,female,61\n"
    (page / "labels.csv").write_text(rows + "a002.png,p2,,held,0,0,x,\n")
    change_card(page, split_names={"dev": "validate"}, sex="g", age="y")
    manifest = read_dataset("ward7", page, "official")
    frame = manifest.frame
    assert list(frame["split"]) == ["validate", "held"]
    assert frame["view"].fillna("-").tolist() == ["frontal", "-"]
    assert frame["sex"].fillna("-").tolist() == ["F", "-"]
    assert frame["age"].fillna(-1).tolist() == [61, -1]
    assert any("held" in note for note in manifest.info.notes)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("a002.png", "a001.png", "row 2: image 'a001.png' occurs twice"),
        ("a002.png", "nan", "row 2: column 'file' is blank"),
        ("p2", "2E+05", "row 3: 'person' was rounded to 2E+05"),
        ("a002.png", "../../a002.png", "row 2: path 'films/../../a002.png' leaves the data root"),
        ("a002.png", "/etc/passwd", "row 2: path '/etc/passwd' leaves the data root"),
        ("AP,test,0,-1", "AP,test,0,maybe", "row 2: 'Pleural Effusion' holds 'maybe'"),
        ("person", "Person", "no column 'person'. Did the file rename it to 'Person'?"),
        (",", "\t", "fields seem to be separated by a tab"),
    ],
)
def test_bad_tables(page, old, new, says):
    path = page / "labels.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError) as caught:
        read_dataset("ward7", page, "official")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("one", "other"), [("12", "12.0"), ("0012", "12"), ("12", "012.")])
def test_a_patient_in_two_forms_is_refused_and_leading_zeros_are_ids(page, one, other):
    path = page / "labels.csv"
    text = path.read_text().replace("p2", other)
    path.write_text(text.replace("p1", one))
    with pytest.raises(DataError, match=f"patient '{one}' of image 'a001.png' and '{re.escape(other)}' of"):
        read_dataset("ward7", page, "official")
    path.write_text(text.replace("p1", "0013").replace(other, "0012"))
    assert list(read_dataset("ward7", page, "official").frame["patient_id"]) == ["0013", "0013", "0012"]


def test_absent_images_and_files(page):
    (page / "films" / "a002.png").unlink()
    manifest = read_dataset("ward7", page, "official")
    assert manifest.info.dropped == (Noticed(what="image file is absent", count=1, examples=("a002.png",)),)
    for path in (page / "films").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"none of 3 images is here, e.g. films/a001.png"):
        read_dataset("ward7", page, "official")
    (page / "labels.csv").unlink()
    with pytest.raises(DataError, match=r"labels.csv: no such file"):
        read_dataset("ward7", page, "official")


def test_no_image_left_says_why(page):
    path = page / "labels.csv"
    path.write_text(path.read_text().replace(",test,", ",train,"))
    with pytest.raises(DataError, match=r"protocol 'frontal' leaves no image of 3 \(read: 3, split test: 0"):
        evaluation_set(read_dataset("ward7", page, "official"), load_card("ward7"))


def test_columns_of_other_names(page):
    path = page / "labels.csv"
    path.write_text(path.read_text().replace("Pleural Effusion", "effusion"))
    change_card(page, labels={"kind": "columns", "columns": {"Pleural Effusion": "effusion"}})
    assert read_dataset("ward7", page, "official").frame["Pleural Effusion"].tolist() == [0, -1, 1]
    change_card(page, labels={"kind": "columns", "colums": {}})
    with pytest.raises(CardError, match="colums"):
        load_card("ward7")


def test_known_issues_drop_and_fail(page):
    path = page.parent / "my-cards" / "ward7" / "card.yaml"
    text = path.read_text()
    path.write_text(text + "known_issues: [{issue: wrong film, action: drop, images: [a002.png]}]\n")
    manifest = read_dataset("ward7", page, "official")
    assert len(manifest) == 2
    assert manifest.info.dropped == (Noticed(what="wrong film", count=1, examples=("a002.png",)),)
    path.write_text(text + "known_issues: [{issue: wrong film, action: list, images: [a002.png]}]\n")
    manifest = read_dataset("ward7", page, "official")
    assert len(manifest) == 3
    assert manifest.info.seen == (Noticed(what="wrong film", count=1, examples=("a002.png",)),)
    path.write_text(text + "known_issues: [{issue: wrong film, action: fail, images: [a002.png]}]\n")
    with pytest.raises(DataError, match=r"a002.png.*wrong film"):
        read_dataset("ward7", page, "official")
