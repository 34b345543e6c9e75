"""What is reused was made under an equal key and is still as it was written."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from benchmark.core import reuse as module
from benchmark.core.errors import BenchError
from benchmark.core.reuse import Key, Reused, key_of, record, reuse, source


def make(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def again(folder: Path, key: Key, text: str = "made") -> Reused:
    folder.mkdir(exist_ok=True)
    out = folder / "out.txt"
    return reuse(folder / "out.mark.json", key, [out], lambda: make(out, text))


def test_same_key_is_reused_and_another_key_says_what_changed(tmp_path: Path) -> None:
    assert again(tmp_path, key_of(a=1, b="x")) == Reused(False)
    assert again(tmp_path, key_of(b="x", a=1), "again") == Reused(True)
    assert again(tmp_path, key_of(a=2, b="x"), "again") == Reused(False, ("a",))
    assert (tmp_path / "out.txt").read_text() == "again"


@pytest.mark.parametrize("text", ["altered", "maxe"])
def test_an_altered_file_is_made_again(tmp_path: Path, text: str) -> None:
    again(tmp_path, key_of(a=1))
    (tmp_path / "out.txt").write_text(text)
    assert again(tmp_path, key_of(a=1)) == Reused(False, ("files",))
    assert (tmp_path / "out.txt").read_text() == "made"


def test_a_copied_file_with_another_time_is_reused(tmp_path: Path) -> None:
    again(tmp_path, key_of(a=1))
    make(tmp_path / "out.txt", "made")
    assert again(tmp_path, key_of(a=1), "never").reused


def test_other_content_of_equal_size_under_the_old_time_is_made_again(tmp_path: Path) -> None:
    """As `cp -p`, `rsync -t` and `touch -r` bring an older file back."""
    again(tmp_path, key_of(a=1))
    out = tmp_path / "out.txt"
    before = out.stat()
    make(out, "maxe")
    os.utime(out, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (out.stat().st_size, out.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert again(tmp_path, key_of(a=1)) == Reused(False, ("files",))
    assert out.read_text() == "made"


@pytest.mark.parametrize("takes", [True, False], ids=["", "read-only"])
def test_a_copied_folder_and_a_mark_of_before_are_read_once_and_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes: bool
) -> None:
    again(tmp_path / "own", key_of(a=1))
    shutil.copytree(tmp_path / "own", tmp_path / "copy")
    mark = tmp_path / "own" / "out.mark.json"
    of_before = json.loads(mark.read_text())
    del of_before["files"]["out.txt"]["ctime_ns"]
    mark.write_text(json.dumps(of_before))
    reads: list[Path] = []
    read = module.hash_file
    monkeypatch.setattr(module, "hash_file", lambda path: reads.append(path) or read(path))
    if not takes:

        def refused(*_: object) -> None:
            raise BenchError("no such rights")

        monkeypatch.setattr(module, "write_json", refused)
    for folder in (tmp_path / "own", tmp_path / "copy"):
        reads.clear()
        assert all(again(folder, key_of(a=1), "never").reused for _ in range(2))
        assert len(reads) == (1 if takes else 2)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": 1}', '{"key": "x", "parts": [], "files": {}}'])
def test_a_damaged_mark_counts_as_none(tmp_path: Path, text: str) -> None:
    again(tmp_path, key_of(a=1))
    (tmp_path / "out.mark.json").write_text(text)
    assert not again(tmp_path, key_of(a=1)).reused


def test_a_killed_make_leaves_nothing_to_reuse(tmp_path: Path) -> None:
    again(tmp_path, key_of(a=1))
    out = tmp_path / "out.txt"

    def killed() -> None:
        out.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reuse(tmp_path / "out.mark.json", key_of(a=2), [out], killed)
    assert not again(tmp_path, key_of(a=1)).reused


def test_a_file_that_was_not_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"missing\.txt: was not written"):
        record(tmp_path / "mark.json", key_of(a=1), [tmp_path / "missing.txt"])
    assert not (tmp_path / "mark.json").exists()


def test_marks_hold_hashes_and_no_settings(tmp_path: Path) -> None:
    again(tmp_path, key_of(text="report of a patient"))
    assert "patient" not in json.dumps(json.loads((tmp_path / "out.mark.json").read_text()))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "keyed_package"
    folder.mkdir()
    make(folder / "__init__.py", "")
    make(folder / "low.py", "VALUE = 1\n")
    make(folder / "typed.py", "VALUE = 1\n")
    make(
        folder / "top.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from keyed_package import typed\n"
        "def use():\n    from . import low\n    return low.VALUE\n",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(module, "ROOTS", ("keyed_package",))
    yield folder
    for name in [n for n in sys.modules if n.startswith("keyed_package")]:
        del sys.modules[name]


def key() -> str:
    for kept in (module._code, module._file_of, source):
        kept.cache_clear()
    return source("keyed_package.top")


def test_source_follows_imports_inside_functions_and_not_those_for_types(package: Path) -> None:
    before = key()
    make(package / "typed.py", "VALUE = 2\n")
    assert key() == before
    make(package / "low.py", "VALUE = 2\n")
    assert key() != before


def test_comments_docstrings_and_layout_do_not_count(package: Path) -> None:
    before = key()
    make(package / "low.py", '"""A docstring."""\n\n# A comment.\nVALUE    =    1\n')
    assert key() == before


def test_source_of_a_missing_module() -> None:
    with pytest.raises(ModuleNotFoundError):
        source("benchmark.nowhere")
