"""A kept value is found once under each key, and never where the key cannot be told or has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.core import kept_value as module
from benchmark.core.errors import BenchError
from benchmark.core.kept_value import kept_value
from benchmark.core.reuse import Key, key_of


def found(place: Path, key: Key | None, value: object = None) -> bool:
    """Whether the value had to be found."""
    calls: list[int] = []
    given = value or {"a": [1, "é"]}
    assert kept_value(place, lambda: key, lambda: calls.append(1) or given) == given
    return bool(calls)


def test_a_value_is_found_once_under_each_key(tmp_path: Path) -> None:
    place = tmp_path / "folder" / "value.json"
    assert [found(place, key_of(a=1)) for _ in range(3)] == [True, False, False]
    assert found(place, key_of(a=2), "other")
    assert not found(place, key_of(a=2), "other")
    assert found(place, key_of(a=1)), "a file holds one value"


def test_nothing_is_kept_without_a_key_or_of_what_changes_meanwhile(tmp_path: Path) -> None:
    place = tmp_path / "value.json"
    assert all(found(place, None) for _ in range(2))
    keys = iter([key_of(a=1), key_of(a=2)])
    kept_value(place, lambda: next(keys), lambda: "old")
    assert not place.exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"key": 1}', "null"])
def test_a_damaged_file_counts_as_none(tmp_path: Path, text: str) -> None:
    place, key = tmp_path / "value.json", key_of(a=1)
    found(place, key)
    place.write_text(text)
    assert found(place, key)
    assert not found(place, key)


def test_a_folder_that_takes_no_file_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise BenchError("disk full")

    monkeypatch.setattr(module, "write_text", refused)
    assert all(found(tmp_path / "value.json", key_of(a=1)) for _ in range(2))
