"""Bundles as their tests call and change them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.core.files import read_json, write_json
from benchmark.core.hashing import hash_file
from benchmark.core.tables import read_table, write_table

DATASET = "chexpert"


def run(home: Path, *arguments: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_ALIGNBENCH_HOME", str(home))
        return main([str(a) for a in arguments])


def refused(capsys, home: Path, *arguments: object) -> str:
    capsys.readouterr()
    assert run(home, *arguments) == 2
    line = capsys.readouterr().err.strip()
    assert len(line.splitlines()) == 1
    return line


def edit(bundle: Path, name: str, change) -> None:
    """Change a table of a bundle as its author would, with the hash to it."""
    frame, meta = read_table(bundle / name)
    write_table(bundle / name, change(frame), meta)
    relist(bundle)


def relist(bundle: Path, **fields: object) -> None:
    record = read_json(bundle / "bundle.json") | fields
    names = [p.name for p in bundle.iterdir() if p.suffix == ".parquet"]
    record["files"] = {name: hash_file(bundle / name) for name in names}
    write_json(bundle / "bundle.json", record)
