"""Aligned sentences: one statement a finding, in one wording, and the table that keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from benchmark.core.registry import Registry
from benchmark.prompts.cues import Presence
from benchmark.prompts.lexicon import Concept, Lexicon
from benchmark.prompts.places import Side
from benchmark.prompts.sections import report_sections, select
from benchmark.prompts.sentences import split_sentences

if TYPE_CHECKING:
    import pandas as pd

ALIGNED_COLUMNS = (
    "study_id",
    "sentence",
    "section",
    "text",
    "aligned",
    "concept",
    "presence",
    "side",
    "location",
    "severity",
)
_OPENINGS: dict[Presence, str] = {
    "present": "There is",
    "absent": "There is no",
    "uncertain": "There may be",
}


@dataclass(frozen=True)
class Statement:
    """What a sentence says of one finding. concept, location: ids of the lexicon."""

    concept: str
    presence: Presence
    side: Side | None = None
    location: str | None = None
    severity: str | None = None


@dataclass(frozen=True)
class AlignedSentence:
    """One report sentence, its statements and their aligned wordings, in the same order."""

    section: str
    text: str
    statements: tuple[Statement, ...]
    aligned: tuple[str, ...]


class SentenceAligner(Protocol):
    """Anything that turns one sentence into statements. `hash` names its rules and their version."""

    @property
    def hash(self) -> str: ...

    def statements(self, sentence: str) -> tuple[Statement, ...]: ...


ALIGNERS: Registry[Callable[[], SentenceAligner]] = Registry(
    "aligner", hint="See `bench ls aligners`; llm and replay ask a model.", package="benchmark.prompts"
)
"""Names → what makes an aligner of single sentences. Plug-ins: group `cxr_alignbench.aligners`."""


def wording(statement: Statement, lexicon: Lexicon) -> str:
    """ "There is <finding> <place>", "There is no <finding>", "There may be <finding> <place>"."""
    concept = lexicon[statement.concept]
    words = f"{_OPENINGS[statement.presence]} {concept.name}"
    if statement.presence == "absent":
        return words
    place = ""
    where = lexicon[statement.location] if statement.location else None
    if where and not _names(concept.name, where):
        side = f"{statement.side} " if statement.side in ("left", "right") and not where.midline else ""
        place = f" {where.preposition} the {side}{where.name}"
    elif statement.side in ("left", "right"):
        place = f" on the {statement.side}"
    return words + place + (" on both sides" if statement.side == "bilateral" else "")


def align_report(
    report: str, aligner: SentenceAligner, lexicon: Lexicon, rule: str = "findings+impression"
) -> list[AlignedSentence]:
    """Sections → sentences → statements of one report (text with heads, Open-I XML or plain text)."""
    found = []
    for section, text in select(report_sections(report), rule):
        for sentence in split_sentences(text):
            statements = aligner.statements(sentence)
            aligned = tuple(wording(statement, lexicon) for statement in statements)
            found.append(AlignedSentence(section, sentence, statements, aligned))
    return found


def aligned_table(reports: Iterable[tuple[str, Sequence[AlignedSentence]]]) -> pd.DataFrame:
    """ALIGNED_COLUMNS, one row a statement, in order; a sentence without a statement has one row whose
    `aligned` and later columns are null. `sentence` counts from 0 within a study."""
    import pandas as pd

    rows: list[tuple[object, ...]] = []
    for study, sentences in reports:
        for number, sentence in enumerate(sentences):
            head = (study, number, sentence.section, sentence.text)
            for statement, text in zip(sentence.statements, sentence.aligned, strict=True):
                s = statement
                rows.append((*head, text, s.concept, s.presence, s.side, s.location, s.severity))
            if not sentence.statements:
                rows.append((*head, *[None] * 6))
    frame = pd.DataFrame(rows, columns=list(ALIGNED_COLUMNS))
    return frame.astype({name: "Int32" if name == "sentence" else "string" for name in ALIGNED_COLUMNS})


def _names(name: str, place: Concept) -> bool:
    """Does the name of a finding say the place already ("basal atelectasis" at the base)?"""
    said = [place.name, *place.synonyms]
    return any(f" {word.lower()} " in f" {name.lower()} " for word in said)
