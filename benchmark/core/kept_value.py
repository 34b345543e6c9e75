"""A value that is kept, in a file of its own, while all that it is a function of is as it was.

For what is small and takes long to find: the fingerprint of a network, the key of a training, what a claim or
a command comes to.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmark.core.errors import BenchError
from benchmark.core.files import read_json, write_text
from benchmark.core.reuse import Key


def kept_value(place: Path, key: Callable[[], Key | None], find: Callable[[], Any]) -> Any:
    """What `find` gives, JSON-serialisable, or what it gave under an equal key.

    key: what the value is a function of; None where that cannot be told. It is asked before and after `find`,
    and what changed meanwhile is not kept; a folder that takes no file keeps nothing. Raises what `find`
    raises.
    """
    before = key()
    if before is not None:
        with suppress(LookupError):
            return kept(place, before)
    found = find()
    if before is not None and key() == before:
        keep(place, before, found)
    return found


def kept(place: Path, key: Key) -> Any:
    """The value that was kept under an equal key. Raises LookupError where there is none; a damaged file
    holds none."""
    with suppress(BenchError, TypeError):
        held = read_json(place)
        if held["key"] == key.digest:
            return held["value"]
    raise LookupError(place)


def keep(place: Path, key: Key, value: Any, default: Callable[[Any], Any] | None = None) -> None:
    """Keep a value, with its keys in their order; a folder that takes no file keeps nothing. default: as of
    `json.dumps`."""
    held = {"key": key.digest, "value": value}
    with suppress(BenchError, OSError):
        write_text(place, json.dumps(held, ensure_ascii=False, default=default) + "\n")
