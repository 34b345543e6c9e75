"""One writer at a time, across processes of one machine."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def only_writer(path: Path | str) -> Iterator[None]:
    """Wait until no other process holds the lock file `path`.

    The system drops the lock of a killed process. The file stays: removing it would let a waiting
    process and a new one hold two locks of one name.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
