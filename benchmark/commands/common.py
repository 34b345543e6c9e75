"""What every command shares: JSON on request, results to stdout, progress to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any, TextIO

import typer

from benchmark.core.errors import BenchError, printable
from benchmark.core.progress import progress, watched

__all__ = ["JsonOption", "discard", "emit", "progress", "stdout_errors", "watched"]

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print exactly one JSON object on stdout, also of an error.")
]


@contextmanager
def stdout_errors() -> Iterator[None]:
    """A closed pipe on standard output is passed over, a full disk is a BenchError."""
    try:
        yield
    except BrokenPipeError:
        discard(sys.stdout)
    except OSError as error:
        discard(sys.stdout)
        raise BenchError(f"standard output: cannot be written ({error.strerror}). Free the disk.") from error


def discard(stream: TextIO) -> None:
    """What is still buffered goes nowhere: when the interpreter ends it would try again, and where that fails
    end with an exit code of its own."""
    with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


def emit(value: dict[str, Any], text: str, as_json: bool) -> None:
    """Print the result: `value` as one JSON object, or `text`. A reader that has gone (`| head`) is no error,
    so that the exit code says what the command found. Raises BenchError where the disk is full."""
    written = printable(text.rstrip("\n"))
    if as_json:  # in a locale of other characters as escapes of JSON, not of Python
        plain = not str(getattr(sys.stdout, "encoding", "utf-8")).lower().startswith("utf")
        written = json.dumps(value, ensure_ascii=plain, default=str)
    with stdout_errors():
        sys.stdout.write(written + "\n")
        sys.stdout.flush()
