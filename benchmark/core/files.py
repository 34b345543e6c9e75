"""Atomic writes: a reader never sees half a file, and a killed writer leaves the old one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from functools import lru_cache
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

    The temporary name keeps the suffix, so that writers that look at it behave, and names its process, so
    that what a killed one left is removed by the next writer in the folder. Raises BenchError where the
    folder or disk does not take the file.
    """
    target = Path(target)
    with _writable(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_left(target.parent)
        prefix = temporary_prefix(target.stem)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=prefix, suffix=target.suffix)
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


def temporary_prefix(stem: str) -> str:
    """How the names of this process's temporary files and folders for `stem` begin."""
    return f".{stem}.{_place()}-{os.getpid()}-"


def remove_left(folder: Path) -> None:
    """Remove temporary files and folders in `folder` whose process on this machine has ended. A process looks
    through a folder once."""
    _remove_left(folder.resolve(), os.getpid())


@lru_cache(maxsize=65536)
def _remove_left(folder: Path, _process: int) -> None:
    ours = re.compile(rf"\..*\.{_place()}-(\d+)-")
    for entry in os.scandir(folder):
        if not (found := ours.match(entry.name)):
            continue
        import psutil

        if not psutil.pid_exists(int(found[1])):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink(missing_ok=True)


@lru_cache(maxsize=1)
def _place() -> str:
    """A name of this machine, and of the container in it, as process numbers mean something only there."""
    names = "/proc/self/ns/pid"
    inside = os.readlink(names) if os.path.lexists(names) else ""  # noqa: PTH115
    return hashlib.sha256(f"{socket.gethostname()} {inside}".encode()).hexdigest()[:8]


def mapped_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> Any:
    """A new .npy file of zeros, mapped into memory for writing, whose place on the disk is reserved.

    Writing into a mapping that the disk has no room for would end the process by a signal. Raises BenchError
    where the folder or disk does not take the file.
    """
    import numpy as np

    with _writable(path):
        array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):
            try:
                with path.open("r+b") as handle:
                    os.posix_fallocate(handle.fileno(), 0, path.stat().st_size)
            except OSError:
                path.unlink(missing_ok=True)
                raise
    return array


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


def stamp(status: os.stat_result) -> str:
    """The state of a file: size, time of change, and the time at which the file itself changed, which cannot
    be set as the first can, and its number on the disk."""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def write_json(target: Path | str, value: Any) -> None:
    """Sorted keys and a final newline, so that equal values are equal bytes."""
    write_text(target, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Raises DataError, naming the file and line, where the text is not JSON."""
    return parse_json(read_text(path, "a JSON file"), path)


def read_yaml(path: Path | str) -> Any:
    """Raises DataError, naming the file and line, where the text is not YAML."""
    return parse_yaml(read_text(path, "a YAML file", MAX_YAML), path)


_NO_FOLDER = re.compile(r"[/\\:*?\"<>|~\x00-\x1f]|^[.\-\s]|[.\s]$")


def names_a_folder(name: str) -> bool:
    """Whether a folder of results can have this name on every system; `~` parts names of cells."""
    return 0 < len(name.encode()) <= 100 and not _NO_FOLDER.search(name)


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
