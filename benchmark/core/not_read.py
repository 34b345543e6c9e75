"""No file that a command reads is written over by what it makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmark.core.errors import BenchError


def check_not_read(option: str, targets: Iterable[Path], inputs: Iterable[Path | None]) -> None:
    """Raises BenchError where a file to write is one of those that are read, under any name."""
    there = [path for path in inputs if path is not None and path.is_file()]
    for target in targets:
        if target.exists() and any(target.samefile(path) for path in there):
            raise BenchError(f"{option} {target}: is read by this command; name another place.")
