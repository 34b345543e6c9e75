"""A label that is not understood is counted and stops the reading, in every command that reads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from benchmark.cli import main
from benchmark.core.errors import DataError
from benchmark.data.cards import VARIABLE, load_card
from benchmark.data.check import check_dataset
from benchmark.data.dataset import evaluation_set, read_dataset, remarks

CARD = """
name: ward7
title: Ward 7
version: "1"
role: evaluation
reader: table
licence: none
access: ask.
citation: none
redistribute: false
remote_llm: forbidden
cluster_unit: patient
table:
  file: labels.csv
  image: file
  patient: person
  labels: {kind: list, column: findings, normal: [No Finding]}
default_protocol: all
protocols:
  all: {official: false, classes: all, labels: {uncertain: ignore, missing: ignore}}
concepts:
  Cardiomegaly: [cardiomegaly]
  Pleural Effusion: [%s]
"""
PROMPTS = """
classes:
  Cardiomegaly: {prompt: There is cardiomegaly, negative: There is no cardiomegaly, display: cardiomegaly}
  Pleural Effusion: {prompt: There is effusion, negative: There is no effusion, display: effusion}
"""
CELLS = [
    "['Cardiomegaly' 'Pleural Effusion']",
    "['Cardiomegaly']",
    "[]",
    "No Finding",
    "nan",
    "Pleural Effusion",
]
WANTED = [[1, 1], [1, 0], [0, 0], [0, 0], [None, None], [0, 1]]


def ward(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cells: list[str],
    people: list[str] | None = None,
    concept: str = "pleural effusion",
) -> Path:
    cards = tmp_path / "cards" / "ward7"
    cards.mkdir(parents=True)
    (cards / "card.yaml").write_text(CARD % concept)
    (cards / "prompts.yaml").write_text(PROMPTS)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cards"))
    root = tmp_path / "ward"
    root.mkdir()
    names = [f"a{i}.png" for i in range(len(cells))]
    for i, name in enumerate(names):
        cv2.imwrite(str(root / name), np.full((8, 8), i, np.uint8) + np.arange(8, dtype=np.uint8))
    people = people or [f"p{i}" for i in range(len(cells))]
    pd.DataFrame({"file": names, "person": people, "findings": cells}).to_csv(
        root / "labels.csv", index=False
    )
    return root


def test_lists_of_every_kind_in_one_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = ward(tmp_path, monkeypatch, CELLS)
    manifest = read_dataset("ward7", root, "official")
    labels = manifest.frame[["Cardiomegaly", "Pleural Effusion"]].astype(object)
    assert labels.where(labels.notna(), None).to_numpy().tolist() == WANTED
    assert remarks(manifest, load_card("ward7")) == []


@pytest.mark.parametrize(
    "cell", ["['Cardiomegaly', 'a' 'b']", "[Cardiomegaly]", "{'Cardiomegaly': 1}", "['a' ... 'b']"]
)
def test_a_cell_that_is_no_list_names_file_row_and_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: str
) -> None:
    root = ward(tmp_path, monkeypatch, [*CELLS, cell])
    with pytest.raises(DataError, match=r"labels\.csv: row 7: 'findings' is not understood: it looks like"):
        read_dataset("ward7", root, "official")


@pytest.mark.parametrize(
    "cell", ["cardiomegaly", "Effusion", "Cardiomegaly, Pleural Effusion", "Kardiomegalie"]
)
def test_labels_that_are_no_class_stop_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: str
) -> None:
    root = ward(tmp_path, monkeypatch, [*CELLS, cell])
    with pytest.raises(
        DataError, match=rf"1 labels are no class of the card: '{cell}' 1 .*unknown_labels_at_most"
    ):
        read_dataset("ward7", root, "official")
    report = check_dataset("ward7", root, "official", images=False)
    assert any(cell in problem.what for problem in report.problems)


def test_a_card_may_allow_them_and_then_they_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = ward(tmp_path, monkeypatch, [*CELLS, "cardiomegaly"])
    card = tmp_path / "cards" / "ward7" / "card.yaml"
    card.write_text(card.read_text() + "unknown_labels_at_most: 1\n")
    said = remarks(read_dataset("ward7", root, "official"), load_card("ward7"))
    assert said == ["1 labels are no class of the card: 'cardiomegaly' 1 (near 'Cardiomegaly')"]


def test_unknown_patients_are_their_own_clusters_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = ["p0", "p0", "None", "<NA>", "nan", "NULL"]
    root = ward(tmp_path, monkeypatch, CELLS, people)
    card = load_card("ward7")
    manifest = read_dataset("ward7", root, "official")
    chosen = evaluation_set(manifest, card)
    assert (chosen.info.patients, chosen.info.unknown_patients) == (5, 4)
    assert any("4 images of unknown patients" in line for line in remarks(manifest, card))


def test_concepts_outside_the_lexicon_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = ward(tmp_path, monkeypatch, CELLS, concept="pleural efusion")
    report = check_dataset(
        "ward7", root, "official", images=False, lexicon={"cardiomegaly", "pleural effusion"}
    )
    (said,) = [r for r in [*report.problems, *report.notes] if "outside the lexicon" in r.what]
    assert said.examples == ("pleural efusion, near 'pleural effusion'",)


@pytest.mark.parametrize(("outside", "inside", "code"), [(0, 3, 0), (1, 99, 0), (1, 9, 2)])
def test_aligning_counts_sentences_and_concepts_outside_the_lexicon(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    outside: int,
    inside: int,
    code: int,
) -> None:
    ward(tmp_path, monkeypatch, CELLS, concept="glimmerfish")
    rows = ["There is a glimmerfish."] * outside + ["Seen at noon."] + ["No pneumothorax."] * (inside - 1)
    reports = tmp_path / "reports.csv"
    reports.write_text("id,report\n" + "\n".join(f"{n},FINDINGS: {t}" for n, t in enumerate(rows)) + "\n")
    command = ["prompts", "align", str(reports), "--dataset", "ward7", "--out", str(tmp_path / "a.parquet")]
    assert main([*command, "--json"]) == code
    out = capsys.readouterr().out
    value = json.loads(out)
    assert (tmp_path / "a.parquet").exists() == (code == 0)
    if code:
        assert (
            f"1 of {outside + inside} sentences name only classes that the lexicon lacks ('glimmerfish'"
            in out
        )
        return
    assert (value["unnamed"], value["outside_lexicon"]) == (outside + 1, {"glimmerfish": outside})
    assert main(command) == 0
    said = capsys.readouterr().out
    assert f"{outside + 1} sentences name no concept of the lexicon" in said
    assert f"'glimmerfish' in {outside}" in said


def test_the_score_command_counts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = ward(tmp_path, monkeypatch, [*CELLS, "cardiomegaly"])
    rng = np.random.default_rng(0)
    scores = pd.DataFrame(rng.random((7, 2)), columns=["Cardiomegaly", "Pleural Effusion"])
    scores.insert(0, "image_id", [f"a{i}.png" for i in range(7)])
    scores.to_csv(tmp_path / "p.csv", index=False)
    command = [
        sys.executable,
        "-m",
        "benchmark",
        "score",
        "p.csv",
        "--dataset",
        "ward7",
        "--data-root",
        str(root),
    ]
    first = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ), check=False
    )
    assert (first.returncode, first.stdout) == (2, "")
    assert "'cardiomegaly' 1 (near 'Cardiomegaly')" in first.stderr
    card = tmp_path / "cards" / "ward7" / "card.yaml"
    card.write_text(card.read_text() + "unknown_labels_at_most: 1\n")
    again = subprocess.run(
        [*command, "--json"], cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ), check=True
    )
    assert "near 'Cardiomegaly'" in json.dumps(json.loads(again.stdout), ensure_ascii=False)


def test_the_case_of_numpy_lists(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(shared / "cases" / "list-labels" / "cards", tmp_path / "cards")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cards"))
    manifest = read_dataset("ward7", shared / "cases" / "list-labels" / "ward", "official")
    assert manifest.frame[["Cardiomegaly", "Pleural Effusion"]].sum().tolist() == [20, 10]


def test_the_case_of_nih_ages(shared: Path) -> None:
    ages = read_dataset("chestxray14", shared / "cases" / "nih-ages", "official").frame.set_index("image_id")[
        "age"
    ]
    assert sorted(ages)[:2] == pytest.approx([28 / 365.25, 13 / 12])
    assert ages.notna().all()


def test_the_case_of_chexpert_batches(shared: Path) -> None:
    frame = read_dataset("chexpert", shared / "cases" / "chexpert-batches", "official").frame
    assert frame["split"].value_counts().to_dict() == {"train": 4, "validate": 2}


@pytest.mark.parametrize(
    ("cell", "years"),
    [
        ("058Y", 58),
        ("013M", 13 / 12),
        ("028D", 28 / 365.25),
        ("058", 58),
        ("003W", 3 * 7 / 365.25),
        ("", None),
    ],
)
def test_ages_of_nih_have_their_unit(tmp_path: Path, cell: str, years: float | None) -> None:
    head = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
    )
    row = f"00000031_000.png,Hernia,000,00000031,{cell},F,PA,2992,2991,0.143,0.143"
    (tmp_path / "Data_Entry_2017.csv").write_text(f"{head}\n{row}\n")
    images = tmp_path / "images_001" / "images"
    images.mkdir(parents=True)
    cv2.imwrite(str(images / "00000031_000.png"), np.eye(16, dtype=np.uint8) * 200)
    (age,) = read_dataset("chestxray14", tmp_path, "official").frame["age"]
    assert age == pytest.approx(years) if years is not None else pd.isna(age)
