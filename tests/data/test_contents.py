"""A folder is known by what lies below it, without reading every image."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.data import contents
from benchmark.data.contents import content_hashes, fingerprint


def old(path: Path) -> None:
    stamp = time.time_ns() - 10**10
    os.utime(path, ns=(stamp, stamp))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "images").mkdir(parents=True)
    (root / "labels.csv").write_text("image,label\na.png,1\nb.png,0\n")
    for name in ("a", "b"):
        (root / "images" / f"{name}.png").write_bytes(name.encode() * 20)
    for path in root.rglob("*.*"):
        old(path)
    return root


def swap(root: Path) -> None:
    (root / "labels.csv").write_text("image,label\na.png,0\nb.png,1\n")


def swap_within_the_second(root: Path) -> None:
    before = (root / "labels.csv").stat().st_mtime_ns
    swap(root)
    os.utime(root / "labels.csv", ns=(before + 1, before + 1))


@pytest.mark.parametrize(
    "change",
    [
        swap,
        swap_within_the_second,
        lambda root: (root / "images" / "a.png").write_bytes(b"c" * 20),
        lambda root: (root / "images" / "a.png").rename(root / "images" / "c.png"),
        lambda root: (root / "images" / "b.png").unlink(),
        lambda root: (root / "more.txt").write_text(""),
    ],
)
def test_every_change_below_a_root_changes_its_fingerprint(
    tree: Path, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    before = fingerprint(tree, tmp_path / "cache")
    assert fingerprint(tree, tmp_path / "cache") == before
    change(tree)
    assert fingerprint(tree, tmp_path / "cache") != before


def test_a_touched_table_is_the_same_and_images_are_never_read(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(contents, "_hash_of", lambda name: read.append(Path(name).name) or "hash")
    before = fingerprint(tree, tmp_path / "cache")
    assert read == ["labels.csv"]
    fingerprint(tree, tmp_path / "cache")
    assert read == ["labels.csv"], "known by size and time"
    os.utime(tree / "labels.csv", ns=(1, 1))
    assert fingerprint(tree, tmp_path / "cache") == before
    assert read == ["labels.csv"] * 2


def test_a_link_that_leads_back_ends(tree: Path, tmp_path: Path) -> None:
    (tree / "images" / "back").symlink_to(tree)
    assert fingerprint(tree, tmp_path / "cache")


def test_a_file_that_changed_a_moment_ago_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("a")
    stamp = time.time_ns()
    os.utime(path, ns=(stamp, stamp))
    (first,) = content_hashes([path], tmp_path / "cache")
    path.write_text("b")
    os.utime(path, ns=(stamp, stamp))
    assert content_hashes([path], tmp_path / "cache") != [first]
