from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from benchmark.core.errors import BenchError, DataError
from benchmark.core.tables import META_COLUMNS, Manifest
from benchmark.prompts.sections import SELECTIONS
from benchmark.prompts.settings import Rule, TextParams
from benchmark.prompts.training_texts import (
    align_manifest,
    summary_table,
    training_findings,
    training_texts,
)

REPORTS = {
    "s1": "FINDINGS: No effusion. Left pneumothorax.\n\nIMPRESSION: Left pneumothorax.",
    "s2": "INDICATION: edema?\n\nIMPRESSION: 1. Cardiomegaly.\n 2. Possible edema.",
    "s3": None,
}


def manifest(
    studies: list[str | None], dataset: str = "mimic_cxr", **classes: list[float | None]
) -> Manifest:
    frame = pd.DataFrame({name: pd.Series([None] * len(studies), dtype="string") for name in META_COLUMNS})
    frame["image_id"] = pd.Series([f"i{n}" for n in range(len(studies))], dtype="string")
    frame["study_id"] = pd.Series(studies, dtype="string")
    frame["report"] = pd.Series([REPORTS.get(s or "") for s in studies], dtype="string")
    for name, values in classes.items():
        frame[name] = pd.array(values, dtype="Int8")
    return Manifest(dataset, "twin", Path(), tuple(classes), frame)


M = manifest(["s1", "s2", "s1", "s3", None])


def said(m: Manifest, wording: str, unit: str, table: pd.DataFrame | None = None, **more) -> list[list[str]]:
    return training_texts(m, TextParams(wording=wording, unit=unit, **more), table)


def test_raw_texts_follow_the_images():
    whole = said(M, "raw", "report")
    assert whole[0] == whole[2] == ["No effusion. Left pneumothorax. Left pneumothorax."]
    assert whole[1] == ["1. Cardiomegaly. 2. Possible edema."]
    assert whole[3] == whole[4] == []
    assert said(M, "raw", "sentence")[0] == ["No effusion.", "Left pneumothorax."]
    assert said(M, "raw", "sentence", rule="impression")[0] == ["Left pneumothorax."]


def test_aligned_texts_come_from_the_table():
    table = align_manifest(M)
    assert said(M, "aligned", "sentence", table=table) == [
        ["There is no pleural effusion", "There is pneumothorax on the left"],
        ["There is cardiomegaly", "There may be pulmonary edema"],
        ["There is no pleural effusion", "There is pneumothorax on the left"],
        [],
        [],
    ]
    with pytest.raises(BenchError, match="bench prompts align"):
        said(M, "aligned", "sentence")


def test_the_sections_that_may_be_chosen_are_named_once():
    assert set(get_args(Rule)) == set(SELECTIONS)


def test_aligned_sentences_as_one_report():
    found = said(M, "aligned", "report", table=align_manifest(M))
    assert found[0] == found[2] == ["There is no pleural effusion. There is pneumothorax on the left."]
    assert found[3] == found[4] == []


DENYING = {
    "d1": "FINDINGS: 1. No effusion. 2. Left pneumothorax. 3. No edema, but cardiomegaly. 4. Portable view.",
    "d2": "FINDINGS: No effusion. No pneumothorax or edema.",
}


@pytest.mark.parametrize(
    ("wording", "unit", "first", "second"),
    [
        ("raw", "report", ["Left pneumothorax. No edema, but cardiomegaly. Portable view."], []),
        ("raw", "sentence", ["Left pneumothorax.", "No edema, but cardiomegaly.", "Portable view."], []),
        ("aligned", "sentence", ["There is pneumothorax on the left", "There is cardiomegaly"], []),
        ("aligned", "report", ["There is pneumothorax on the left. There is cardiomegaly."], []),
    ],
)
def test_texts_without_negations(monkeypatch, wording, unit, first, second):
    monkeypatch.setattr(f"{__name__}.REPORTS", DENYING)
    m = manifest(["d1", "d2"])
    assert said(m, wording, unit, table=align_manifest(m), negations="drop") == [first, second]


def test_raw_texts_without_bare_names_in_positives(monkeypatch):
    report = (
        "FINDINGS: No pleural effusion. Mild cardiomegaly. The heart is enlarged. Pleural effusion, small."
    )
    monkeypatch.setattr(f"{__name__}.REPORTS", {"d1": report})
    m = manifest(["d1"])
    table = align_manifest(m)
    kept = ["No pleural effusion.", "The heart is enlarged."]
    assert said(m, "raw", "sentence", table=table, bare_names="drop") == [kept]
    assert said(m, "raw", "report", table=table, bare_names="drop") == [[" ".join(kept)]]
    both = said(m, "raw", "sentence", table=table, bare_names="drop", negations="drop")
    assert both == [kept[1:]]
    with pytest.raises(ValidationError, match="goes with wording: raw"):
        TextParams(wording="aligned", bare_names="drop")


def test_raw_texts_without_negations_need_the_table():
    with pytest.raises(BenchError, match="raw texts without some sentences"):
        said(M, "raw", "report", negations="drop")


def test_texts_from_labels():
    m = manifest(["s1", "s2"], dataset="chestxray14", Effusion=[1, 0], Hernia=[0, 0])
    assert said(m, "labels", "sentence") == [
        ["There is pleural effusion"],
        ["There is no pleural effusion", "There is no hernia"],
    ]
    assert said(m, "labels", "sentence", negations="drop") == [["There is pleural effusion"], []]
    assert said(m, "labels", "report") == [
        ["There is pleural effusion."],
        ["There is no pleural effusion. There is no hernia."],
    ]
    assert said(m, "labels", "report", negations="drop") == [["There is pleural effusion."], []]


def test_nothing_to_align():
    with pytest.raises(DataError, match="no image has a report"):
        align_manifest(manifest(["s3", None]))


def test_vectors_say_what_texts_say():
    concepts = [
        "pleural effusion",
        "empyema",
        "pneumothorax",
        "hydropneumothorax",
        "pneumonia",
        "pulmonary edema",
    ]
    found = training_findings(
        [
            ["There is no pleural effusion"],
            ["Hydropneumothorax."],
            ["Possible pneumonia."],
            ["No acute cardiopulmonary process. Small effusion."],
            ["Nothing here."],
            ["Empyema.", "Pneumonia.", "Pulmonary edema."],
        ],
        at_least=1,
    )
    columns = [found.concepts.index(concept) for concept in concepts]
    assert found.images.dtype == np.int8
    assert found.images[:, columns].tolist() == [
        [-1, -1, 0, -1, 0, 0],
        [1, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [1, -1, -1, -1, -1, -1],
        [0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 1, 1],
    ]


def test_training_findings_keep_frequent_concepts_and_join_an_image():
    texts = [
        ["No effusion.", "Pneumothorax."],
        ["Pneumothorax."],
        ["Effusion.", "No effusion."],
        [],
        ["Hernia."],
    ]
    found = training_findings(texts, at_least=2)
    assert found.concepts == ("pneumothorax",)
    found = training_findings(texts, at_least=1)
    columns = [found.concepts.index(c) for c in ("pleural effusion", "pneumothorax", "hernia")]
    assert found.images[:, columns].tolist() == [[-1, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert found.sentences == ("No effusion.", "Pneumothorax.", "Effusion.", "Hernia.")
    with pytest.raises(DataError, match="lower"):
        training_findings(texts, at_least=9)


SUMMED = manifest(["long", "s2", "s3"])
SUMMED.frame.loc[0, "report"] = (
    "FINDINGS: No effusion. Possible pneumonia in the left lower lobe. Small left apical pneumothorax. "
    "Right pneumothorax. Moderate cardiomegaly. Bibasilar atelectasis and other atelectasis. No edema. "
    "No pneumonia. Hiatal hernia. Emphysema."
)


def test_the_summary_by_rule_names_each_finding_once_what_is_present_first():
    table = summary_table(align_manifest(SUMMED))
    assert said(SUMMED, "summary", "sentence", table=table)[0] == [
        "There is pneumothorax",
        "There is cardiomegaly",
        "There is basal atelectasis",
        "There is hiatal hernia",
        "There is emphysema",
        "There may be pneumonia",
        "There is no pleural effusion",
        "There is no pulmonary edema",
    ]
    assert table[["side", "location", "severity"]].isna().all(axis=None)
    assert (
        "There is no pleural effusion"
        not in said(SUMMED, "summary", "sentence", table=table, negations="drop")[0]
    )


def test_a_summary_as_one_text_has_five_statements_at_most():
    table = summary_table(align_manifest(SUMMED))
    texts = said(SUMMED, "summary", "report", table=table)
    assert [text.count("There ") for text in texts[0]] == [5, 3]
    assert texts[0][0].endswith("There is hiatal hernia. There is emphysema.")
    assert texts[1] == ["There is cardiomegaly. There may be pulmonary edema."]
    assert texts[2] == []


def test_a_summary_says_who_made_it():
    assert TextParams(wording="summary").name == "summary sentence by rule"
    assert (
        TextParams(wording="summary", unit="report", llm_file="s.parquet").name == "summary report by model"
    )
    with pytest.raises(ValidationError, match="bare_names: drop goes with wording: raw"):
        TextParams(wording="summary", bare_names="drop")
