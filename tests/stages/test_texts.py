"""Sentences that cannot become training texts are counted, and many of them stop the run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from benchmark.core.errors import DataError
from benchmark.core.tables import META_COLUMNS, Manifest, write_table
from benchmark.data.cards import load_card
from benchmark.grid.layout import Project
from benchmark.grid.params_file import load_params
from benchmark.prompts.settings import TextParams
from benchmark.prompts.training_texts import align_manifest
from benchmark.stages import texts
from benchmark.stages.texts import align_texts, texts_of, unanswered

ALIGNED = TextParams(wording="aligned", unit="sentence")


def manifest(outside: int, inside: int) -> Manifest:
    """One report a study; `outside` of them say only what a concept outside the lexicon is called."""
    frame = pd.DataFrame(
        {name: pd.Series([None] * (outside + inside), dtype="string") for name in META_COLUMNS}
    )
    said = ["There is a glimmerfish."] * outside + ["There is a pleural effusion."] * inside
    for column, values in (
        ("image_id", [f"i{n}" for n in range(len(frame))]),
        ("study_id", [f"s{n}" for n in range(len(frame))]),
        ("report", [f"FINDINGS: {sentence}" for sentence in said]),
    ):
        frame[column] = pd.Series(values, dtype="string")
    return Manifest("mimic_cxr", "twin", Path(), (), frame)


@pytest.fixture
def odd_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """mimic_cxr with a class whose concept the lexicon does not have."""
    card = load_card("mimic_cxr")
    own = card.model_copy(update={"concepts": {**card.concepts, "Glimmerfish": ("glimmerfish",)}})
    monkeypatch.setattr(texts, "load_card", lambda _name: own)


@pytest.mark.parametrize(("outside", "inside", "stops"), [(80, 160, True), (2, 98, True), (1, 99, False)])
def test_sentences_of_a_class_outside_the_lexicon(
    tmp_path: Path, root: Path, odd_card: None, outside: int, inside: int, stops: bool
) -> None:
    shutil.copy(root / "params.yaml", tmp_path)
    project, params = Project(tmp_path), load_params(root / "params.yaml")
    data = manifest(outside, inside)
    said = align_texts(project, params, data)
    assert f"{outside} sentences name no concept of the lexicon" in said
    assert "glimmerfish" in said
    if stops:
        with pytest.raises(
            DataError, match=rf"{outside} of {outside + inside} sentences .*'glimmerfish'"
        ) as caught:
            texts_of(project, params, ALIGNED, data)
        assert "\n" not in str(caught.value)
    else:
        assert sum(map(len, texts_of(project, params, ALIGNED, data)[0])) == inside
    raw = texts_of(project, params, TextParams(wording="raw", unit="sentence"), data)[0]
    assert sum(map(len, raw)) == outside + inside


@pytest.mark.parametrize(
    ("lacking", "failed", "stops"), [(0, 0, False), (1, 1, False), (2, 0, True), (0, 2, True)]
)
def test_reports_that_a_model_did_not_answer(
    tmp_path: Path, root: Path, lacking: int, failed: int, stops: bool
) -> None:
    shutil.copy(root / "params.yaml", tmp_path)
    project, params, data = Project(tmp_path), load_params(root / "params.yaml"), manifest(0, 10)
    table = align_manifest(data)
    table = table[~table["study_id"].isin([f"s{n}" for n in range(lacking)])]
    write_table(tmp_path / "one.parquet", table, {"sentences": 10, "failed": failed})
    used = TextParams(wording="llm", unit="sentence", llm_file="one.parquet")
    if stops:
        with pytest.raises(
            DataError, match=rf"one\.parquet: no answer for {lacking} of 10 reports, {failed} of 10"
        ):
            texts_of(project, params, used, data)
        return
    said = unanswered(project, used, data)
    assert (said is None) == (lacking == failed == 0)
    assert sum(map(len, texts_of(project, params, used, data)[0])) == 10 - lacking


@pytest.mark.parametrize(
    ("change", "used", "says"),
    [
        ({"report": "IMPRESSION: There is a pleural effusion. FINDINGS: There is edema."}, {}, None),
        ({"report": "FINDINGS: There is edema."}, {}, "10 of 10 recorded texts are not in these reports"),
        ({}, {"rule": "impression"}, None),
        (
            {"report": "FINDINGS: There is a pleural effusion. IMPRESSION: There is edema."},
            {"rule": "impression"},
            "10 of 10 recorded texts .* texts.rule: impression",
        ),
        (
            {},
            {"wording": "summary"},
            "the task 'align', and texts.wording: summary reads those of 'summarise'",
        ),
    ],
)
def test_recorded_texts_are_of_these_reports(
    tmp_path: Path, root: Path, change: dict[str, str], used: dict[str, str], says: str | None
) -> None:
    """A model's run over other sections, over reports as they were, or for another task."""
    shutil.copy(root / "params.yaml", tmp_path)
    project, data = Project(tmp_path), manifest(0, 10)
    write_table(
        tmp_path / "one.parquet", align_manifest(data), {"task": "align", "sentences": 10, "failed": 0}
    )
    for column, value in change.items():
        data.frame[column] = pd.Series([value] * len(data), dtype="string")
    texts = TextParams.model_validate(
        {"wording": "llm", "unit": "sentence", "llm_file": "one.parquet", **used}
    )
    if says is None:
        assert unanswered(project, texts, data) is None
        return
    with pytest.raises(DataError, match=says) as caught:
        unanswered(project, texts, data)
    assert "effusion" not in str(caught.value)


def test_other_sentences_without_a_concept_stop_nothing(tmp_path: Path, root: Path) -> None:
    shutil.copy(root / "params.yaml", tmp_path)
    project, params = Project(tmp_path), load_params(root / "params.yaml")
    data = manifest(50, 50)
    align_texts(project, params, data)
    assert sum(map(len, texts_of(project, params, ALIGNED, data)[0])) == 50
