"""Writers of the grounding, segmentation and long-tail twins, read back by the official readers."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.core.tables import Manifest
from benchmark.data.cards import load_card
from benchmark.data.dataset import evaluation_set, read_dataset
from benchmark.data.masks import decode_mask
from benchmark.data.pixels import read_pixels
from benchmark.twins.case import Finding, Region, Sentence, TwinImage, TwinPatient, TwinStudy
from benchmark.twins.writers import Ids
from benchmark.twins.writers.common import Convention

NAMES = (
    "chestxdet10", "rsna_pneumonia", "siim_pneumothorax", "ms_cxr", "vindr_cxr", "cxr_lt",
    "padchest_gr", "cxr_lt_2026", "cxr_align",
)  # fmt: skip
PALETTE = (
    "pneumonia",
    "pneumothorax",
    "nodule",
    "pulmonary mass",
    "consolidation",
    "pleural effusion",
    "cardiomegaly",
    "rib fracture",
    "calcified granuloma",
    "scoliosis",
    "bullas",
    "aortic elongation",
    "tuberculosis",
    "endotracheal tube",
    "interstitial pattern",
    "hydropneumothorax",
)
SIDE = 64


def studies(count: int = 60, seed: int = 5) -> Iterator[TwinStudy]:
    """Noise images with rectangles as findings: 0 to 3 findings a study, some of them twice."""
    number = 0
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        chosen = list(rng.choice(PALETTE, rng.integers(0, 4), replace=False))
        findings = tuple(Finding(c, "present", "left", "base", "small") for c in chosen)
        sentences = tuple(
            Sentence(f"A small {f.concept}, at the left base.", "findings", (f,)) for f in findings[:2]
        )
        images = []
        for view in ("PA", "L") if i % 3 == 0 else ("AP",):
            regions = []
            for finding in findings:
                for _ in range(rng.integers(1, 3)):
                    x, y = (int(v) for v in rng.integers(0, SIDE - 12, 2))
                    w, h = (int(v) for v in rng.integers(4, 12, 2))
                    mask = np.zeros((SIDE, SIDE), bool)
                    mask[y : y + h, x : x + w] = True
                    regions.append(Region(finding.concept, (x, y, w, h), mask))
            pixels = rng.random((SIDE, SIDE), dtype=np.float32)
            images.append(TwinImage(number, view, pixels, tuple(regions)))
            number += 1
        patient = TwinPatient(i // 2, "F" if i % 2 else "M", 30 + i)
        yield TwinStudy(patient, i, i, tuple(images), findings, sentences)


def build(name: str, root: Path, items: list[TwinStudy] | None = None) -> tuple[Manifest, Ids]:
    from importlib import import_module

    write = import_module(f"benchmark.twins.writers.{name}").write
    ids = write(root, iter(items or list(studies())), load_card(name), np.random.default_rng(7))
    return read_dataset(name, root, "twin"), ids


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Manifest, Ids]]:
    return {name: build(name, tmp_path_factory.mktemp(name)) for name in NAMES}


def images_by_id(ids: Ids) -> dict[str, tuple[TwinStudy, TwinImage]]:
    return {ids[image.number]: (s, image) for s in studies() for image in s.images if image.number in ids}


@pytest.mark.parametrize("name", NAMES)
def test_ids_and_images_come_back(name: str, twins: dict[str, tuple[Manifest, Ids]]) -> None:
    manifest, ids = twins[name]
    assert len(set(ids.values())) == len(ids)
    assert set(manifest.frame["image_id"]) == set(ids.values())
    assert not manifest.info.dropped
    assert not manifest.info.unknown_labels
    assert manifest.origin == "twin"
    known = images_by_id(ids)
    for name_of, path in manifest.frame[["image_id", "path"]].itertuples(index=False):
        pixels = read_pixels(manifest.root / path)
        full = np.iinfo(pixels.dtype).max
        drawn = known[name_of][1].pixels
        error = np.abs(pixels / full - drawn).mean() if name != "vindr_cxr" else 0.0
        assert pixels.shape == (SIDE, SIDE)
        assert error < 0.05


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_bytes(name: str, tmp_path: Path) -> None:
    items = list(studies(24))  # with fewer a part of a split is empty
    build(name, tmp_path / "a", items)
    build(name, tmp_path / "b", list(studies(24)))
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert files
    for path in files:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


@pytest.mark.parametrize("name", ["chestxdet10", "rsna_pneumonia", "siim_pneumothorax"])
def test_labels_are_what_is_drawn(name: str, twins: dict[str, tuple[Manifest, Ids]]) -> None:
    manifest, ids = twins[name]
    convention = Convention(load_card(name))
    truth = {i: convention.drawn(study) for i, (study, _) in images_by_id(ids).items()}
    frame = manifest.frame.set_index("image_id")
    for label in manifest.classes:
        assert frame[label].to_dict() == {i: truth[i][label] for i in frame.index}
    assert frame[list(manifest.classes)].to_numpy().sum() >= 3


@pytest.mark.parametrize("name", ["chestxdet10", "rsna_pneumonia"])
def test_boxes_are_where_it_is_drawn(name: str, twins: dict[str, tuple[Manifest, Ids]]) -> None:
    manifest, ids = twins[name]
    convention = Convention(load_card(name))
    assert manifest.regions is not None
    expected = [
        (i, label, *region.box)
        for i, (_, image) in images_by_id(ids).items()
        for region in image.regions
        for label in manifest.classes
        if region.concept in convention.covered[label]
    ]
    columns = ["image_id", "class", "x", "y", "w", "h"]
    got = [tuple(r) for r in manifest.regions[columns].itertuples(index=False)]
    assert sorted((r[0], r[1]) for r in got) == sorted((r[0], r[1]) for r in expected)
    by_key = [(r[:2], np.array(r[2:], float)) for r in sorted(expected)]
    for (key, box), row in zip(by_key, sorted(got), strict=True):
        assert row[:2] == key
        np.testing.assert_allclose(np.array(row[2:], float), box, atol=2 * SIDE / 1024)


def test_siim_masks_are_exact(twins: dict[str, tuple[Manifest, Ids]]) -> None:
    manifest, ids = twins["siim_pneumothorax"]
    convention = Convention(load_card("siim_pneumothorax"))
    covered = convention.covered["Pneumothorax"]
    assert manifest.regions is not None
    assert len(manifest.regions) == manifest.frame["Pneumothorax"].sum()
    known = images_by_id(ids)
    several = 0
    for name, rle in manifest.regions[["image_id", "rle"]].itertuples(index=False):
        masks = [r.mask for r in known[name][1].regions if r.concept in covered]
        several += len(masks) > 1
        np.testing.assert_array_equal(decode_mask(rle), np.any(masks, axis=0))
    assert several


def test_siim_table_has_the_official_oddities(twins: dict[str, tuple[Manifest, Ids]]) -> None:
    text = (twins["siim_pneumothorax"][0].root / "train-rle.csv").read_text()
    lines = text.splitlines()
    assert lines[0] == "ImageId, EncodedPixels"
    ends = {line.partition(",")[2] for line in lines[1:]}
    assert {" -1", "-1"} <= ends


def test_ms_cxr_phrases_and_boxes(twins: dict[str, tuple[Manifest, Ids]]) -> None:
    manifest, ids = twins["ms_cxr"]
    assert manifest.regions is not None
    known = images_by_id(ids)
    covered = Convention(load_card("ms_cxr")).covered
    stated = 0
    for row in manifest.regions.itertuples(index=False):
        study, image = known[row.image_id]
        box = (row.x, row.y, row.w, row.h)
        region = next(r for r in image.regions if tuple(map(float, r.box)) == box)
        assert region.concept in covered[row[1]]
        sentences = {s.text.rstrip(".") for s in study.sentences}
        if row.phrase in sentences:
            stated += 1
        else:
            assert row[1].lower() in row.phrase
    assert stated
    assert manifest.frame["view"].isin(["PA", "AP"]).all()
    frame = manifest.frame.set_index("image_id")
    for name, label in manifest.regions[["image_id", "class"]].itertuples(index=False):
        assert frame.loc[name, label] == 1


def test_vindr_votes_boxes_and_windows(twins: dict[str, tuple[Manifest, Ids]]) -> None:
    manifest, ids = twins["vindr_cxr"]
    card = load_card("vindr_cxr")
    convention = Convention(card)
    known = images_by_id(ids)
    frame = manifest.frame.set_index("image_id")
    test = frame[frame["split"] == "test"]
    for name, row in test.iterrows():
        truth = convention.drawn(known[str(name)][0])
        boxable = [c for c in card.subsets["local"] if truth[c]]
        assert {c for c in card.subsets["local"] if row[c] == 1} == set(boxable)
    root = manifest.root / "annotations"
    headers = {p: next(csv.reader((root / f"image_labels_{p}.csv").open())) for p in ("train", "test")}
    assert headers["train"][-2:] == ["Other diseases", "No finding"]
    assert headers["test"][-2:] == ["Other disease", "No finding"]
    from pydicom import dcmread

    kinds = set()
    for name, path in manifest.frame[["image_id", "path"]].itertuples(index=False):
        header = dcmread(manifest.root / path, stop_before_pixels=True)
        kinds.add((header.PhotometricInterpretation, "WindowWidth" in header, "RescaleSlope" in header))
        shown = read_pixels(manifest.root / path) / 65535
        drawn = known[name][1].pixels
        # Without a window the stored range leaves a margin at both ends: the picture is the same up to scale.
        assert np.corrcoef(shown.ravel(), drawn.ravel())[0, 1] > 0.999
        if "WindowWidth" in header:
            np.testing.assert_allclose(shown, drawn, atol=0.005)
    assert {k[0] for k in kinds} == {"MONOCHROME1", "MONOCHROME2"}
    assert len(kinds) > 4


def test_cxr_lt_tasks_and_orders(twins: dict[str, tuple[Manifest, Ids]]) -> None:
    manifest, _ = twins["cxr_lt"]
    card = load_card("cxr_lt")
    folder = manifest.root / "cxr-lt-2024"
    header = next(csv.reader((folder / "test_labeled_task2.csv").open()))
    assert header[header.index("Mass") + 1 : header.index("Mass") + 3] == ["Normal", "Nodule"]
    assert len(header) == 5 + 26
    chosen = evaluation_set(manifest, card, "task3")
    assert chosen.classes == ("Bulla", "Cardiomyopathy", "Hilum", "Osteopenia", "Scoliosis")
    assert chosen.labels[:, 0].sum() > 0
    train = manifest.frame[manifest.frame["split"] == "train"]
    if len(train):
        assert train["Bulla"].isna().all()
    mimic = {f"1{i % 10}" for i in range(10)}
    assert set(manifest.frame["patient_id"].str[:2]) <= mimic


def test_padchest_gr_sentences_have_their_own_regions(twins: dict[str, tuple[Manifest, Ids]]) -> None:
    manifest, ids = twins["padchest_gr"]
    assert manifest.regions is not None
    known = images_by_id(ids)
    for row in manifest.regions.itertuples(index=False):
        study, image = known[row.image_id]
        stated = next(s for s in study.sentences if s.text == row.phrase)
        boxes = [r.box for r in image.regions if r.concept == stated.findings[0].concept]
        assert min(np.abs(np.subtract(b, (row.x, row.y, row.w, row.h))).max() for b in boxes) < 1e-3
    counts = manifest.info.counts
    assert counts["boxes_of_a_second_reader"] < counts["boxes"] == len(manifest.regions)
    assert 0 < counts["boxed_sentences"] <= counts["sentences"]
    assert "other finding" in set(manifest.regions["class"])


def test_cxr_lt_2026_parts_and_centers(twins: dict[str, tuple[Manifest, Ids]]) -> None:
    manifest, _ = twins["cxr_lt_2026"]
    card = load_card("cxr_lt_2026")
    assert (len(card.protocol_classes("task1")), len(card.protocol_classes("task2"))) == (30, 6)
    chosen = evaluation_set(manifest, card, "task2")
    assert (chosen.labels >= 0).all()
    assert chosen.labels[:, chosen.classes.index("Scoliosis")].sum() > 0
    train = manifest.frame[manifest.frame["split"] == "train"]
    assert train["Scoliosis"].isna().all()
    lengths = {len(name) for name in manifest.frame["image_id"]}
    assert len("00900001_001.png") in lengths, "images of both centers"
    assert max(lengths) > 40


def test_cxr_align_denies_and_leaves_out_one_finding(twins: dict[str, tuple[Manifest, Ids]]) -> None:
    manifest, ids = twins["cxr_align"]
    frame = manifest.frame
    known = images_by_id(ids)
    assert len(frame) > 10
    assert (frame[list(manifest.classes)] == 1).sum(axis=1).eq(1).all()
    for row in frame.itertuples(index=False):
        assert row.report == " ".join(s.text for s in known[row.image_id][0].sentences)
        assert "No " in row.report_negated
        assert len(row.report_omitted) < len(row.report_negated)
        assert row.report_omitted != row.report


def test_borrowed_trees_hold_other_patients(twins: dict[str, tuple[Manifest, Ids]]) -> None:
    from benchmark.twins.writers.mimic_cxr import dicom_id, subject_id

    own = {subject_id(s) for s in studies()}
    images = {dicom_id(image) for s in studies() for image in s.images}
    for name in ("ms_cxr", "cxr_lt", "cxr_align"):
        frame = twins[name][0].frame
        assert not own & set(frame["patient_id"])
        assert not images & set(frame["image_id"])


def test_rsna_details_repeat_per_box(twins: dict[str, tuple[Manifest, Ids]]) -> None:
    manifest, _ = twins["rsna_pneumonia"]
    lines = (manifest.root / "stage_2_detailed_class_info.csv").read_text().splitlines()[1:]
    assert len(lines) > len(set(lines))
    assert "detailed class contradicts Target" not in {s.what for s in manifest.info.seen}


def test_a_study_without_any_box_is_negative(tmp_path: Path) -> None:
    """A finding that cannot be boxed (no region) is left out by the annotators of ChestX-Det10."""
    plain = [replace(s, images=tuple(replace(i, regions=()) for i in s.images)) for s in studies(8)]
    manifest, _ = build("chestxdet10", tmp_path, plain)
    assert manifest.frame[list(manifest.classes)].to_numpy().sum() == 0
    entries = json.loads((tmp_path / "test.json").read_text())
    assert all(e["syms"] == [] for e in entries)
