"""Text handling of the official repositories, quirks included. For parity and official checkpoints only.

The shared splitter of `benchmark.prompts` fixes what is listed here: decimals broken at the dot, sentences
of one word dropped, a report cut after exactly five words, text lost after a list number.

Sources: marshuang80/gloria `gloria/models/gloria_model.py`, `gloria/datasets/pretraining_dataset.py`;
laihaoran/CARZero, same files; RyanWangZf/MedCLIP `medclip/dataset.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from benchmark.core.errors import BenchError

_LIST_NUMBER = re.compile(r"[0-9]+\.")
_LIST_NUMBER_MEDCLIP = re.compile(r"[0-9]+\.+[^0-9]")
_WORDS = re.compile(r"\w+")
_WORDS_AND_MARKS = re.compile(r"\w+|[^\w\s]+")
_BROKEN = "\ufffd\ufffd"


def split_sentences(text: str) -> list[str]:
    """Sentences of a report or prompt as GLoRIA and CARZero see them: lower case, words only.

    Sentences with at most one word are dropped; "2.5 cm" becomes "5 cm".
    """
    pieces = [part for chunk in _LIST_NUMBER.split(text.replace("\n", " ")) for part in chunk.split(".")]
    found = (_ascii_words(_WORDS.findall(piece.replace(_BROKEN, " ").lower())) for piece in pieces)
    return [" ".join(words) for words in found if words]


def clean_prompt(text: str) -> str:
    """`process_text` of GLoRIA, CARZero and BrgSA: the surviving sentences, joined by spaces.

    A prompt of one word comes out empty; see `clean_prompts`.
    """
    return " ".join(split_sentences(text))


def clean_prompts(texts: Sequence[str]) -> list[str]:
    """Cleaned prompts for an official checkpoint. Raises BenchError where nothing is left of a prompt."""
    cleaned = [clean_prompt(text) for text in texts]
    for before, after in zip(texts, cleaned, strict=True):
        if not after:
            raise BenchError(
                f"prompt '{before}': the official cleaning leaves nothing of it, since it drops sentences "
                "of one word. Write a phrase such as 'There is ...'."
            )
    return cleaned


def character_caption_length(text: str) -> int:
    """Caption length that GLoRIA's inference derives by iterating over characters instead of words."""
    return sum(not character.startswith("[") for character in text)


def word_caption_length(words: Sequence[str]) -> int:
    """Caption length of GLoRIA's training: [CLS] and the words whose string does not start with '['."""
    return 1 + sum(not word.startswith("[") for word in words)


def report_sentences(text: str, stop_at: int = 5) -> list[str]:
    """Training sentences of one report (GLoRIA, CARZero).

    The official loop ends after a sentence at which the running word count equals `stop_at`
    exactly, although the option is named captions per image.
    """
    kept: list[str] = []
    count = 0
    for sentence in split_sentences(text):
        kept.append(sentence)
        count += len(sentence.split(" "))
        if count == stop_at:
            break
    return kept


def report_table(
    reports: Mapping[str, str | None], extra: Mapping[str, str | None] | None = None, stop_at: int = 5
) -> tuple[dict[str, list[str]], list[str]]:
    """(sentences by report id, removed ids) for a set of reports.

    extra: CARZero's column of rewritten findings, joined to the report without a separator.
    An id without any text is listed twice among the removed ones, as officially.
    """
    kept: dict[str, list[str]] = {}
    removed: list[str] = []
    for key, report in reports.items():
        text = (report or "") + ((extra.get(key) or "") if extra else "")
        if not text:
            removed.append(key)
        sentences = report_sentences(text, stop_at)
        if sentences:
            kept[key] = sentences
        else:
            removed.append(key)
    return kept, removed


def medclip_sentences(report: str | None) -> list[str]:
    """Sentences of one report as MedCLIP sees them: punctuation kept as words, more than four words."""
    if not report:
        return []
    pieces = [
        part for chunk in _LIST_NUMBER_MEDCLIP.split(report.replace("\n", " ")) for part in chunk.split(". ")
    ]
    found = (_ascii_words(_WORDS_AND_MARKS.findall(p.replace(_BROKEN, " ").lower())) for p in pieces)
    return [" ".join(words) for words in found if len(words) > 4]


def _ascii_words(words: Sequence[str]) -> list[str]:
    """Words without their non-ASCII characters; nothing where there is at most one word."""
    if len(words) <= 1:
        return []
    stripped = (word.encode("ascii", "ignore").decode("ascii") for word in words)
    return [word for word in stripped if word]
