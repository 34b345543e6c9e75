"""What files hold, without reading again those whose size and time of change are known.

<cache>/index.sqlite         path, size and time of change → sha256
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from benchmark.core.errors import BenchError
from benchmark.core.hashing import hash_file, hash_strings

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".nii", ".nii.gz", ".npy")
LARGE = 1 << 30
"""Bytes above which a file of a data root counts by size and time alone: archives of images."""
_SETTLED_NS = 2_000_000_000
"""A file that changed less than this ago may change again within one tick of its clock."""


class Known(NamedTuple):
    """One file as it was when it was read; hash is "" where it could not be."""

    path: str
    size: int
    mtime_ns: int
    hash: str


def content_hashes(paths: Sequence[Path | str], cache: Path | str, workers: int | None = None) -> list[str]:
    """sha256 of files; those that the index in `cache` knows by size and time of change are not read again.

    A file that cannot be read has the hash "".
    """
    names = [str(Path(path).absolute()) for path in paths]
    stats = [size_and_time(name) for name in names]
    known: dict[str, tuple[int, int, str]] = {}
    with _index(Path(cache)) as connection:
        for name in names:
            row = connection.execute("SELECT size, mtime, hash FROM files WHERE path = ?", (name,)).fetchone()
            if row:
                known[name] = row
    unknown = [n for n, name in enumerate(names) if name not in known or known[name][:2] != stats[n]]
    hashes = [known[name][2] if name in known else "" for name in names]
    with ThreadPoolExecutor(workers or cores()) as pool:
        for n, digest in zip(unknown, pool.map(_hash_of, [names[n] for n in unknown]), strict=True):
            hashes[n] = digest
    remember(cache, (Known(names[n], *stats[n], hashes[n]) for n in unknown))
    return hashes


def remember(cache: Path | str, files: Iterable[Known]) -> None:
    """Put files into the index, but for those that were unreadable or changed a moment ago."""
    limit = time.time_ns() - _SETTLED_NS
    settled = [tuple(file) for file in files if file.hash and file.mtime_ns < limit]
    if settled:
        with _index(Path(cache)) as connection:
            connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", settled)


def fingerprint(root: Path | str, cache: Path | str) -> str:
    """What lies below a folder: the relative path and size of every file, the content of tables, reports and
    masks, and the time of change of images, of which there may be hundreds of thousands.

    An edited label file gives another fingerprint; so does an image that was written again. It is for keys on
    this machine only, as times differ between copies of one folder. Linked folders are followed once; hidden
    files do not count.
    """
    root = Path(root)
    seen: list[tuple[str, int, int]] = []
    entered: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        status = (root / folder).stat()
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        with os.scandir(root / folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                name = f"{folder}{entry.name}"
                if entry.is_dir():
                    waiting.append(f"{name}/")
                elif entry.is_file():
                    seen.append((name, entry.stat().st_size, entry.stat().st_mtime_ns))
    seen.sort()
    read = [name for name, size, _ in seen if size <= LARGE and not name.lower().endswith(IMAGE_SUFFIXES)]
    hashes = dict(zip(read, content_hashes([root / name for name in read], cache), strict=True))
    return hash_strings(
        part for name, size, time_ns in seen for part in (name, str(size), hashes.get(name, str(time_ns)))
    )


def size_and_time(name: str) -> tuple[int, int]:
    """(0, 0) where there is no such file."""
    try:
        found = Path(name).stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _hash_of(name: str) -> str:
    try:
        return hash_file(name)
    except OSError:
        return ""


@contextlib.contextmanager
def _index(cache: Path) -> Iterator[sqlite3.Connection]:
    cache.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(cache / "index.sqlite", timeout=60)
    try:
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS files"
                " (path TEXT PRIMARY KEY, size INTEGER, mtime INTEGER, hash TEXT) WITHOUT ROWID"
            )
            yield connection
    except sqlite3.DatabaseError as error:
        raise BenchError(f"{cache / 'index.sqlite'}: damaged ({error}). Delete it and run again.") from None
    finally:
        connection.close()


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
