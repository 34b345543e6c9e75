"""What a model is asked and what counts as an answer. Changing anything here changes PROMPT_HASH."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from benchmark.core.hashing import hash_value
from benchmark.prompts.aligned import Statement, wording
from benchmark.prompts.cues import Presence
from benchmark.prompts.llm.checks import Contradiction, concept_of, contradiction, place_of
from benchmark.prompts.places import Side
from benchmark.prompts.rules import RuleAligner

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

Reason = Literal["not JSON", "wrong schema", "sentence missing", "refused", "no answer"] | Contradiction
Message = dict[str, str]


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


class LLMSentence(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    findings: tuple[LLMFinding, ...] = Field(max_length=20)


PROMPT_HASH = hash_value(
    [PROMPT_VERSION, SYSTEM, [[dict(sorted((str(k), v) for k, v in q.items())), a] for q, a in EXAMPLES],
     LLMSentence.model_json_schema()]
)  # fmt: skip


def messages(sentences: Mapping[int, str]) -> list[Message]:
    """The chat for numbered sentences."""
    chat = [{"role": "system", "content": SYSTEM}]
    for question, answer in EXAMPLES:
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
    answer: str, sentences: Mapping[int, str], aligner: RuleAligner
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
        against = spoilt(findings, sentences[number], aligner)
        if against is None:
            good[number] = findings
            bad.pop(number, None)
        else:
            bad[number] = against
    for number in sentences:
        if number not in good:
            bad.setdefault(number, "sentence missing")
    return good, bad


def spoilt(findings: Iterable[LLMFinding], sentence: str, aligner: RuleAligner) -> Contradiction | None:
    """The first contradiction between findings and their sentence, or None."""
    found = (contradiction(finding, sentence, aligner) for finding in findings)
    return next((reason for reason in found if reason), None)


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
