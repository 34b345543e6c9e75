"""Which files a data root holds: as the disk has them, or as a listing names its images."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from benchmark.core.errors import DataError
from benchmark.core.guard import read_text
from benchmark.data.cards import Card

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")
_LISTED: ContextVar[tuple[Path, frozenset[str]] | None] = ContextVar("listed", default=None)


@contextmanager
def listed(root: Path, listing: Path | None) -> Iterator[None]:
    """While it lasts, the images below `root` are those that `listing` names and the disk is not asked.

    listing: paths below the root, one a line, as `find . -type f` prints them; None changes nothing. Raises
    DataError for an unreadable or empty list and a path that leaves the root.
    """
    if listing is None:
        yield
        return
    lines = read_text(listing, "a list of image files").splitlines()
    paths = [below(root, line, f"{listing}:{n}") for n, line in enumerate(lines, 1) if line.strip()]
    if not paths:
        raise DataError(f"{listing}: names no file. Write it with `find . -type f` in {root}.")
    token = _LISTED.set((root, frozenset(paths)))
    try:
        yield
    finally:
        _LISTED.reset(token)


def listing_of(root: Path) -> frozenset[str] | None:
    """Paths of the listing that stands for the images below `root`, or None where the disk is asked."""
    told = _LISTED.get()
    return told[1] if told is not None and told[0] == root else None


def is_here(root: Path, path: str) -> bool:
    """Whether the image `path`, relative to the data root, is there."""
    told = listing_of(root)
    return os.path.isfile(root / path) if told is None else path in told  # noqa: PTH113 (no name raises)


def folders_in(root: Path) -> list[Path]:
    """Folders right below the data root, of the disk and of the listing, by name."""
    told = listing_of(root) or frozenset()
    named = {root / path.partition("/")[0] for path in told if "/" in path}
    return sorted(named.union(p for p in root.iterdir() if p.is_dir()))


def require_root(root: Path, card: Card) -> Path:
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder. Give the {card.name} files with --data-root; {card.access}")
    return root


def find(root: Path, patterns: Sequence[str], depth: int = 3) -> list[Path]:
    """Files below `root` whose name matches a pattern, nearest first, then by name. Folders of images
    are not descended into further than `depth`."""
    found: list[Path] = []
    level = [root]
    for _ in range(depth + 1):
        below: list[Path] = []
        for folder in level:
            entries = sorted(os.scandir(folder), key=lambda e: e.name)
            if len(entries) > 5000:
                below_here: list[Path] = []
            else:
                below_here = [Path(e.path) for e in entries if e.is_dir() and not e.name.startswith(".")]
            below += below_here
            for pattern in patterns:
                found += [Path(e.path) for e in entries if e.is_file() and Path(e.name).match(pattern)]
        level = below[:500]
    return list(dict.fromkeys(found))


def find_one(root: Path, patterns: Sequence[str], card: Card, what: str, depth: int = 3) -> Path:
    """The nearest match. Raises DataError with the names that were looked for."""
    found = find(root, patterns, depth)
    if not found:
        names = " or ".join(patterns)
        command = shlex.join(["bench", "data", "check", card.name, "--data-root", str(root)])
        raise DataError(f"{root}: no {what} ({names}). Check --data-root; `{command}` says more.")
    return found[0]


def image_index(root: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> dict[str, list[str]]:
    """File name → paths below `root` (posix, relative), found by one walk. Linked folders are followed,
    each real folder once."""
    index: dict[str, list[str]] = {}
    told = listing_of(root)
    if told is not None:
        for path in sorted(told):
            if path.lower().endswith(tuple(suffixes)):
                index.setdefault(path.rpartition("/")[2], []).append(path)
        return index
    base = str(root)
    visited = {os.path.realpath(base)}
    for folder, folders, files in os.walk(base, onerror=_stop, followlinks=True):
        fresh = []
        for name in sorted(folders):
            real = os.path.realpath(os.path.join(folder, name))  # noqa: PTH118
            if real not in visited:
                visited.add(real)
                fresh.append(name)
        folders[:] = fresh
        relative = os.path.relpath(folder, base).replace(os.sep, "/")
        prefix = "" if relative == "." else f"{relative}/"
        for name in files:
            if name.lower().endswith(tuple(suffixes)):
                index.setdefault(name, []).append(prefix + name)
    return index


def _stop(problem: OSError) -> None:
    """A folder that cannot be read: without this its images would be called absent."""
    raise problem


def by_stem(index: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """An `image_index` by file names without their suffix."""
    out: dict[str, list[str]] = {}
    for name, places in index.items():
        out.setdefault(os.path.splitext(name)[0], []).extend(places)  # noqa: PTH122  (thousands)
    return out


def only(root: Path, name: str, places: Sequence[str]) -> str:
    """The one place of an image. Raises DataError where several folders have a file of that name: one may be
    a copy of another size or depth, and the names of folders would decide which is read."""
    if len(places) > 1:
        raise DataError(f"{root}: image '{name}' is in several folders ({places[0]}, {places[1]}). Keep one.")
    return places[0]


def below(root: Path, path: str, where: str) -> str:
    """A relative path that stays inside the data root. Raises DataError for one that leaves it."""
    clean = os.path.normpath(path.replace("\\", "/")).replace(os.sep, "/")
    if clean.startswith("../") or clean == ".." or clean.startswith("/") or ":" in clean.split("/")[0]:
        raise DataError(f"{where}: path '{path}' leaves the data root. Use the official file.")
    return clean


def relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
