"""The state of files: whether they are those of an earlier look, told without reading them.

A state holds where each file lies, its size, its times of change and its number on the disk, so that one that
was written again, be it with the same bytes and the same time, has another state.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR

from benchmark.core.files import stamp
from benchmark.core.hashing import hash_bytes

SETTLED_NS = 50_000_000
"""A file that changed less than this before may change again within one tick of the clock of the disk."""
METADATA = (".dist-info", ".egg-info", ".egg-link", ".pth")


@dataclass(frozen=True)
class State:
    """digest: of the names, sizes, times and numbers of files. changed_ns: when the last of them changed."""

    digest: str
    changed_ns: int

    def settled(self, now_ns: int) -> bool:
        """Whether none of the files changed a moment before `now_ns`."""
        return self.changed_ns <= now_ns - SETTLED_NS


def state_of(places: Iterable[Path]) -> State:
    """The state of these files and of all below these folders; hidden files and compiled Python do not count,
    linked folders are followed once. Raises OSError where a folder cannot be read."""
    seen: list[tuple[str, str, int]] = []
    entered: set[tuple[int, int]] = set()
    folders = []
    for place in dict.fromkeys(str(p.absolute()) for p in places):
        try:
            status = os.stat(place)  # noqa: PTH116  (tens of thousands of files: a Path each costs more than the call)
        except (FileNotFoundError, NotADirectoryError):
            seen.append((place, "none", 0))
            continue
        if S_ISDIR(status.st_mode):
            folders.append(place)
        else:
            seen.append((place, stamp(status), status.st_ctime_ns))
    while folders:
        place = folders.pop()
        status = os.stat(place)  # noqa: PTH116
        seen.append((place, "folder", 0))
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name == "__pycache__":
                    continue
                if entry.is_dir():
                    folders.append(entry.path)
                elif entry.is_file():
                    own = entry.stat()
                    seen.append((entry.path, stamp(own), own.st_ctime_ns))
                else:
                    seen.append((entry.path, "none", 0))
    text = "\0".join(part for name, state, _ in sorted(seen) for part in (name, state))  # no name has a zero
    return State(hash_bytes(os.fsencode(text)), max((changed for *_, changed in seen), default=0))


def installed() -> State:
    """The state of what says which packages are installed, of which versions."""
    found = []
    for folder in dict.fromkeys(sys.path):
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder or ".") as entries:
            found += [Path(e.path) for e in entries if e.name.endswith(METADATA)]
    of_wheels = [
        p / name for p in found if p.suffix == ".dist-info" for name in ("METADATA", "entry_points.txt")
    ]
    return state_of([*of_wheels, *(p for p in found if p.suffix != ".dist-info")])


def machine() -> list[str]:
    """This machine, and the Python that runs."""
    return [platform.node(), platform.machine(), sys.version]
