"""What is known of modules whose files are as they were: the hash of their code and what they import.

To parse and hash the modules of a key takes longer than to find everything that was made under it. A file
counts as it was where its size, both times of change and its number on the disk are: the time at which the
file itself changed cannot be set, as that of its content can, so that other content of equal size and time is
read again. Where a system has no such time, as Windows, size and time count, as in a mark of `core.reuse`.
Which names stand for modules is not kept, as it depends on other files.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from benchmark.core.errors import BenchError
from benchmark.core.files import read_json, stamp, write_json

SETTLED_NS = 2_000_000_000
"""A file that changed less than this before may change again within one tick of the clock of its disk."""


class Code(NamedTuple):
    """digest: hash of the code. imports: (module, names that are taken from it), as they stand there."""

    digest: str
    imports: tuple[tuple[str, tuple[str, ...]], ...]


class KeptCode:
    """What one file holds of the code of others.

    rules: what a digest depends on beside the code; what was found by others counts as nothing.
    """

    def __init__(self, place: Path, rules: str) -> None:
        self.place, self._rules = place, rules
        self._known = self._read()
        self._found: dict[str, tuple[str, Code]] = {}

    def code_of(self, path: Path, read: Callable[[Path], Code]) -> Code:
        """The code of a file, as it was kept or as `read` finds it. Raises what `read` raises."""
        now = path.stat()
        at, name = stamp(now), str(path)
        if name in self._known and self._known[name][0] == at:
            return self._known[name][1]
        found = read(path)
        settled = max(now.st_mtime_ns, now.st_ctime_ns) < time.time_ns() - SETTLED_NS
        if settled and stamp(path.stat()) == at:
            self._known[name] = self._found[name] = (at, found)
        return found

    def save(self) -> None:
        """Write what was read beside what other processes kept; a folder that takes no file keeps none."""
        if not self._found:
            return
        code = {name: [at, *own] for name, (at, own) in {**self._read(), **self._found}.items()}
        self._found = {}
        with suppress(BenchError, OSError):
            write_json(self.place, {"rules": self._rules, "code": code})

    def _read(self) -> dict[str, tuple[str, Code]]:
        """Nothing where the file is damaged or other rules made it."""
        with suppress(BenchError, OSError, TypeError, ValueError, KeyError, AttributeError):
            held = read_json(self.place)
            if held["rules"] == self._rules:
                return {name: (at, _code(*own)) for name, (at, *own) in held["code"].items()}
        return {}


def _code(digest: str, imports: list[tuple[str, list[str]]]) -> Code:
    """Raises TypeError or ValueError for what is no code."""
    return Code(str(digest), tuple((str(module), tuple(map(str, names))) for module, names in imports))
