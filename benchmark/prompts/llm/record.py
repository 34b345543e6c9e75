"""Recorded answers: the cache that keeps a sentence from being sent twice, and the file that is replayed."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NamedTuple

from pydantic import BaseModel, ConfigDict

from benchmark.core.errors import DataError
from benchmark.core.guard import parsing
from benchmark.core.hashing import hash_strings
from benchmark.prompts.llm.checks import LLMFinding
from benchmark.prompts.llm.protocol import ALIGN, LLMTask, Reason

RECORDED = "a line of recorded answers"


class SentenceAnswer(BaseModel):
    """Accepted findings of one sentence, or why there are none."""

    model_config = ConfigDict(frozen=True)

    findings: tuple[LLMFinding, ...] = ()
    failed: Reason | None = None


class Head(BaseModel):
    """First line of recorded answers: hash of the prompt, and the model."""

    model_config = ConfigDict(frozen=True)

    prompt: str
    model: str


class Recorded(NamedTuple):
    """What a recorded file holds. answers: key of a sentence → answer."""

    head: Head
    answers: dict[str, SentenceAnswer]


class _Line(SentenceAnswer):
    """Any later line."""

    key: str


def sentence_key(sentence: str) -> str:
    """Content key of a sentence; white space does not count."""
    return hash_strings([" ".join(sentence.split())])


class Record:
    """An append-only file, one JSON object a line. The first line names the prompt and the model; the others
    hold the key of a sentence, never its text, and the answer. A line cut off by a crash is ignored."""

    def __init__(self, path: Path | str, identity: str, task: LLMTask = ALIGN) -> None:
        self.path = Path(path)
        self.identity = identity
        self._head = Head(prompt=task.hash, model=identity)
        self.answers: dict[str, SentenceAnswer] = {}
        self._lock = threading.Lock()
        self._handle: IO[str] | None = None
        if self.path.exists():
            head, self.answers = read_record(self.path)
            if head != self._head:
                raise DataError(
                    f"{self.path}: was recorded with another prompt or model. Use another cache folder."
                )

    def add(self, answers: Mapping[str, SentenceAnswer]) -> None:
        """Append and flush to disk before returning."""
        lines = [_line(key, answer) for key, answer in answers.items()]
        with self._lock:
            handle = self._open()
            handle.write("".join(lines))
            handle.flush()
            os.fsync(handle.fileno())
            self.answers.update(answers)

    def close(self) -> None:
        with self._lock:
            if self._handle:
                self._handle.close()
                self._handle = None

    def _open(self) -> IO[str]:
        if self._handle is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh = not self.path.exists() or self.path.stat().st_size == 0
            if not fresh:
                _end_last_line(self.path)
            self._handle = self.path.open("a", encoding="utf-8")
            if fresh:
                self._handle.write(json.dumps(self._head.model_dump()) + "\n")
        return self._handle


def read_record(path: Path | str) -> Recorded:
    """A recorded file. Later lines win. Raises DataError where it is none."""
    path = Path(path)
    with parsing(path, "a file of recorded answers", private=True):
        lines = path.read_text(encoding="utf-8").splitlines()
    head: Head | None = None
    answers: dict[str, SentenceAnswer] = {}
    for number, line in enumerate(lines, 1):
        try:
            with parsing(path, RECORDED, private=True) as place:
                place.line = number
                value = json.loads(line)
                if number == 1:
                    head = Head.model_validate(value)
                    continue
                answer = _Line.model_validate(value)
                answers[answer.key] = answer
        except DataError:
            if number == 1 or number < len(lines):
                raise
    if head is None:
        raise DataError(f"{path}: an empty file of recorded answers.")
    return Recorded(head, answers)


def _line(key: str, answer: SentenceAnswer) -> str:
    findings = [finding.model_dump(exclude_none=True) for finding in answer.findings]
    said = {"failed": answer.failed} if answer.failed else {"findings": findings}
    return json.dumps({"key": key, **said}, ensure_ascii=False) + "\n"


def _end_last_line(path: Path) -> None:
    """Cut off what a crash left of a last line."""
    with open(path, "rb+") as handle:
        data = handle.read()
        if data and not data.endswith(b"\n"):
            handle.truncate(data.rfind(b"\n") + 1)
