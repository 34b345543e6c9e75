"""A value that is kept, in a file of its own, while all that it is a function of is as it was.

For what is small and takes long to find: the fingerprint of a network, the key of a training.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmark.core.errors import BenchError
from benchmark.core.files import read_json, write_json
from benchmark.core.reuse import Key


def kept_value(place: Path, key: Callable[[], Key | None], find: Callable[[], Any]) -> Any:
    """What `find` gives, JSON-serialisable, or what it gave under an equal key.

    key: what the value is a function of; None where that cannot be told. It is asked before and after `find`,
    and what changed meanwhile is not kept; a folder that takes no file keeps nothing. Raises what `find`
    raises.
    """
    before = key()
    if before is not None:
        with suppress(BenchError, TypeError, KeyError):
            kept = read_json(place)
            if kept["key"] == before.digest:
                return kept["value"]
    found = find()
    if before is not None and key() == before:
        with suppress(BenchError, OSError):
            write_json(place, {"key": before.digest, "value": found})
    return found
