"""The first problem of a failed validation, in the words of the project's one-line errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import closest

if TYPE_CHECKING:
    from pydantic import ValidationError


@dataclass(frozen=True)
class Complaint:
    """key: dotted, "" for the whole. unknown: there is no such key; `guess` names the nearest one, or is "".
    reason: what is wrong with the value `got`. full: the reason names the key itself."""

    keys: tuple[str, ...]
    unknown: bool
    guess: str
    reason: str
    got: Any
    full: bool = False

    @property
    def key(self) -> str:
        return ".".join(self.keys)


SAID = "said_in_full"
"""The type of an error whose message needs no key before it."""


def complaint_at(loc: Sequence[int | str], text: str, got: object = None) -> ValidationError:
    """An error at `loc`, relative to the validator that raises it, whose message says everything."""
    from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

    problem = PydanticCustomError(SAID, "{text}", {"text": text})
    return ValidationError.from_exception_data(
        "settings", [InitErrorDetails(type=problem, loc=tuple(loc), input=got)]
    )


def first_complaint(error: ValidationError, known: Callable[[list[str]], Iterable[str]]) -> Complaint:
    """known: keys of the parent → the names that may stand below it."""
    first = error.errors()[0]
    keys = [str(part) for part in first["loc"]]
    unknown = first["type"] == "extra_forbidden"
    near = closest(keys[-1], known(keys[:-1])) if unknown else None
    guess = f" Did you mean '{near}'?" if near else ""
    reason = first["msg"].removeprefix("Value error, ")
    return Complaint(tuple(keys), unknown, guess, reason, first.get("input"), first["type"] == SAID)
