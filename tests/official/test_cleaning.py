"""The official text handling, quirk by quirk."""

from __future__ import annotations

import pytest

from benchmark.core.errors import BenchError
from benchmark.official import cleaning as official
from benchmark.official.word_aggregation import group_pieces


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("There is Pleural Effusion", "there is pleural effusion"),
        ("Edema", ""),  # one word is dropped
        ("2.5 cm nodule", "5 cm nodule"),  # the number before a dot is a list number
        ("1. No mass.\n2. Clear lungs", "no mass clear lungs"),
        ("T2-weighted, naïve!", "t2 weighted nave"),
    ],
)
def test_clean_prompt(text: str, expected: str) -> None:
    assert official.clean_prompt(text) == expected


def test_empty_prompts_are_refused() -> None:
    with pytest.raises(BenchError, match="'Edema'"):
        official.clean_prompts(["There is edema", "Edema"])


def test_a_report_ends_after_exactly_five_words() -> None:
    assert official.report_sentences("no effusion. lungs are clear. new mass") == [
        "no effusion",
        "lungs are clear",
    ]
    assert official.report_sentences("no effusion. lungs are now clear. new mass") == [
        "no effusion", "lungs are now clear", "new mass",
    ]  # fmt: skip


def test_report_table() -> None:
    kept, removed = official.report_table({"a": "Clear.", "b": None, "c": "No mass"}, {"c": "there is edema"})
    assert kept == {"c": ["no massthere is edema"]}  # joined without a separator
    assert removed == ["a", "b", "b"]


def test_medclip_sentences() -> None:
    assert official.medclip_sentences("3.Lines are in good position now. Clear.") == [
        "ines are in good position now"
    ]
    assert official.medclip_sentences(None) == []


def test_caption_lengths() -> None:
    assert official.character_caption_length("a [b] c") == 6
    assert official.word_caption_length(["[CLS]", "mass", "[UNK]", "edema", "[SEP]", "[PAD]"]) == 3


def test_word_pieces() -> None:
    grouped = group_pieces(
        [["[CLS]", "car", "##dio", "is", "[SEP]", "[PAD]"], ["[CLS]", "a", "b", "c", "d", "##e"]]
    )
    assert grouped.index.tolist() == [[0, 1, 1, 2, 3, -1], [0, 1, 2, 3, 4, 4]]
    assert grouped.words[0] == ("[CLS]", "cardio", "is", "[SEP]", "[PAD]", "[PAD]")
    assert grouped.mask.sum(1).tolist() == [4, 5]
