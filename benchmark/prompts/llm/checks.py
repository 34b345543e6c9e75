"""A model's finding against its own sentence: what the sentence does not say is not accepted.

A report may hold text that is meant for the model, and a model may flip a negation. So presence is held
against the negation rules, every word against the sentence, and side, place and severity against closed
lists.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from benchmark.prompts.cues import Presence, find_cues, verdict
from benchmark.prompts.places import SEVERITIES, SIDED, SIDES, Side
from benchmark.prompts.rules import RuleAligner
from benchmark.prompts.terms import Token, tokenise

if TYPE_CHECKING:
    from benchmark.prompts.aligned import Statement

Contradiction = Literal[
    "not in the sentence",
    "instruction in the sentence",
    "not plain words",
    "presence against the sentence",
    "side not in the sentence",
    "place not in the sentence",
    "severity not in the sentence",
]

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9 ,'/()\-]*")
_SMALL = frozenset(
    {"a", "an", "the", "of", "in", "at", "on", "to", "with", "and", "or", "for", "left", "right", "bilateral"}
)
_TITLES = frozenset({"mr", "mrs", "ms", "dr", "doctor", "professor", "prof"})
_INSTRUCTION = re.compile(
    r"""\b(ignore|disregard|override|forget)\b.{0,40}\b(instruction|instructions|above|previous
        |prior\ (rules|text)|rules|prompt|sentence|sentences|everything|findings)\b
    |\b(system|developer)\ (prompt|message|instruction)
    |^\s*(system|assistant|user|human|ai)\s*:
    |\b(language\ model|chatbot|chatgpt|llm|json|as\ an\ ai|you\ are|you\ must|you\ should|you\ will
        |your\ (task|answer|output|instructions|response))\b
    |\b(answer|respond|reply|output|print|return|emit|set|mark|label|classify|report|list|add|write|say|treat
        |interpret|record)\b.{0,60}\b(as|with|to|that|is|are|:)\s+(present|absent|positive|negative|uncertain|true
        |false|null|normal|abnormal)\b
    |"(presence|finding|findings|severity|number)"
    |<\||\|>|\[/?inst\]|\#\#\#|```""",
    re.IGNORECASE | re.VERBOSE,
)


class LLMFinding(BaseModel):
    """One finding of an answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    finding: str = Field(min_length=2, max_length=80)
    presence: Presence
    side: Side | None = None
    location: str | None = Field(None, max_length=60)
    severity: str | None = Field(None, max_length=40)

    @field_validator("finding")
    @classmethod
    def _has_letters(cls, value: str) -> str:
        if not re.search(r"[A-Za-z]{2}", value):
            raise ValueError("no word")
        return " ".join(value.split())


def contradiction(finding: LLMFinding, sentence: str, aligner: RuleAligner) -> Contradiction | None:
    """Why a finding cannot come from its sentence, or None."""
    if _INSTRUCTION.search(sentence):
        return "instruction in the sentence"
    texts = [finding.finding, finding.location or "a", finding.severity or "a"]
    if not all(_PLAIN.fullmatch(text) for text in texts):
        return "not plain words"
    tokens = tokenise(sentence)
    words = {t.lemma for t in tokens}
    about = _statements_about(finding.finding, sentence, aligner)
    if about:
        if not _agrees(finding.presence, {s.presence for s in about}):
            return "presence against the sentence"
    else:
        span = _span(finding.finding, tokens)
        if span is None:
            return "not in the sentence"
        if not _agrees(finding.presence, {verdict(*span, find_cues(tokens))}):
            return "presence against the sentence"
    if finding.side and not _side_stands(finding.side, tokens, about):
        return "side not in the sentence"
    if finding.location:
        place = place_of(finding.location, aligner)
        stated = {s.location for s in about}
        if place is None or (place not in stated and not _content(finding.location) <= words):
            return "place not in the sentence"
    if finding.severity and finding.severity.lower() not in {
        SEVERITIES[t.lemma] for t in tokens if t.lemma in SEVERITIES
    }:
        return "severity not in the sentence"
    return None


def concept_of(finding: str, aligner: RuleAligner) -> str | None:
    """The concept that a finding's words name, and nothing else."""
    found = aligner.statements(finding)
    return found[0].concept if len(found) == 1 and found[0].presence == "present" else None


def place_of(location: str, aligner: RuleAligner) -> str | None:
    """The anatomy concept that a place's words name, without its side, or None."""
    whole = tuple(t.lemma for t in tokenise(location) if t.lemma != "the")
    bare = tuple(word for word in whole if word not in ("left", "right", "bilateral"))
    lexicon = aligner.lexicon
    for wanted in (whole, bare):  # the right atrium is a place of its own, the right lung is not
        for identifier in lexicon.ids("anatomy"):
            names: Sequence[str] = (lexicon[identifier].name, *lexicon[identifier].synonyms)
            if any(tuple(t.lemma for t in tokenise(name)) == wanted for name in names):
                return identifier
    return None


def _statements_about(finding: str, sentence: str, aligner: RuleAligner) -> list[Statement]:
    """What the rules read of the finding's concept, or of one above or below it."""
    concept = concept_of(finding, aligner)
    if concept is None:
        return []
    family = {concept} | aligner.lexicon.descendants(concept) | aligner.lexicon.ancestors(concept)
    near = [s for s in aligner.statements(sentence) if s.concept in family]
    return [s for s in near if s.concept == concept] or near


def _agrees(presence: str, read: set[str]) -> bool:
    """A model may be less sure than the rules, never surer and never the other way round."""
    return presence in read or (presence == "uncertain" and "present" in read)


def _content(text: str) -> set[str]:
    return {t.lemma for t in tokenise(text) if t.lemma.isalnum() and t.lemma not in _SMALL}


def _span(finding: str, tokens: Sequence[Token]) -> tuple[int, int] | None:
    """First and behind-last token of the finding's words in the sentence. None where one is not there, is a
    name (a capital inside the sentence, or a title), or where nothing is left of it."""
    wanted = _content(finding)
    if not wanted or wanted & _TITLES:
        return None
    places = []
    for word in wanted:
        found = [i for i, t in enumerate(tokens) if t.lemma == word]
        if not found or all(i > 0 and tokens[i].text.istitle() for i in found):
            return None
        places.append(found[-1])
    return min(places), max(places) + 1


def _side_stands(side: str, tokens: Sequence[Token], about: Sequence[Statement]) -> bool:
    read = {s.side for s in about if s.side}
    if read:
        return side in read or (side == "bilateral" and {"left", "right"} <= read)
    stated = {SIDES[t.lemma] for t in tokens if t.lemma in SIDES} | {
        SIDED[t.text] for t in tokens if t.text in SIDED
    }
    if side == "bilateral":
        return side in stated or {"left", "right"} <= stated
    return side in stated
