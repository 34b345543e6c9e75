"""One writer at a time, across the processes that share a file system."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def only_writer(path: Path | str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Wait until no other process holds the lock file `path`; `waiting` is called once if there is one.

    The system drops the lock of a killed process. The file stays: removing it would let a waiting
    process and a new one hold two locks of one name. Between machines it holds where their shared file
    system carries flock, as NFS version 4 does.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
