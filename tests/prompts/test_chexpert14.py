"""CheXpert's 14 columns, read from the training texts."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.core.errors import DataError
from benchmark.prompts.chexpert14 import NO_FINDING, chexpert14_findings, columns
from benchmark.prompts.rules import RuleAligner

ALIGNER = RuleAligner()
TEXTS = [
    ["There is left pleural effusion", "There is no pneumothorax"],
    ["There is pacemaker"],
    ["There is scoliosis"],
    ["Possible pneumonia", "There is no pneumonia"],
    ["There is no lung opacity", "There is rib fracture"],
    [],
]


@pytest.fixture(scope="module")
def found():
    return chexpert14_findings(TEXTS, aligner=ALIGNER)


def named(found, row):
    return {c: int(v) for c, v in zip(found.concepts, row, strict=True) if v}


def test_the_columns_are_chexperts_in_its_order(found):
    assert len(found.concepts) == 14
    assert found.concepts[:3] == (NO_FINDING, "Enlarged Cardiomediastinum", "Cardiomegaly")
    assert found.concepts[-1] == "Support Devices"
    assert "rib fracture" in columns(ALIGNER)["Fracture"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("There is left pleural effusion", {"Pleural Effusion": 1}),
        ("There is no pneumothorax", {"Pneumothorax": -1}),
        ("There is pacemaker", {"Support Devices": 1}),
        ("There is scoliosis", {NO_FINDING: 1}),
        ("Possible pneumonia", {}),
        ("There is no lung opacity", {"Lung Opacity": -1, "Consolidation": -1, "Pneumonia": -1}),
        ("There is rib fracture", {"Fracture": 1}),
    ],
)
def test_a_sentence_names_its_columns_and_one_that_names_none_is_no_finding(found, text, said):
    assert named(found, found.text[found.sentences.index(text)]) == said


def test_an_image_takes_the_strongest_statement_and_devices_are_no_finding(found):
    images = [named(found, row) for row in found.images]
    assert images[0] == {"Pleural Effusion": 1, "Pneumothorax": -1}
    assert images[1] == {NO_FINDING: 1, "Support Devices": 1}
    assert images[2] == {NO_FINDING: 1}
    assert images[3] == {}, "uncertain beats absent, and is no absence of findings"
    assert images[4] == {"Lung Opacity": -1, "Consolidation": -1, "Pneumonia": -1, "Fracture": 1}
    assert not found.images[5].any()
    assert found.images.dtype == np.int8


def test_texts_that_name_no_column_are_refused():
    with pytest.raises(DataError, match="none of CheXpert's columns"):
        chexpert14_findings([["There is scoliosis"]], aligner=ALIGNER)
