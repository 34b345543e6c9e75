"""Atomic writes: a reader never sees half a file, and a killed writer leaves the old one."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import BenchError
from benchmark.core.guard import MAX_YAML, parse_json, parse_yaml, read_text

if TYPE_CHECKING:
    import pandas as pd

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""Errors of a disk that takes no more; others, while a file is made, may come from elsewhere."""


@contextlib.contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it onto `target` on success, remove it on failure.

    The temporary name keeps the suffix, so that writers that look at it behave. Raises BenchError where the
    folder or disk does not take the file.
    """
    target = Path(target)
    with _writable(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}.", suffix=target.suffix)
        os.close(handle)
    temporary = Path(name)
    try:
        try:
            yield temporary
        except OSError as error:
            if error.errno in FULL:
                raise _unwritten(target, error) from error
            raise
        mask = os.umask(0)
        os.umask(mask)
        with _writable(target):
            temporary.chmod(0o666 & ~mask)
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _writable(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unwritten(target, error) from error


def _unwritten(target: Path, error: OSError) -> BenchError:
    reason = error.strerror or type(error).__name__
    return BenchError(f"{target}: cannot be written ({reason}). Free the place or choose another.")


def write_text(target: Path | str, text: str) -> None:
    with atomic_path(target) as path:
        path.write_text(text, encoding="utf-8")


def write_json(target: Path | str, value: Any) -> None:
    """Sorted keys and a final newline, so that equal values are equal bytes."""
    write_text(target, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Raises DataError, naming the file and line, where the text is not JSON."""
    return parse_json(read_text(path, "a JSON file"), path)


def read_yaml(path: Path | str) -> Any:
    """Raises DataError, naming the file and line, where the text is not YAML."""
    return parse_yaml(read_text(path, "a YAML file", MAX_YAML), path)


_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")


def formula_free(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula gets a leading '; numbers stay numbers.

    A carriage return, which Python's writer leaves unquoted, becomes a line feed. Source: OWASP, CSV
    Injection.
    """
    if not isinstance(value, str):
        return value
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if _FORMULA.match(text) else text


def write_csv(target: Path | str, frame: pd.DataFrame, float_format: str | None = None) -> None:
    """A frame as CSV of which no cell and no head runs as a formula; names in it may be of anyone's files."""
    shown = frame.rename(columns=formula_free)
    texts = shown.select_dtypes(exclude=["number", "bool"]).columns
    shown = shown.assign(**{str(name): shown[name].map(formula_free) for name in texts})
    with atomic_path(target) as path:
        shown.to_csv(path, index=False, float_format=float_format)
