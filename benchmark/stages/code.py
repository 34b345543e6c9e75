"""Stage code: what is installed, as one small file that stages outside the checkout depend on."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmark.core import numerics
from benchmark.core.errors import BenchError
from benchmark.core.files import write_json
from benchmark.core.hashing import hash_file, hash_strings
from benchmark.core.plug_ins import data_of, place_of, plug_ins
from benchmark.core.registry import offered
from benchmark.data.cards import datasets_folder
from benchmark.grid.layout import Project
from benchmark.grid.start import CODE_INDEX

SUFFIXES = (".py", ".yaml")
COMPUTE = ("numpy", "pandas", "pyarrow", "scipy")
"""Packages beside this one that compute with saved scores."""


def write_code_index(project: Project) -> str:
    """data/code.json: a hash of each package that computes: this one, its methods and cards, and plug-ins.

    Equal code gives equal bytes, so that DVC runs a stage again only where something changed. Which cells are
    then trained again is decided by their keys. Raises BenchError for a plug-in without a file.
    """
    found = packages()
    ours = ("benchmark", "methods", "datasets")
    hashes = {
        name: _hash(path) if name in ours else hash_strings([_hash(path), *data_of(path)])
        for name, path in sorted(found.items())
    }
    write_json(project.root / CODE_INDEX, hashes)
    return f"code of {', '.join(sorted(found))}"


def packages() -> dict[str, Path]:
    """Name → folder, or file of one module, of all that computes here. Raises BenchError for a plug-in that
    has no file."""
    found = {
        "benchmark": _package("benchmark"),
        "methods": _package("methods"),
        "datasets": datasets_folder(),
    }
    for _, points in sorted(offered().items()):
        for point in points:
            name = point.module.split(".")[0]
            found.setdefault(name, _package(name))
    return {**plug_ins(), **found}


@lru_cache(maxsize=1)
def code_digest() -> str:
    """One hash of the package and its methods, as they were installed here when it was first asked for."""
    return hash_strings(_hash(_package(name)) for name in ("benchmark", "methods"))


def computed_with() -> dict[str, Any]:
    """What computes with saved scores beside this code, as parts of a key: the kernels of the processor and
    other packages."""
    return {"numerics": numerics.state(), "packages": {name: version(name) for name in COMPUTE}}


def _package(name: str) -> Path:
    """The folder of a package, or the file of a module."""
    place = place_of(name)
    if place is None:
        raise BenchError(f"plug-in {name}: has no file. Install it again, or take it away.")
    return place


def _hash(path: Path) -> str:
    if path.is_file():
        return hash_file(path)
    files = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and "_project" not in p.parts)
    return hash_strings(part for p in files for part in (p.relative_to(path).as_posix(), hash_file(p)))
