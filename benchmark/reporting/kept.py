"""Answers that are kept: what a command found is said again as long as nothing that it rests on has changed.

An answer rests on the code that is installed and on files. Its key holds their state (`core.states`): no file
is read to find an answer, and one that was written again, be it with the same bytes and the same time, leads
to a new answer. What cannot be kept is found anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.core import numerics
from benchmark.core.errors import BenchError
from benchmark.core.hashing import hash_value
from benchmark.core.kept_value import keep, kept
from benchmark.core.reuse import Key, key_of
from benchmark.core.states import installed, machine, state_of
from benchmark.grid.layout import Project

ENVIRONMENT = ("CUDA_VISIBLE_DEVICES", "MLFLOW_TRACKING_URI", "OMP_NUM_THREADS")
"""Variables that act beside those of the numerics and of the folders of cards."""


@dataclass(frozen=True)
class Answer:
    """value: of `--json`. text: for people. code: the exit status. said: the lines of progress."""

    value: dict[str, Any]
    text: str
    code: int = 0
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rests:
    """What an answer rests on beside the code. files: files and folders, with all that is in them, there or
    not. values: what else acts, JSON-serialisable."""

    files: tuple[Path, ...]
    values: Mapping[str, Any]


def _silent(_: str) -> None:
    pass


def answered(
    project: Project,
    asked: Mapping[str, Any],
    rests: Callable[[], Rests | None],
    find: Callable[[], Answer],
    say: Callable[[str], None] = _silent,
) -> Answer:
    """The kept answer to a question, or else what `find` finds, which is kept where all that it rests on is
    the same before and after.

    asked: the question, JSON-serialisable. rests: None for an answer that is not kept. say: of a kept answer,
    what takes its lines of progress; `find` says its own. Raises what `find` raises.
    """
    watch = Watch(project, rests)
    known = watch.kept(asked)
    if known is None:
        answer = find()
        watch.keep([(asked, answer)])
        return answer
    for line in known.said:
        say(line)
    return known


class Watch:
    """What answers rest on, as it is now: those are there that were kept of the same, and new ones are kept
    if it still is the same when they have been found."""

    def __init__(self, project: Project, rests: Callable[[], Rests | None]) -> None:
        self._project, self._rests = project, rests
        self._state = _state(rests)

    def kept(self, asked: Mapping[str, Any]) -> Answer | None:
        """The answer to a question; None where it must be found."""
        if self._state is None:
            return None
        try:
            found = kept(self._place(asked), key_of(asked=dict(asked), rests=self._state))
        except LookupError:
            return None
        return Answer(**{**found, "said": tuple(found["said"])})

    def keep(self, found: Sequence[tuple[Mapping[str, Any], Answer]]) -> None:
        """Keep answers to these questions; a folder that takes no file keeps none."""
        if self._state is None or _state(self._rests) != self._state:
            return
        for asked, answer in found:
            keep(self._place(asked), key_of(asked=dict(asked), rests=self._state), vars(answer), str)

    def _place(self, asked: Mapping[str, Any]) -> Path:
        return self._project.cache / "answers" / f"{hash_value(asked)[:16]}.json"


def _state(rests: Callable[[], Rests | None]) -> Key | None:
    """None where what the answer rests on cannot be told, or is changing at the moment."""
    now = time.time_ns()
    try:
        own = rests()
        if own is None:
            return None
        found = {"files": state_of(own.files), "code": state_of(_code()), "packages": installed()}
    except (BenchError, OSError):
        return None
    if not all(state.settled(now) for state in found.values()):
        return None
    return key_of(
        values=dict(own.values),
        machine=machine(),
        environment=[(name, os.environ.get(name)) for name in sorted(_variables())],
        **{part: state.digest for part, state in found.items()},
    )


def _code() -> list[Path]:
    """Where the code lies that answers: this package, methods, cards and plug-ins."""
    from benchmark.stages.code import packages

    return list(packages().values())


def _variables() -> set[str]:
    from benchmark.data.cards import VARIABLE as CARDS
    from benchmark.encoders.card_files import VARIABLE as ENCODER_CARDS

    return {*ENVIRONMENT, *numerics.ALWAYS, *numerics.ENVIRONMENT, CARDS, ENCODER_CARDS}
