"""One writer at a time, across the processes that share a file system."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from benchmark.core.errors import BenchError


@contextlib.contextmanager
def only_writer(path: Path | str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Wait until no other process holds the lock file `path`; `waiting` is called once if there is one.

    The system drops the lock of a killed process. The file stays: removing it would let a waiting
    process and a new one hold two locks of one name. Between machines it holds where their shared file
    system carries locks, as NFS version 4 does. Raises BenchError where the file system has none: a mere
    file in their place would outlive a killed process.
    """
    lock = _locked(path, wait=False)
    if lock is None:
        if waiting is not None:
            waiting()
        lock = _locked(path, wait=True)
    assert lock is not None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def if_free(path: Path | str) -> Iterator[bool]:
    """Hold the lock file `path` where no other process does; False, at once, where one does. As
    `only_writer` in everything else."""
    lock = _locked(path, wait=False)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()


def _locked(path: Path | str, wait: bool) -> BaseFileLock | None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        return None
    except OSError as error:
        hint = "Use a file system with file locks."
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            hint = "Run where you may write, or let its owner open the folder to you."
        raise BenchError(f"{path}: cannot be locked ({error.strerror or error}). {hint}") from error
    return lock
