"""What is reused by content is made again when the code that made it changes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmark.core.hashing import hash_sources


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hashed_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "part.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return folder


def test_an_edit_anywhere_in_a_package_changes_the_key(package: Path) -> None:
    before = hash_sources("hashed_package")
    (package / "part.py").write_bytes(b"VALUE = 1\r\n")
    hash_sources.cache_clear()
    assert hash_sources("hashed_package") == before
    (package / "part.py").write_text("VALUE = 2\n")
    hash_sources.cache_clear()
    assert hash_sources("hashed_package") != before


def test_one_module_does_not_see_its_neighbours(package: Path) -> None:
    (package / "other.py").write_text("x = 1\n")
    before = hash_sources("hashed_package.part")
    (package / "other.py").write_text("x = 2\n")
    hash_sources.cache_clear()
    assert hash_sources("hashed_package.part") == before
    with pytest.raises(ModuleNotFoundError, match="hashed_package.missing"):
        hash_sources("hashed_package.missing")
