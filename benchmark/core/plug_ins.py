"""What comes with plug-ins: all modules of the packages that offer them, not only those that they name."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import EntryPoint
from pathlib import Path

from benchmark.core.hashing import hash_file
from benchmark.core.registry import offered


def plug_ins() -> Mapping[str, Path]:
    """Name → folder of a package, or file of a module, of all that came with what is offered here: what the
    same package installed, and where it is run from its sources, what lies beside it."""
    return _plug_ins(tuple(sys.path))


@lru_cache(maxsize=1)
def _plug_ins(_path: tuple[str, ...]) -> Mapping[str, Path]:
    points = [point for _, group in sorted(offered().items()) for point in group]
    names = {name for point in points for name in _names(point)}
    return {name: place for name in sorted(names) if (place := place_of(name)) is not None}


def data_of(place: Path) -> Iterator[str]:
    """Path and hash of every file of a package that is no code; nothing for a single module."""
    for path in sorted(place.rglob("*")) if place.is_dir() else ():
        parts = path.relative_to(place).parts
        hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
        if path.is_file() and path.suffix != ".py" and not hidden:
            yield from ("/".join(parts), hash_file(path))


def place_of(name: str) -> Path | None:
    """The folder of a package, or the file of a module; None where there is none."""
    spec = None
    with suppress(ValueError):  # of a module that runs as a script
        spec = importlib.util.find_spec(name)
    if spec is None or not spec.origin or not spec.has_location:
        return None
    path = Path(spec.origin)
    return path.parent if path.name == "__init__.py" else path


def _names(point: EntryPoint) -> set[str]:
    """Names of the modules and packages that came with what an entry point names."""
    own = point.module.partition(".")[0]
    place = place_of(own)
    if place is None:
        return set()
    listed = (point.dist.files or ()) if point.dist is not None else ()
    named = {Path(file.parts[0]) for file in listed if file.suffix == ".py"}
    if not any(place.parent.glob("*.dist-info")):  # no folder of installed packages, but one of sources
        named |= set(_importable(place.parent.iterdir()))
    return {own, *(path.stem for path in named if path.stem.isidentifier())}


def _importable(paths: Iterable[Path]) -> Iterator[Path]:
    return (path for path in paths if path.suffix == ".py" or (path / "__init__.py").is_file())
