"""`bench data check`: what it finds on trees that are right and on trees that are not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.cli import main
from benchmark.data.check import check_dataset
from benchmark.data.check_images import Against
from benchmark.data.check_report import CheckReport

CARD = """
name: {name}
title: A table of images
version: "1"
role: both
reader: table
table:
  file: labels.csv
  image: image
  patient: patient
  split: split
  labels: {{kind: list, column: labels, separator: "|", normal: [none]}}
licence: none
access: made by the test.
citation: none
redistribute: true
remote_llm: allowed
cluster_unit: patient
counts:
  all: {{images: {images}, patients: 4, source: verified}}
removed: [none]
overlaps: {overlaps}
default_protocol: all
protocols:
  all:
    official: false
    classes: all
    labels: {{uncertain: negative, missing: negative}}
    images: {images}
    positives: {{Edema: 2, Mass: 1}}
concepts:
  Edema: [pulmonary edema]
  Mass: [pulmonary mass]
"""
ROWS = [
    ("a.png", "1", "train", "Edema"),
    ("b.png", "1", "train", "none"),
    ("c.png", "2", "test", "Edema|Mass"),
    ("d.png", "3", "test", "none"),
    ("e.png", "4", "validate", "none"),
]


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cards"
    for name, overlaps in (("toy", "[toy_train]"), ("toy_train", "[]")):
        (folder / name).mkdir(parents=True)
        (folder / name / "card.yaml").write_text(CARD.format(name=name, overlaps=overlaps, images=len(ROWS)))
    monkeypatch.setenv("CXR_ALIGNBENCH_DATASETS", str(folder))
    return folder


@pytest.fixture
def tree(tmp_path: Path, cards: Path) -> Path:
    return make(tmp_path / "toy", ROWS)


def make(root: Path, rows: list[tuple[str, str, str, str]], seed: int = 0) -> Path:
    root.mkdir()
    for i, (name, *_) in enumerate(rows):
        pixels = np.random.default_rng([seed, i]).integers(0, 256, (16, 16)).astype(np.uint8)
        Image.fromarray(pixels).save(root / name)
    write(root, rows)
    return root


def write(root: Path, rows: list[tuple[str, str, str, str]]) -> None:
    (root / "labels.csv").write_text("\n".join(["image,patient,split,labels", *map(",".join, rows)]) + "\n")


def problems(report: CheckReport) -> str:
    return "\n".join(map(str, report.problems))


def test_a_right_tree_has_no_problem(tree: Path) -> None:
    report = check_dataset("toy", tree, "official", workers=1)
    assert report.ok, problems(report)
    assert report.counts["all"]["images"] == (5, 5)
    found = report.to_json()
    assert found["images"]["opened"] == 5
    assert found["images"]["kinds"] == {"16x16 uint8": 5}
    assert found["overlap"] == {}
    rows = {row["class"]: row for row in found["labels"]}
    assert rows["Edema"] | {"group": ""} == {
        "class": "Edema", "positive": 2, "negative": 3, "uncertain": 0, "missing": 0, "patients": 2,
        "official_group": None, "group": "",
    }  # fmt: skip


def test_counts_are_problems_only_of_official_files(tree: Path) -> None:
    (tree / "e.png").unlink()
    write(tree, ROWS[:4])
    official = check_dataset("toy", tree, "official", images=False)
    assert "images: here 4, the card says 5 (verified)" in problems(official)
    assert "protocol all: 4 images of official 5" in problems(official)
    twin = check_dataset("toy", tree, "twin", images=False)
    assert twin.ok
    assert any("the card says 5" in n.what for n in twin.notes)


def test_images_that_are_unreadable_doubled_or_blank(tree: Path) -> None:
    (tree / "a.png").write_bytes((tree / "a.png").read_bytes()[:60])
    shutil.copy(tree / "c.png", tree / "d.png")
    Image.fromarray(np.full((16, 16), 7, np.uint8)).save(tree / "e.png")
    report = check_dataset("toy", tree, "official", workers=1)
    assert report.images is not None
    (unreadable,) = report.images.unreadable
    assert unreadable.image_id == "a.png"
    assert "truncated" in unreadable.reason
    assert report.images.duplicates == (("c.png", "d.png"),)
    text = problems(report)
    assert "unreadable images: 1" in text
    assert "same content: 2" in text
    assert "one single value: 1 (e.png)" in text
    assert check_dataset("toy", tree, "official", images=False).ok


def test_processes_find_the_same(tmp_path: Path, cards: Path) -> None:
    rows = [(f"{i}.png", str(i % 4), "test", "none") for i in range(70)]
    root = make(tmp_path / "many", rows)
    shutil.copy(root / "5.png", root / "66.png")
    steps: list[tuple[int, int]] = []
    two = check_dataset("toy", root, "official", workers=2, on_progress=lambda *s: steps.append(s))
    one = check_dataset("toy", root, "official", workers=1)
    assert two.to_json() == one.to_json()
    assert two.images is not None
    assert two.images.duplicates == (("5.png", "66.png"),)
    assert steps[-1] == (70, 70)


def test_labels_without_image_and_images_without_label(tree: Path) -> None:
    (tree / "b.png").unlink()
    shutil.copy(tree / "a.png", tree / "stray.png")
    text = problems(check_dataset("toy", tree, "official", images=False))
    assert "label without an image: 1 (b.png)" in text
    assert "stray.png" in text


def test_patients_in_two_splits(tree: Path) -> None:
    write(tree, [*ROWS[:3], ("d.png", "1", "test", "none"), ("e.png", "2", "train", "none")])
    assert "patients in test and train: 2 (1, 2)" in problems(
        check_dataset("toy", tree, "official", images=False)
    )


def test_unknown_labels_and_their_neighbours(tree: Path) -> None:
    write(tree, [*ROWS[:3], ("d.png", "3", "test", "Edemaa|quince"), ROWS[4]])
    report = check_dataset("toy", tree, "official", images=False)
    assert "unknown label 'Edemaa'; did it mean 'Edema'?: 1" in problems(report)
    assert "label 'quince' is no class of the card: 1" in problems(report)
    assert not any("quince" in n.what for n in report.notes)


def test_a_class_that_a_protocol_lists_twice(tree: Path, cards: Path) -> None:
    card = cards / "toy" / "card.yaml"
    card.write_text(card.read_text().replace("classes: all", "classes: [Edema, Mass, Edema]"))
    report = check_dataset("toy", tree, "official", images=False)
    assert "protocol all: classes listed more than once, which weigh so often in its means: 1 (Edema" in (
        problems(report)
    )


def test_grey_of_16_bits_with_alpha_is_a_problem(tree: Path) -> None:
    """Its lower bytes alone are read, which are noise: 40,000 of 65,535 becomes 64 of 255."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 2, 1, 16, 4, 0, 0, 0)
    row = zlib.compress(b"\0" + struct.pack(">4H", 40000, 65535, 300, 65535))
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", row), chunk(b"IEND", b""))
    (tree / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    report = check_dataset("toy", tree, "official", workers=1)
    assert "16-bit grey with alpha is read wrong" in problems(report)


def test_official_positives_and_missing_positives(tree: Path) -> None:
    write(tree, [*ROWS[:2], ("c.png", "2", "test", "Edema"), *ROWS[3:]])
    report = check_dataset("toy", tree, "official", images=False)
    assert "Mass 0 for 1" in problems(report)
    assert any("AUROC undefined" in n.what and n.examples == ("Mass",) for n in report.notes)


def test_overlap_with_a_training_set(tmp_path: Path, tree: Path) -> None:
    rows = [("x.png", "2", "train", "none"), ("c.png", "9", "train", "none"), ("z.png", "3", "test", "none")]
    other = make(tmp_path / "other", rows, seed=1)
    shutil.copy(tree / "d.png", other / "x.png")
    report = check_dataset(
        "toy", tree, "official", against=Against("toy_train", other, "official"), workers=1
    )
    assert report.overlap is not None
    assert report.overlap.to_json() == {
        "against": "toy_train", "training_images": 2, "same_ids": True,
        "patients": 1, "images": 1, "contents": 1,
    }  # fmt: skip
    text = problems(report)
    assert "patients that are also in the training part of toy_train: 1 (2)" in text
    assert "images that are also in the training part of toy_train: 1 (c.png)" in text
    assert "bytes" in text


def test_images_that_look_alike_are_a_note(tmp_path: Path, tree: Path) -> None:
    """Other names, other bytes, other size: the film of a test patient stands in the training set."""
    import cv2

    from tests.data.test_alike import film

    cv2.imwrite(str(tree / "d.png"), film(3))
    other = make(
        tmp_path / "other", [("x.png", "7", "train", "none"), ("y.png", "8", "train", "none")], seed=1
    )
    cv2.imwrite(str(other / "x.png"), cv2.resize(film(3), (131, 131), interpolation=cv2.INTER_AREA))
    cv2.imwrite(str(other / "y.png"), film(4))
    against = Against("toy_train", other, "official")
    report = check_dataset("toy", tree, "official", against=against, alike=True, workers=1)
    assert report.overlap is not None
    assert report.overlap.contents == 0
    assert report.overlap.alike == 1
    assert any("d.png ~ x.png" in str(note) for note in report.notes)
    assert any("holds images of toy_train" in str(note) for note in report.notes)
    assert report.ok


def test_ids_of_unrelated_sets_are_a_note(tmp_path: Path, tree: Path, cards: Path) -> None:
    card = cards / "toy" / "card.yaml"
    card.write_text(card.read_text().replace("overlaps: [toy_train]", "overlaps: []"))
    other = make(tmp_path / "other", [("x.png", "2", "train", "none")], seed=1)
    report = check_dataset(
        "toy", tree, "official", against=Against("toy_train", other, "official"), workers=1
    )
    assert report.ok
    assert any("number them independently" in n.what for n in report.notes)


def test_command_says_it_in_text_json_and_exit_code(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["data", "check", "toy", "--data-root", str(tree), "--workers", "1"]
    assert main([*arguments, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["ok"] is True
    assert value["counts"]["all"]["images"] == [5, 5]
    (tree / "a.png").write_bytes(b"")
    assert main(arguments) == 1
    out = capsys.readouterr().out
    assert "PROBLEM  unreadable images: 1" in out
    assert "official files" in out
    assert main([*arguments, "--skip-images"]) == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["toi"], "Did you mean 'toy'"),
        (["toy", "--data-root", "/none/here"], "/none/here"),
        (["toy", "--against-root", "."], "--against"),
    ],
)
def test_command_bad_input(
    tree: Path, arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", *arguments]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def test_prepare_writes_the_manifest(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmark.core.tables import Manifest

    out = tmp_path / "prepared"
    assert main(["data", "prepare", "toy", "--data-root", str(tree), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 5
    manifest = Manifest.load(out)
    assert manifest.origin == "official"
    assert manifest.frame["Edema"].sum() == 2


def test_twin_is_built_checked_and_called_synthetic(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rsna"
    build = ["data", "twin", "rsna_pneumonia", "--out", str(out), "--images", "12", "--size", "64"]
    assert main([*build, "--workers", "1"]) == 0
    assert "SYNTHETIC TWIN" in capsys.readouterr().out
    assert main(["data", "check", "rsna_pneumonia", "--data-root", str(out), "--workers", "1"]) == 0
    text = capsys.readouterr().out
    assert "SYNTHETIC TWIN" in text
    assert "64x64 uint8" in text


def test_real_images_are_few_and_said_so(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shared / "data" / "nih1000"
    assert main(["data", "check", "chestxray14", "--data-root", str(root), "--json", "--workers", "1"]) == 1
    value = json.loads(capsys.readouterr().out)
    assert value["counts"]["all"]["images"] == [600, 112120]
    assert value["images"]["opened"] == 600
    assert value["images"]["unreadable"] == []
    counts = {r["class"]: r["positive"] for r in value["labels"]}
    assert (counts["Effusion"], counts["Hernia"], counts["Pneumonia"]) == (102, 9, 5)
