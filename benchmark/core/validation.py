"""The first problem of a failed validation, in the words of the project's one-line errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import closest

if TYPE_CHECKING:
    from pydantic import ValidationError


@dataclass(frozen=True)
class Complaint:
    """key: dotted, "" for the whole. unknown: there is no such key; `guess` names the nearest one, or is "".
    reason: what is wrong with the value `got`."""

    keys: tuple[str, ...]
    unknown: bool
    guess: str
    reason: str
    got: Any

    @property
    def key(self) -> str:
        return ".".join(self.keys)


def first_complaint(error: ValidationError, known: Callable[[list[str]], Iterable[str]]) -> Complaint:
    """known: keys of the parent → the names that may stand below it."""
    first = error.errors()[0]
    keys = [str(part) for part in first["loc"]]
    unknown = first["type"] == "extra_forbidden"
    near = closest(keys[-1], known(keys[:-1])) if unknown else None
    guess = f" Did you mean '{near}'?" if near else ""
    reason = first["msg"].removeprefix("Value error, ")
    return Complaint(tuple(keys), unknown, guess, reason, first.get("input"))
