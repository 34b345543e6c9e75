"""What every command shares: JSON on request, results to stdout, progress to stderr."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from benchmark.core.progress import progress, watched

__all__ = ["JsonOption", "emit", "progress", "watched"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]


def emit(value: dict[str, Any], text: str, as_json: bool) -> None:
    """Print the result: `value` as one JSON object, or `text`."""
    if as_json:
        sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    else:
        sys.stdout.write(text.rstrip("\n") + "\n")
