"""Evaluation sets: classes by name, rows in manifest order, every rule counted."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.core.errors import CardError, DataError, UnknownName
from benchmark.core.tables import META_COLUMNS, Manifest
from benchmark.data.cards import load_card
from benchmark.data.chosen import chosen_set
from benchmark.data.dataset import evaluation_set, read_dataset


@pytest.fixture
def manifest() -> Manifest:
    """Six CheXpert images that hold every state."""
    card = load_card("chexpert")
    rows = 6
    frame = pd.DataFrame({c: pd.array([None] * rows, dtype="string") for c in META_COLUMNS})
    frame["image_id"] = [f"i{n}" for n in range(rows)]
    frame["patient_id"] = ["a", "a", "b", "c", "d", "d"]
    frame["split"] = ["test", "test", "test", "test", "train", "train"]
    frame["view"] = ["PA", "L", "AP", None, "PA", "AP"]
    frame["age"] = frame["age"].astype("Float32")
    rng = np.random.default_rng(0)
    for name in card.classes:
        frame[name] = pd.array(rng.choice([1, 0, -1, None], rows), dtype="Int8")
    return Manifest("chexpert", "official", Path(), card.classes, frame)


def test_classes_are_found_by_name_not_by_place(manifest):
    card = load_card("chexpert")
    plain = evaluation_set(manifest, card, "train-uncertain")
    columns = list(manifest.frame.columns)
    other = dataclasses.replace(manifest, frame=manifest.frame[columns[:10] + columns[:9:-1]])
    assert plain.classes == ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
    np.testing.assert_array_equal(plain.labels, evaluation_set(other, card, "train-uncertain").labels)


def test_rows_move_together(manifest):
    card = load_card("chexpert")
    plain = evaluation_set(manifest, card)
    turned = dataclasses.replace(manifest, frame=manifest.frame[::-1].reset_index(drop=True))
    other = evaluation_set(turned, card)
    np.testing.assert_array_equal(plain.labels[::-1], other.labels)
    assert list(plain.patients[::-1]) == list(other.patients)
    assert list(plain.frame["image_id"]) == ["i0", "i1", "i2", "i3"]


def test_policy_per_class(manifest):
    card = load_card("chexpert")
    chosen = evaluation_set(manifest, card, "train-uncertain")
    for column, name in enumerate(chosen.classes):
        states = chosen.frame[name]
        as_positive = name in ("Atelectasis", "Edema", "Pleural Effusion")
        expected = [0 if pd.isna(s) else int(as_positive) if s == -1 else int(s) for s in states]
        assert chosen.labels[:, column].tolist() == expected


def test_every_rule_is_counted(manifest):
    chosen = evaluation_set(manifest, load_card("chexpert"), "frontal")
    assert chosen.info.selection == {"read": 6, "split test": 4, "view PA or AP or frontal": 2}
    assert chosen.info.views == {"PA": 1, "AP": 1}
    assert chosen.info.patients == 2


def test_classes_without_one_side_are_named(manifest):
    frame = manifest.frame.copy()
    frame["Edema"] = pd.array([1] * 6, dtype="Int8")
    frame["Atelectasis"] = pd.array([0] * 6, dtype="Int8")
    chosen = evaluation_set(dataclasses.replace(manifest, frame=frame), load_card("chexpert"))
    assert "Edema" in chosen.info.no_negatives
    assert "Atelectasis" in chosen.info.no_positives


def test_what_cannot_be_evaluated_says_so(manifest):
    card = load_card("chexpert")
    short = dataclasses.replace(manifest, frame=manifest.frame.drop(columns="Edema"))
    with pytest.raises(DataError, match="needs labels 'Edema', which the manifest lacks"):
        evaluation_set(short, card)
    empty = dataclasses.replace(manifest, frame=manifest.frame[manifest.frame["split"] == "train"])
    with pytest.raises(
        DataError, match=r"protocol 'carzero' leaves no image of 2 \(read: 2, split test: 0\)"
    ):
        evaluation_set(empty, card)
    with pytest.raises(UnknownName, match="unknown protocol 'frontals'. Did you mean 'frontal'"):
        evaluation_set(manifest, card, "frontals")
    with pytest.raises(UnknownName, match="unknown dataset 'chexprt'. Did you mean 'chexpert'"):
        read_dataset("chexprt", Path(), "official")


def test_the_command_that_reads_a_dataset_again_names_its_folder(manifest, tmp_path):
    """Without the folder it would prepare the twin, or say that there is none."""
    short = dataclasses.replace(manifest, frame=manifest.frame.drop(columns="Edema"), root=tmp_path)
    for origin, more in (("official", f" --data-root {tmp_path}"), ("twin", "")):
        with pytest.raises(DataError) as caught:
            chosen_set(dataclasses.replace(short, origin=origin), load_card("chexpert"), None)
        assert str(caught.value).endswith(f"(`bench data prepare chexpert{more}`).")


@pytest.mark.parametrize("by", ["list", "subset"])
def test_a_class_that_a_protocol_lists_twice_is_refused(manifest, by):
    """It would count twice in every mean."""
    card = load_card("chexpert")
    twice = ("Edema", "Atelectasis", "Edema")
    protocol = card.protocol(None).model_copy(update={"classes": twice if by == "list" else "mine"})
    protocols = {**card.protocols, str(card.default_protocol): protocol}
    own = card.model_copy(update={"protocols": protocols, "subsets": {**card.subsets, "mine": twice}})
    with pytest.raises(CardError, match="lists class 'Edema' twice.*List it once in the card"):
        chosen_set(manifest, own)
    assert chosen_set(manifest, card).classes == evaluation_set(manifest, card).classes


def test_images_without_a_patient_are_their_own_cluster(manifest):
    frame = manifest.frame.assign(patient_id=pd.array([None] * 6, dtype="string"))
    chosen = evaluation_set(dataclasses.replace(manifest, frame=frame), load_card("chexpert"))
    assert list(chosen.patients) == ["i0", "i1", "i2", "i3"]
