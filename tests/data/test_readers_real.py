"""The official readers on real files: every count of their READMEs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from benchmark.core.errors import DataError
from benchmark.data.cards import load_card
from benchmark.data.dataset import evaluation_set, read_dataset
from benchmark.data.readers.common import Log
from benchmark.data.readers.openi import read_reports

NIH = {
    "Effusion": 102,
    "Infiltration": 96,
    "Atelectasis": 53,
    "Cardiomegaly": 52,
    "Mass": 33,
    "Pneumothorax": 32,
    "Emphysema": 28,
    "Edema": 24,
    "Nodule": 20,
    "Consolidation": 20,
    "Fibrosis": 14,
    "Pleural_Thickening": 14,
    "Hernia": 9,
    "Pneumonia": 5,
}
OPENI = {  # reports, and those with an image
    "Granuloma": (109, 107),
    "Opacity": (102, 96),
    "Atelectasis": (72, 66),
    "Calcified Granuloma": (67, 65),
    "Cardiomegaly": (65, 58),
    "Effusion": (38, 36),
    "Emphysema": (30, 30),
    "Nodule": (28, 28),
    "Fracture": (26, 26),
    "Pneumonia": (22, 22),
    "Infiltration": (20, 19),
    "Edema": (17, 17),
    "Hernia": (13, 13),
    "Pleural_Thickening": (9, 9),
    "Fibrosis": (7, 6),
    "Pneumothorax": (6, 6),
    "Mass": (2, 1),
    "Lesion": (1, 1),
}


@pytest.fixture(scope="module")
def nih(shared):
    return read_dataset("chestxray14", shared / "data" / "nih1000", "official")


@pytest.fixture(scope="module")
def openi(shared):
    return read_dataset("openi", shared / "data" / "openi_reports", "official")


def test_nih_counts(nih):
    frame = nih.frame
    assert len(frame) == 600
    assert frame["patient_id"].nunique() == 165
    assert frame["view"].value_counts().to_dict() == {"PA": 386, "AP": 214}
    assert frame["sex"].value_counts().to_dict() == {"F": 308, "M": 292}
    tables = frame[[f"{c}@table" for c in nih.classes]]
    assert {c: int(frame[f"{c}@table"].sum()) for c in nih.classes} == NIH
    assert (tables.sum(axis=1) == 0).sum() == 300
    assert len(nih.regions) == 2
    assert nih.info.dropped == ()
    assert nih.info.unknown_labels == {}
    assert frame["age"].between(0, 95).all()


def test_nih_lists_say_what_was_found(nih):
    assert nih.info.files["carzero list"] == "carzero_test_list_rows.txt"
    assert nih.info.lists["carzero"] == {"listed": 104, "found": 104}
    chosen = evaluation_set(nih, load_card("chestxray14"))
    assert len(chosen) == 104
    assert chosen.info.official_images == 22433
    assert set(chosen.info.no_positives) == {"Pneumonia", "Edema", "Hernia"}


def test_nih_split_keeps_patients_together(nih):
    frame = nih.frame
    assert (frame["split"] == "test").sum() == 104
    assert set(frame["split"]) == {"train", "validate", "test"}
    assert (frame.groupby("patient_id")["split"].nunique() == 1).all()


def test_nih_without_lists_is_split_by_patient(shared, tmp_path):
    source = shared / "data" / "nih1000"
    shutil.copy(source / "Data_Entry_2017_v2020.csv", tmp_path)
    (tmp_path / "images").symlink_to(source / "images")
    manifest = read_dataset("chestxray14", tmp_path, "official")
    frame = manifest.frame
    assert (frame.groupby("patient_id")["split"].nunique() == 1).all()
    assert 0.1 < (frame["split"] == "test").mean() < 0.35
    assert "70/10/20" in manifest.info.notes[0]
    with pytest.raises(DataError, match=r"needs the image list 'carzero'.*--protocol \w"):
        evaluation_set(manifest, load_card("chestxray14"))
    assert (
        len(evaluation_set(manifest, load_card("chestxray14"), "held-out"))
        == (frame["split"] == "test").sum()
    )


def test_nih_reading_twice_gives_the_same_table(nih, shared):
    again = read_dataset("chestxray14", shared / "data" / "nih1000", "official")
    pd.testing.assert_frame_equal(nih.frame, again.frame)


def test_openi_counts(openi):
    assert openi.info.counts["all_reports"] == 1000
    assert len(openi) == 1906
    assert openi.frame["patient_id"].nunique() == 972
    assert openi.info.reports_by_class == {c: OPENI[c][0] for c in openi.classes}
    by_report = openi.frame.groupby("study_id")[list(openi.classes)].max().sum()
    assert by_report.to_dict() == {c: OPENI[c][1] for c in openi.classes}
    seen = {s.what: s.count for s in openi.info.seen}
    assert seen["report without image"] == 28


def test_openi_reports_and_terms(shared):
    reports = read_reports(shared / "data" / "openi_reports", load_card("openi"), Log())
    assert sum(1 for r in reports if {t.strip() for t in r.major} == {"normal"}) == 353
    assert any("Technical Quality of Image Unsatisfactory " in r.major for r in reports)
    assert any(not r.terms and "normal" not in r.major for r in reports)
    assert any(r.sections.get("FINDINGS") == "" for r in reports)
    first = reports[0]
    assert first.uid == "CXR4"
    assert first.text.startswith("COMPARISON: ")
    assert first.terms == tuple(sorted(set(first.terms)))


def test_openi_rules_differ_where_the_substring_misleads(openi):
    frame = openi.frame
    sub, exact = frame["Effusion"], frame["Effusion@exact"]
    assert (exact <= sub).all()
    assert frame["Fibrosis@exact"].sum() != frame["Fibrosis"].sum()
    assert (frame["Lesion"] <= frame["Mass"]).all()
    assert (frame["Calcified Granuloma"] <= frame["Granuloma"]).all()
    chosen = evaluation_set(openi, load_card("openi"), "exact")
    assert chosen.labels.sum() == frame[[f"{c}@exact" for c in openi.classes]].sum().sum()


def test_openi_reads_unpacked_reports_the_same(openi, shared, tmp_path):
    shutil.unpack_archive(
        shared / "data" / "openi_reports" / "NLMCXR_reports_1000.tgz", tmp_path, "gztar", filter="data"
    )
    again = read_dataset("openi", Path(tmp_path), "official")
    pd.testing.assert_frame_equal(openi.frame, again.frame)
