"""What is known of a module's code is used again only while its file is the one that was read."""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.core import kept_code, reuse


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of two modules, of which one imports a name of the package; a folder that keeps its code."""
    folder = tmp_path / "known_package"
    folder.mkdir()
    write(folder / "__init__.py", "low = 1\n")
    write(folder / "top.py", "from known_package import low\nVALUE = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(reuse, "ROOTS", ("known_package",))
    monkeypatch.setattr(kept_code, "SETTLED_NS", 0)
    monkeypatch.setattr(reuse, "_kept", None)
    yield folder
    for name in [n for n in sys.modules if n.startswith("known_package")]:
        del sys.modules[name]


def key(folder: Path) -> str:
    """As another process would find it."""
    for memo in (reuse._code, reuse._file_of, reuse.source):
        memo.cache_clear()
    sys.path_importer_cache.clear()
    reuse._kept = None
    reuse.keep_code_in(folder.parent / "cache" / "code.json")
    return reuse.source("known_package.top")


def test_code_that_is_known_is_not_parsed(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(package)
    monkeypatch.setattr(ast, "parse", lambda *_, **__: pytest.fail("parsed again"))
    assert key(package) == before


@pytest.mark.parametrize("text", ["VALUE = 22\n", "VALUE = 2\n"])
def test_an_edited_module_has_another_key_with_equal_size_and_time_too(package: Path, text: str) -> None:
    before, status = key(package), (package / "top.py").stat()
    assert key(package) == before
    write(package / "top.py", f"from known_package import low\n{text}")
    os.utime(package / "top.py", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert key(package) != before


def test_a_module_that_was_put_in_its_place_is_read(package: Path) -> None:
    before, status = key(package), (package / "top.py").stat()
    other = package / "other.txt"
    write(other, "from known_package import low\nVALUE = 3\n")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(package / "top.py")
    assert key(package) != before


def test_a_name_that_became_a_module_is_followed(package: Path) -> None:
    before = key(package)
    write(package / "low.py", "VALUE = 1\n")
    after = key(package)
    assert after != before
    write(package / "low.py", "VALUE = 2\n")
    assert key(package) not in (before, after)


def test_what_other_rules_made_counts_as_nothing(package: Path) -> None:
    before, place = key(package), package.parent / "cache" / "code.json"
    text = place.read_text(encoding="utf-8")
    digest = reuse._code("known_package.top", frozenset(reuse.ROOTS))[0]
    write(place, text.replace(digest, "0" * 64))
    assert key(package) != before, "else this test shows nothing"
    rules = json.loads(text)["rules"]
    write(place, text.replace(digest, "0" * 64).replace(rules, "1" * 64))
    assert key(package) == before


def test_what_may_still_change_within_one_tick_is_not_kept(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_code, "SETTLED_NS", 10**12)
    key(package)
    assert not (package.parent / "cache" / "code.json").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"rules": 1}', '{"rules": "RULES", "code": {"FILE": [1]}}'])
def test_damage_counts_as_nothing(package: Path, text: str) -> None:
    before, place = key(package), package.parent / "cache" / "code.json"
    rules = json.loads(place.read_text(encoding="utf-8"))["rules"]
    write(place, text.replace("RULES", rules).replace("FILE", str(package / "top.py")))
    assert key(package) == before


def test_a_folder_that_takes_no_file_keeps_nothing(package: Path) -> None:
    write(package.parent / "cache", "a file")
    assert key(package) == key(package)
