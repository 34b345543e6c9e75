"""What a model is asked and what counts as an answer. Changing anything here changes the hash of its task."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmark.core.hashing import hash_value
from benchmark.prompts.aligned import Statement, wording
from benchmark.prompts.llm.checks import (
    Contradiction,
    LLMFinding,
    concept_of,
    contradiction,
    place_of,
)
from benchmark.prompts.rules import RuleAligner
from benchmark.prompts.sentences import split_sentences

PROMPT_VERSION = 1
SYSTEM = """You rewrite sentences of chest radiograph reports as findings in JSON.
For every numbered sentence give its number and the list of findings that it states.
A finding has "finding" (the radiological finding or device, as few words as possible, without negation,
side, place or severity), "presence" ("present", "absent" or "uncertain"), "side" ("left", "right",
"bilateral" or null), "location" (anatomical place or null) and "severity" (or null).
State only what the sentence says. A sentence without a finding has an empty list.
Answer with one JSON object and nothing else."""
_EFFUSION = {"finding": "pleural effusion", "presence": "present", "side": "left", "location": None}
_NO_PNEUMOTHORAX = {"finding": "pneumothorax", "presence": "absent", "side": None, "location": None}
EXAMPLES: tuple[tuple[Mapping[int, str], Mapping[str, Any]], ...] = (
    (
        {1: "Small left pleural effusion, no pneumothorax.", 2: "Comparison is made to the prior study."},
        {
            "sentences": [
                {
                    "number": 1,
                    "findings": [{**_EFFUSION, "severity": "small"}, {**_NO_PNEUMOTHORAX, "severity": None}],
                },
                {"number": 2, "findings": []},
            ]
        },
    ),
)
SUMMARY_SYSTEM = """You condense reports of chest images to their high-level findings in JSON.
For every numbered report give its number and the list of its findings, the most important first, ten at most.
A finding has "finding" (the radiological finding or device, as few words as possible, without negation,
side, place or severity), "presence" ("present", "absent" or "uncertain"), and null for "side", "location" and
"severity". Name what is present or uncertain; of what is absent, only what would matter most.
Repeat nothing. State only what the report says. A report without a finding has an empty list.
Answer with one JSON object and nothing else."""
_PLAIN = {"side": None, "location": None, "severity": None}
SUMMARY_EXAMPLES: tuple[tuple[Mapping[int, str], Mapping[str, Any]], ...] = (
    (
        {1: "There is a small left pleural effusion, 12 mm deep. Left effusion. No pneumothorax is seen."},
        {
            "sentences": [
                {
                    "number": 1,
                    "findings": [
                        {"finding": "pleural effusion", "presence": "present", **_PLAIN},
                        {"finding": "pneumothorax", "presence": "absent", **_PLAIN},
                    ],
                }
            ]
        },
    ),
)

Reason = Literal["not JSON", "wrong schema", "sentence missing", "refused", "no answer"] | Contradiction
Message = dict[str, str]


class LLMSentence(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    findings: tuple[LLMFinding, ...] = Field(max_length=20)


@dataclass(frozen=True)
class LLMTask:
    """What a model does with numbered texts. whole: a text is a report, not one of its sentences."""

    name: str
    system: str
    examples: tuple[tuple[Mapping[int, str], Mapping[str, Any]], ...]
    whole: bool
    version: int = PROMPT_VERSION

    @cached_property
    def hash(self) -> str:
        asked = [[dict(sorted((str(k), v) for k, v in q.items())), a] for q, a in self.examples]
        return hash_value([self.version, self.system, asked, LLMSentence.model_json_schema()])


ALIGN = LLMTask("align", SYSTEM, EXAMPLES, whole=False)
SUMMARISE = LLMTask("summarise", SUMMARY_SYSTEM, SUMMARY_EXAMPLES, whole=True)
"""Semantic summarisation (Lai et al. 2025, BrgSA), whose own prompt is not public: ours has the same aim."""


def messages(sentences: Mapping[int, str], task: LLMTask = ALIGN) -> list[Message]:
    """The chat for numbered sentences, or reports."""
    chat = [{"role": "system", "content": task.system}]
    for question, answer in task.examples:
        chat.append({"role": "user", "content": _numbered(question)})
        chat.append({"role": "assistant", "content": json.dumps(answer)})
    return [*chat, {"role": "user", "content": _numbered(sentences)}]


def answer_schema() -> dict[str, Any]:
    """JSON schema of a whole answer, for servers that constrain decoding."""
    sentence = LLMSentence.model_json_schema()
    definitions = sentence.pop("$defs", {})
    return {
        "type": "object",
        "properties": {"sentences": {"type": "array", "items": sentence}},
        "required": ["sentences"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def parse_answer(
    answer: str, sentences: Mapping[int, str], aligner: RuleAligner, task: LLMTask = ALIGN
) -> tuple[dict[int, tuple[LLMFinding, ...]], dict[int, Reason]]:
    """Accepted findings by sentence number, and the reason for every sentence that is not accepted.

    A finding that its sentence does not say (`checks.contradiction`) spoils its sentence.
    """
    body = _json_object(answer)
    if body is None:
        return {}, dict.fromkeys(sentences, "not JSON")
    listed = body.get("sentences")
    if not isinstance(listed, list):
        return {}, dict.fromkeys(sentences, "wrong schema")
    good: dict[int, tuple[LLMFinding, ...]] = {}
    bad: dict[int, Reason] = {}
    for item in listed:
        number = item.get("number") if isinstance(item, dict) else None
        if not isinstance(number, int) or number not in sentences or number in good:
            continue
        try:
            findings = LLMSentence.model_validate(item).findings
        except ValidationError:
            bad[number] = "wrong schema"
            continue
        against = spoilt(findings, sentences[number], aligner, task)
        if against is None:
            good[number] = findings
            bad.pop(number, None)
        else:
            bad[number] = against
    for number in sentences:
        if number not in good:
            bad.setdefault(number, "sentence missing")
    return good, bad


def spoilt(
    findings: Iterable[LLMFinding], text: str, aligner: RuleAligner, task: LLMTask = ALIGN
) -> Contradiction | None:
    """The first contradiction between findings and their sentence, or None. A finding of a whole report must
    agree with one of its sentences, and no sentence may hold an order."""
    sentences = split_sentences(text) if task.whole else [text]
    for finding in findings:
        against = [contradiction(finding, sentence, aligner) for sentence in sentences]
        if "instruction in the sentence" in against:
            return "instruction in the sentence"
        if against and all(against):
            return next((r for r in against if r != "not in the sentence"), against[0])
    return None


def to_statement(finding: LLMFinding, aligner: RuleAligner) -> tuple[Statement | None, str]:
    """Statement with ids of the lexicon, or None where it lacks the finding; and the aligned wording."""
    concept = concept_of(finding.finding, aligner)
    place = place_of(finding.location, aligner) if finding.location else None
    severity = finding.severity.lower() if finding.severity else None
    if concept is not None:
        statement = Statement(concept, finding.presence, finding.side, place, severity)
        return statement, wording(statement, aligner.lexicon)
    opening = {"present": "There is", "absent": "There is no", "uncertain": "There may be"}[finding.presence]
    if finding.presence == "absent":
        return None, f"{opening} {finding.finding}"
    side = finding.side if finding.side in ("left", "right") else None
    where = f" in the {side + ' ' if side else ''}{aligner.lexicon[place].name}" if place else ""
    where = where or (f" on the {side}" if side else "")
    both = " on both sides" if finding.side == "bilateral" else ""
    return None, f"{opening} {finding.finding}{where}{both}"


def _numbered(sentences: Mapping[int, str]) -> str:
    return "\n".join(f"{number}. {' '.join(text.split())}" for number, text in sentences.items())


def _json_object(answer: str) -> dict[str, Any] | None:
    """The object in an answer, bare or inside one code fence; anything else around it is refused."""
    text = answer.strip()
    fence = re.fullmatch(r"```(?:json)?\s*(.*?)\s*```", text, re.DOTALL)
    try:
        value = json.loads(fence[1] if fence else text)
    except (json.JSONDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
