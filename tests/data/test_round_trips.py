"""What a writer lays down, the official reader reads, with ids, labels, views, reports and pixels."""

from __future__ import annotations

import csv
import gzip
import hashlib
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from benchmark.core.registry import Registry
from benchmark.core.tables import Manifest
from benchmark.data.cards import load_card
from benchmark.data.dataset import evaluation_set, read_dataset
from benchmark.twins.writers.common import Convention

NAMES = ["mimic_cxr", "padchest", "chestxray14", "openi", "chexpert", "chexpert5x200"]
COUNT = 120


def write(name: str, root: Path, studies, seed: int = 3) -> dict[int, str]:
    writer = Registry("writer", {name: f"benchmark.twins.writers.{name}:write"}).get(name)
    return writer(root, studies, load_card(name), np.random.default_rng(seed))


def tree(root: Path) -> dict[str, str]:
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize("name", NAMES)
def test_every_image_comes_back_under_its_id(name, tmp_path, studies):
    ids = write(name, tmp_path, studies(COUNT))
    manifest = read_dataset(name, tmp_path, "twin")
    assert manifest.origin == "twin"
    assert set(manifest.frame["image_id"]) == set(ids.values())
    assert not manifest.info.dropped
    assert not manifest.info.unknown_labels
    for path in manifest.frame["path"]:
        assert cv2.imread(str(tmp_path / path), cv2.IMREAD_UNCHANGED) is not None
    pictured = {i.number: s.patient.number for s in studies(COUNT) for i in s.images}
    if name != "openi":
        groups = pd.Series({ids[k]: pictured[k] for k in ids}, name="twin").reindex(
            manifest.frame["image_id"]
        )
        pairs = set(zip(groups, manifest.frame["patient_id"], strict=True))
        assert len(pairs) == len(set(groups)) == manifest.frame["patient_id"].nunique()


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_bytes_another_seed_another_tree(name, tmp_path, studies):
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        write(name, tmp_path / folder, studies(COUNT), seed)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert tree(tmp_path / "a") != tree(tmp_path / "c")


@pytest.mark.parametrize("name", NAMES)
def test_the_default_protocol_evaluates_the_twin(name, tmp_path, studies):
    write(name, tmp_path, studies(COUNT))
    manifest = read_dataset(name, tmp_path, "twin")
    chosen = evaluation_set(manifest, load_card(name))
    assert chosen.labels.shape == (len(chosen), len(chosen.classes))
    assert set(np.unique(chosen.labels)) <= {0, 1, -1}
    assert (chosen.labels == 1).any()


@pytest.mark.parametrize("name", NAMES)
def test_a_manifest_survives_saving(name, tmp_path, studies):
    write(name, tmp_path / "tree", studies(40))
    manifest = read_dataset(name, tmp_path / "tree", "twin")
    manifest.save(tmp_path / "prepared")
    again = Manifest.load(tmp_path / "prepared")
    pd.testing.assert_frame_equal(manifest.frame, again.frame)
    assert again.info == manifest.info


def test_mimic_keeps_four_states_of_the_report(tmp_path, studies):
    ids = write("mimic_cxr", tmp_path, studies(COUNT))
    card = load_card("mimic_cxr")
    frame = read_dataset("mimic_cxr", tmp_path, "twin").frame.set_index("image_id")
    agree = total = 0
    for study in studies(COUNT):
        said = {"present": 1, "absent": 0, "uncertain": -1}
        for sentence in study.sentences:
            for finding in sentence.findings:
                for name, concepts in card.concepts.items():
                    if finding.concept in concepts:
                        state = frame.loc[ids[study.images[0].number], name]
                        total += 1
                        agree += not pd.isna(state) and int(state) == said[finding.presence]
    assert total > 100
    assert 0.9 < agree / total <= 1
    for state in (1, 0, -1):
        assert (frame["Pneumothorax" if state == 0 else "Atelectasis"] == state).any()
    assert frame["Edema"].isna().any()


def test_mimic_reports_are_whole_files_in_wrapped_lines(tmp_path, studies):
    write("mimic_cxr", tmp_path, studies(COUNT))
    manifest = read_dataset("mimic_cxr", tmp_path, "twin")
    reports = manifest.frame["report"]
    assert reports.notna().all()
    assert reports.str.contains("FINAL REPORT").all()
    assert reports.str.contains("FINDINGS:|IMPRESSION:|WET READ:").all()
    assert max(len(line) for text in reports for line in text.splitlines()) < 81
    assert manifest.frame["split"].isin(["train", "validate", "test"]).all()
    assert (manifest.frame.groupby("patient_id")["split"].nunique() == 1).all()
    assert manifest.info.counts["studies"] == COUNT


def test_mimic_label_rows_are_in_another_order_than_images(tmp_path, studies):
    write("mimic_cxr", tmp_path, studies(COUNT))
    jpg = tmp_path / "mimic-cxr-jpg"
    read = lambda kind: pd.read_csv(jpg / f"mimic-cxr-2.0.0-{kind}.csv.gz")  # noqa: E731
    metadata, labels = read("metadata"), read("chexpert")
    assert list(labels.columns[2:]) == sorted(labels.columns[2:])
    order = metadata["study_id"].drop_duplicates()
    assert list(order[order.isin(labels["study_id"])]) != list(labels["study_id"])


def test_padchest_files_have_the_official_oddities(tmp_path, studies):
    write("padchest", tmp_path, studies(COUNT))
    path = tmp_path / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
    with open(path, newline="") as handle:
        rows = list(csv.reader(handle))
    assert len(rows[0]) == 36
    assert rows[0][0] == ""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert table["PatientID"].str.len().min() > 30
    assert table["PatientID"].astype(float).nunique() < table["PatientID"].nunique()
    assert table["Labels"].str.contains(r"\[' |''| '[,\]]", regex=True).any()
    assert table["PatientBirth"].str.fullmatch(r"(\d{4}\.0)?").all()
    image = cv2.imread(str(next(tmp_path.glob("*/*.png"))), cv2.IMREAD_UNCHANGED)
    assert image.dtype == np.uint16
    assert image.ndim == 2
    assert image.max() > 255


def test_padchest_labels_are_the_concepts_themselves(tmp_path, studies):
    ids = write("padchest", tmp_path, studies(COUNT))
    frame = read_dataset("padchest", tmp_path, "twin").frame.set_index("image_id")
    seen = set()
    for study in studies(COUNT):
        for image in study.images:
            row = frame.loc[ids[image.number]]
            if row["split"] != "test":
                continue
            seen |= {f.concept for f in study.findings}
            for finding in study.findings:
                assert row[finding.concept] == 1
    assert {"laminar atelectasis", "pulmonary mass", "pacemaker"} <= seen
    assert frame["mass"].sum() == 0
    assert frame["atelectasis"].sum() == 0


def test_chestxray14_has_two_lists_told_apart(tmp_path, studies):
    write("chestxray14", tmp_path, studies(COUNT))
    manifest = read_dataset("chestxray14", tmp_path, "twin")
    assert manifest.info.files["carzero list"] == "CheXNet/test_list.txt"
    assert manifest.info.files["nih test list"] == "test_list.txt"
    frame = manifest.frame
    assert set(frame["split"].dropna()) <= {"train", "validate", "test"}
    patients = [set(frame.loc[frame["split"] == s, "patient_id"]) for s in ("train", "validate", "test")]
    assert len(set.union(*patients)) == sum(map(len, patients))
    assert (frame.loc[frame["list:carzero"] | frame["list:nih"], "split"] == "test").all()
    nih = evaluation_set(manifest, load_card("chestxray14"), "nih")
    assert len(nih) == frame["list:nih"].sum()
    assert frame["view"].isin(["PA", "AP"]).all()


def test_chestxray14_boxes_are_in_the_space_of_the_original(tmp_path, studies):
    write("chestxray14", tmp_path, studies(COUNT))
    manifest = read_dataset("chestxray14", tmp_path, "twin")
    boxes = manifest.regions
    assert boxes is not None
    assert len(boxes) > 5
    assert set(boxes["class"]) <= set(manifest.classes)
    np.testing.assert_allclose(boxes[["x", "y", "w", "h"]].drop_duplicates(), [[128, 256, 512, 384]])
    assert manifest.info.box_space == (1024, 1024)
    positive = manifest.frame.set_index("image_id")
    assert all(
        positive.loc[i, f"{c}@table"] == 1 for i, c in zip(boxes["image_id"], boxes["class"], strict=True)
    )


def test_openi_labels_come_from_terms_with_their_traps(tmp_path, studies):
    write("openi", tmp_path, studies(800))
    manifest = read_dataset("openi", tmp_path, "twin")
    frame = manifest.frame
    assert frame["Atelectasis"].sum() > 0
    assert (frame["Atelectasis@exact"] <= frame["Atelectasis"]).all()
    assert frame["view"].isna().all()
    assert frame["report"].str.contains("INDICATION: Cough, <2 days & fever.", regex=False).any()
    assert not frame["report"].str.contains("___").any()
    assert {"report without image", "report without automatic terms: negative for every class"} <= {
        s.what for s in manifest.info.seen
    }


def test_chexpert_test_labels_are_true_and_training_labels_are_mined(tmp_path, studies):
    ids = write("chexpert", tmp_path, studies(COUNT))
    card = load_card("chexpert")
    frame = read_dataset("chexpert", tmp_path, "twin").frame.set_index("image_id")
    convention = Convention(card)
    for study in studies(COUNT):
        truth = convention.drawn(study)
        for image in study.images:
            row = frame.loc[ids[image.number]]
            if row["split"] != "train":
                assert {c: int(row[c]) for c in card.classes} == truth
    train = frame[frame["split"] == "train"]
    assert train[list(card.classes)].isna().any().any()
    test = frame[frame["split"] == "test"]
    assert set(test["view"]) == {"frontal", "L"}
    assert test["sex"].isna().all()
    assert (
        len(evaluation_set(read_dataset("chexpert", tmp_path, "twin"), card, "frontal"))
        == (test["view"] == "frontal").sum()
    )


def test_chexpert5x200_rows_have_exactly_one_class(tmp_path, studies):
    write("chexpert5x200", tmp_path, studies(COUNT))
    manifest = read_dataset("chexpert5x200", tmp_path, "twin")
    assert (manifest.frame[list(manifest.classes)].eq(1).sum(axis=1) == 1).all()
    assert manifest.frame["view"].isin(["PA", "AP"]).all()


def test_gzipped_tables_carry_no_time(tmp_path, studies):
    write("mimic_cxr", tmp_path, studies(8))
    for path in (tmp_path / "mimic-cxr-jpg").glob("*.gz"):
        assert path.read_bytes()[4:8] == b"\0\0\0\0"
        assert gzip.decompress(path.read_bytes())
