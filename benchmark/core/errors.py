"""One tree of errors. The command line alone turns them into an exit code."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class BenchError(Exception):
    """Bad input: one line that names the file, row or option and says what to do next. Exit code 2.

    Line ends and control characters of what the message quotes become spaces, and very long words are cut.
    """

    exit_code = 2

    def __init__(self, message: str = "") -> None:
        line = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", message)
        super().__init__(re.sub(r"(\S{500})\S+", r"\1…", line))


class CardError(BenchError):
    """A dataset card is malformed or disagrees with the files it describes."""


class DataError(BenchError):
    """Files of a dataset are missing, unreadable or contradict each other."""


class ParamsError(BenchError):
    """A parameter is unknown or out of range."""


class UnknownName(BenchError):
    """A registry, class list or card holds no such name."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        near = closest(name, known)
        guess = f" Did you mean '{near}'?" if near else ""
        super().__init__(f"unknown {kind} '{name}'.{guess}{' ' + hint if hint else ''}")


class MetricUndefined(BenchError):
    """A metric has no value on these data; the message is the reason."""


def printable(text: str) -> str:
    """Text whose control characters, which a terminal would obey, are question marks; line ends stay."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", "?", text)


def in_parts(message: str) -> dict[str, str | None]:
    """error, file and next of a one-line message `FILE:LINE: what is wrong. What to do.`, for `--json`.

    error: the whole line. file: what it names first. next: its last clause. The last two are null where there
    is none.
    """
    line = " ".join(message.split())
    start = re.match(r"(?!--)(\S[^:]*?)(?::\d+)?: ", line)
    file = start[1] if start and re.search(r"[/\\]|\.\w{1,8}$", start[1]) else None
    clauses = re.split(r"(?<=[;.?]) ", line[start.end() :] if start else line)
    return {"error": line, "file": file, "next": clauses[-1].rstrip(".") if len(clauses) > 1 else None}


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name nearest to `name`, or None where nothing is near.

    Case and the choice between space, hyphen and underscore do not count.
    """
    table = {_fold(k): k for k in known}
    found = difflib.get_close_matches(_fold(name), list(table), n=1, cutoff=0.6)
    return table[found[0]] if found else None


def _fold(name: str) -> str:
    return name.lower().replace("_", " ").replace("-", " ")
