"""Readers of PadChest-GR, CXR-LT 2026 and CXR-Align on hand-made trees, and a whole official listing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import DataError
from benchmark.data.cards import load_card, read_card
from benchmark.data.dataset import evaluation_set, read_dataset
from tests.data.official import check_form, checked, png, row, small_image
from tests.data.test_mimic_challenge_readers import DICOM, mimic_path

SENTENCE = "There is a nodule in the left lung."


def grounded(root: Path, *studies: dict[str, Any], table: str | None = None) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "grounded_reports_20240819.json").write_text(json.dumps(studies))
    rows = [f"{s['StudyID']},{s['ImageID']},p{n},{n + 60},F,x,validation" for n, s in enumerate(studies)]
    head = "StudyID,ImageID,PatientID,PatientAge,PatientSex_DICOM,label,split"
    (root / "master_table.csv").write_text(table or "\n".join([head, *rows, *rows]))


def study(name: str, *findings: dict[str, Any]) -> dict[str, Any]:
    return {"StudyID": f"s-{name}", "ImageID": f"{name}.png", "findings": list(findings)}


def found(**more: Any) -> dict[str, Any]:
    return {"sentence_en": SENTENCE, "sentence_es": "", "abnormal": True, "labels": ["nodule"], **more}


def test_padchest_gr(tmp_path: Path) -> None:
    boxes = {"boxes": [[0.1, 0.2, 0.5, 0.6]], "extra_boxes": [[0.1, 0.1, 0.6, 0.6]]}
    rare = found(sentence_en="Azygos fissure.", labels=["azygos lobe"], boxes=[[0, 0, 1, 1]])
    grounded(
        tmp_path,
        study("a", found(**boxes), {"sentence_en": "No effusion.", "abnormal": False}, rare),
        study("b", {"sentence_en": "No findings.", "abnormal": False}),
        study("c"),
    )
    for name in "ab":
        png(tmp_path / "PadChest_GR" / f"{name}.png", 100)
    manifest = read_dataset("padchest_gr", tmp_path, "official")
    check_form(manifest, "padchest_gr")
    first = row(manifest, "a.png")
    assert [first[k] for k in ("patient_id", "study_id", "split", "sex", "age")] == [
        "p0", "s-a", "validate", "F", 60,
    ]  # fmt: skip
    assert first["report"] == f"{SENTENCE} No effusion. Azygos fissure."
    assert {c for c in manifest.classes if first[c] == 1} == {"nodule", "other finding"}
    assert all(row(manifest, "b.png")[c] == 0 for c in manifest.classes)
    assert manifest.regions is not None
    assert manifest.regions[["class", "x", "y", "w", "h", "phrase"]].to_numpy().tolist() == [
        ["nodule", 10, 20, 40, 40, SENTENCE],
        ["other finding", 0, 0, 100, 100, "Azygos fissure."],
    ]
    assert manifest.info.counts["boxes_of_a_second_reader"] == 1
    assert manifest.info.dropped[0].count == 1


def test_labels_of_padchest_gr_outside_of_the_vocabulary(tmp_path: Path) -> None:
    png(tmp_path / "a.png", 16)
    grounded(tmp_path, study("a", *[found() for _ in range(30)], found(labels=["nodules"])))
    manifest = read_dataset("padchest_gr", tmp_path, "official")
    assert (manifest.info.unknown_labels, manifest.info.labels_met) == ({"nodules": 1}, 31)
    grounded(tmp_path, study("a", *[found() for _ in range(15)], found(labels=["nodules"])))
    with pytest.raises(DataError, match=r"'nodules' 1 \(near 'nodule'\); that is 6\.2% of 16 labels"):
        read_dataset("padchest_gr", tmp_path, "official")


@pytest.mark.parametrize(
    ("studies", "reason"),
    [
        ([study("a", found(boxes=[[0.5, 0.2, 0.1, 0.6]]))], "x1 < x2"),
        ([study("a", found(boxes=[[0.1, 0.2, 5, 6]]))], "in shares of the image"),
        ([study("a", {"abnormal": True})], "without `sentence_en`"),
        ([study("a", found(labels="nodule"))], "`labels` is no list"),
        ([study("a", found(boxes=[[float("nan"), 0, 1, 1]]))], "x1 < x2"),
        ([study("a"), study("a")], "occurs twice"),
        ([{"StudyID": "s", "ImageID": "../a.png", "findings": []}], "no plain name"),
        ([{"StudyID": "s", "ImageID": "a.png"}], "a list `findings`"),
    ],
)
def test_padchest_gr_bad_studies(tmp_path: Path, studies: list[dict[str, Any]], reason: str) -> None:
    png(tmp_path / "a.png", 16)
    grounded(tmp_path, *studies)
    with pytest.raises(DataError, match=reason) as caught:
        read_dataset("padchest_gr", tmp_path, "official")
    assert "grounded_reports_20240819.json: study" in str(caught.value)


def test_a_packed_master_table_is_named(tmp_path: Path) -> None:
    grounded(tmp_path, study("a"))
    png(tmp_path / "a.png", 16)
    (tmp_path / "master_table.csv").rename(tmp_path / "master_table.csv.zip")
    with pytest.raises(DataError, match="Unpack it"):
        read_dataset("padchest_gr", tmp_path, "official")


def test_padchest_gr_listing(tmp_path: Path) -> None:
    """4,555 studies, 3,099 of them abnormal, with 7,037 positive and 3,422 negative sentences."""
    source = small_image(tmp_path / "images" / "source.png", 0)
    studies = []
    for n in range(4_555):
        positive = (3 if n < 7_037 - 2 * 3_099 else 2) if n < 3_099 else 0
        negative = 1 if n < 3_422 else 0
        said = [found(sentence_en=f"{SENTENCE} {k}", boxes=[[0.1, 0.1, 0.5, 0.5]]) for k in range(positive)]
        said += [{"sentence_en": "No effusion.", "abnormal": False}] * negative
        studies.append(study(f"{n:05d}", *said))
        os.link(source, tmp_path / "images" / f"{n:05d}.png")
    source.unlink()
    grounded(tmp_path, *studies)
    report = checked("padchest_gr", tmp_path, "--skip-images")
    assert report["counts"]["all"]["images"] == [4_555, 4_555]
    assert report["counts"]["all"]["studies"] == [4_555, 4_555]


def lt(root: Path, name: str, header: str, *rows: str) -> None:
    (root / f"CXRLT_2026_{name}.csv").write_text("\n".join([header, *rows]) + "\n")


def test_cxr_lt_2026(tmp_path: Path) -> None:
    names = ["216840_1_abc.png", "00000013_005.png", "7_x.png"]
    for name in names[:2]:
        png(tmp_path / "images" / name, 16)
    lt(tmp_path, "TEST_ALL_TASK1", "ImageID,Kyphosis,Fracture", f"{names[0]},1,0", f"{names[1]},0,1")
    lt(tmp_path, "TEST_ALL_TASK2", "goiter,ImageID", f"1,{names[0]}", f"0,{names[1]}")
    lt(tmp_path, "training", "ImageID,PatientID,Kyphosis", f"{names[2]},3.24e+38,1")
    lt(tmp_path, "DEV_TASK1", "ImageID", "hidden.png")
    manifest = read_dataset("cxr_lt_2026", tmp_path, "official")
    check_form(manifest, "cxr_lt_2026")
    assert manifest.frame["split"].tolist() == ["test", "test"]
    assert row(manifest, names[0])["patient_id"] == "216840_1"
    assert row(manifest, names[1])["patient_id"] == "00000013"
    assert [row(manifest, names[1])[c] for c in ("Kyphosis", "fracture", "goiter")] == [0, 1, 0]
    assert manifest.frame["Mass"].isna().all()
    assert manifest.info.seen[0].what == "unlabelled image in CXRLT_2026_DEV_TASK1.csv"
    assert len(evaluation_set(manifest, load_card("cxr_lt_2026"), "task2")) == 2
    lt(tmp_path, "TEST_ALL_TASK1b", "ImageID,Kyphosis", f"{names[0]},0")
    with pytest.raises(DataError, match="not what another table says"):
        read_dataset("cxr_lt_2026", tmp_path, "official")
    lt(tmp_path, "TEST_ALL_TASK1b", "ImageID,Kyphosis", f"{names[2]},1")
    with pytest.raises(DataError, match="another part's table"):
        read_dataset("cxr_lt_2026", tmp_path, "official")
    lt(tmp_path, "something", "ImageID,Kyphosis", f"{names[0]},1")
    with pytest.raises(DataError, match="says no part"):
        read_dataset("cxr_lt_2026", tmp_path, "official")


def test_a_protocol_ranks_by_average_precision_and_others_keep_their_content() -> None:
    card = load_card("cxr_lt_2026")
    assert {p.headline for p in card.protocols.values()} == {"average_precision"}
    assert card.model_dump()["protocols"]["task1"]["headline"] == "average_precision"
    assert "headline" not in load_card("cxr_lt").model_dump(mode="json")["protocols"]["task1"]


def test_a_card_cannot_rank_by_an_unknown_metric(tmp_path: Path) -> None:
    text = (Path("datasets") / "cxr_lt_2026" / "card.yaml").read_text()
    folder = tmp_path / "cxr_lt_2026"
    folder.mkdir()
    (folder / "card.yaml").write_text(text.replace("headline: average_precision", "headline: map", 1))
    with pytest.raises(Exception, match="headline"):
        read_card(folder)


def statements(root: Path, value: object) -> None:
    png(root / "mimic-cxr-jpg" / mimic_path(1), 16)
    (root / "cxr-align.json").write_text(json.dumps(value))


CASE = {
    "report": "Small effusion. Heart normal.",
    "negation": "No effusion. Heart normal.",
    "omitted": "Heart normal.",
    "chosen": "Effusion",
    "location": "left",
}


def test_cxr_align(tmp_path: Path) -> None:
    absent = {**CASE, "chosen": "gout"}
    statements(tmp_path, {"mimic": {DICOM.format(1): CASE, DICOM.format(2): absent}})
    manifest = read_dataset("cxr_align", tmp_path, "official", unknown_labels=True)
    check_form(manifest, "cxr_align")
    one = row(manifest, DICOM.format(1))
    assert [one[k] for k in ("report", "report_negated", "report_omitted")] == [
        CASE["report"], CASE["negation"], CASE["omitted"],
    ]  # fmt: skip
    assert (one["patient_id"], one["study_id"], one["Pleural Effusion"]) == ("10000032", "50414267", 1)
    assert manifest.frame["Cardiomegaly"].isna().all()
    assert manifest.info.dropped[0].count == 1
    manifest.save(tmp_path / "kept")
    assert "report_negated" in type(manifest).load(tmp_path / "kept").frame


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"openi": {}}, "cases under 'mimic'"),
        ({"mimic": {DICOM.format(1): {**CASE, "omitted": " "}}}, "case 1: 'omitted' is missing or blank"),
        ({"mimic": {DICOM.format(1): ["x"]}}, "expected an object"),
        ({"mimic": {DICOM.format(3): CASE}}, "none of the 1 images"),
    ],
)
def test_cxr_align_bad_files(tmp_path: Path, value: object, reason: str) -> None:
    statements(tmp_path, value)
    with pytest.raises(DataError, match=reason) as caught:
        read_dataset("cxr_align", tmp_path, "official")
    assert "effusion" not in str(caught.value).lower(), "no report in a message"
