"""The cache of decoded images: content keys, resuming, unreadable files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.core.errors import DataError
from benchmark.core.preprocessing import Preprocessing
from benchmark.data import contents
from benchmark.data import decoded as module
from benchmark.data.contents import content_hashes
from benchmark.data.decoded import decoded
from benchmark.data.pixels import preprocess, read_pixels

STEPS = Preprocessing(size=24)


def images(folder: Path, count: int, side: int = 40) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    paths = [folder / f"{i}.png" for i in range(count)]
    for path in paths:
        Image.fromarray(rng.integers(0, 65536, (side, side - 8)).astype(np.uint16)).save(path)
    return paths


def age(paths: list[Path]) -> None:
    """Let the files look as if they had not changed for a while."""
    for path in paths:
        os.utime(path, (time.time() - 100, time.time() - 100))


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(module, "preprocess", fail)


def test_pixels_are_those_of_preprocess(tmp_path: Path) -> None:
    paths = images(tmp_path / "in", 5)
    got = decoded(paths, STEPS, tmp_path / "cache", workers=1)
    assert got.pixels.shape == (5, 24, 24)
    assert got.pixels.dtype == np.uint8
    assert isinstance(got.pixels, np.memmap)
    assert len(got) == 5
    for row, path in enumerate(paths):
        np.testing.assert_array_equal(got.pixels[row], preprocess(read_pixels(path), STEPS))
    assert got.kept.tolist() == list(range(5))
    assert not got.unreadable
    assert not got.reused


def test_processes_give_the_same_bytes(tmp_path: Path) -> None:
    paths = images(tmp_path / "in", 70, side=12)
    steps: list[tuple[int, int]] = []
    many = decoded(paths, STEPS, tmp_path / "a", workers=2, on_progress=lambda *s: steps.append(s))
    one = decoded(paths, STEPS, tmp_path / "b", workers=1)
    assert many.key == one.key
    assert (tmp_path / "a" / many.key / "pixels.npy").read_bytes() == (
        tmp_path / "b" / one.key / "pixels.npy"
    ).read_bytes()
    assert steps[0] == (0, 70)
    assert steps[-1] == (70, 70)


def test_key_is_content_order_and_preprocessing(tmp_path: Path) -> None:
    paths = images(tmp_path / "in", 3)
    shutil.copytree(tmp_path / "in", tmp_path / "moved")
    moved = [tmp_path / "moved" / p.name for p in paths]
    key = decoded(paths, STEPS, tmp_path / "cache", workers=1).key
    assert decoded(moved, STEPS, tmp_path / "cache", workers=1).key == key
    assert decoded(paths[::-1], STEPS, tmp_path / "cache", workers=1).key != key
    assert decoded(paths, Preprocessing(size=24, crop=20), tmp_path / "cache", workers=1).key != key
    assert decoded(paths, Preprocessing(size=24, fit="crop"), tmp_path / "cache", workers=1).key != key


def test_second_call_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = images(tmp_path / "in", 4)
    age(paths)
    first = decoded(paths, STEPS, tmp_path / "cache", workers=1)
    forbid_decoding(monkeypatch)
    monkeypatch.setattr(contents, "_hash_of", lambda name: pytest.fail(f"read {name} again"))
    second = decoded(paths, STEPS, tmp_path / "cache", workers=1)
    assert second.reused
    assert second.key == first.key
    assert second.hashes == first.hashes


def test_rewritten_files_with_equal_bytes_are_only_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = images(tmp_path / "in", 4)
    first = decoded(paths, STEPS, tmp_path / "cache", workers=1)
    images(tmp_path / "in", 4)
    forbid_decoding(monkeypatch)
    assert decoded(paths, STEPS, tmp_path / "cache", workers=1).key == first.key


def test_a_changed_file_is_noticed_even_at_once(tmp_path: Path) -> None:
    paths = images(tmp_path / "in", 3)
    before = decoded(paths, STEPS, tmp_path / "cache", workers=1)
    stat = paths[1].stat()
    data = paths[2].read_bytes()
    Image.fromarray(np.full((40, 32), 9, np.uint16)).save(paths[1])
    after = decoded(paths, STEPS, tmp_path / "cache", workers=1)
    assert after.key != before.key
    assert (after.pixels[1] == 0).all()
    paths[1].write_bytes(data)
    os.utime(paths[1], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    np.testing.assert_array_equal(
        decoded(paths, STEPS, tmp_path / "cache", workers=1).pixels[1], before.pixels[2]
    )


def test_unreadable_images_raise_or_are_listed(tmp_path: Path) -> None:
    paths = images(tmp_path / "in", 5)
    whole = paths[1].read_bytes()
    paths[1].write_bytes(whole[:200])
    paths[3].unlink()
    with pytest.raises(DataError, match=r"1\.png.*truncated.*2 of 5"):
        decoded(paths, STEPS, tmp_path / "cache", workers=1)
    got = decoded(paths, STEPS, tmp_path / "cache", workers=1, unreadable="drop")
    assert got.kept.tolist() == [0, 2, 4]
    assert [Path(u.path).name for u in got.unreadable] == ["1.png", "3.png"]
    assert all(Path(u.path).name in u.reason for u in got.unreadable)
    for row, place in enumerate(got.kept):
        np.testing.assert_array_equal(got.pixels[row], preprocess(read_pixels(paths[place]), STEPS))
    again = decoded(paths, STEPS, tmp_path / "cache", workers=1, unreadable="drop")
    assert again.reused
    assert again.unreadable == got.unreadable
    with pytest.raises(DataError, match=r"1\.png"):
        decoded(paths, STEPS, tmp_path / "cache", workers=1)
    paths[1].write_bytes(whole)
    mended = decoded(paths, STEPS, tmp_path / "cache", workers=1, unreadable="drop")
    assert mended.kept.tolist() == [0, 1, 2, 4]


def test_nothing_readable_and_nothing_asked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images"):
        decoded([], STEPS, tmp_path / "cache")
    with pytest.raises(DataError, match="None of the 1 images"):
        decoded([tmp_path / "none.png"], STEPS, tmp_path / "cache", unreadable="drop")


def test_a_killed_call_is_resumed(tmp_path: Path) -> None:
    paths = images(tmp_path / "in", 200, side=10)
    marker = tmp_path / "started"
    code = f"""
import os, signal
from pathlib import Path
from benchmark.core.preprocessing import Preprocessing
from benchmark.data.decoded import decoded
def stop(done, total):
    if done >= 96:
        Path({str(marker)!r}).write_text(str(done))
        os.kill(os.getpid(), signal.SIGKILL)
decoded(sorted(Path({str(tmp_path / "in")!r}).iterdir()), Preprocessing(size=24), {str(tmp_path / "cache")!r},
        workers=1, on_progress=stop)
"""
    finished = subprocess.run([sys.executable, "-c", code], check=False)
    assert finished.returncode == -signal.SIGKILL
    steps: list[int] = []
    got = decoded(
        sorted(paths), STEPS, tmp_path / "cache", workers=1, on_progress=lambda d, _: steps.append(d)
    )
    assert steps[0] >= 96 - 32
    assert steps[-1] == 200
    assert got.key == decoded(sorted(paths), STEPS, tmp_path / "fresh", workers=1).key
    np.testing.assert_array_equal(
        got.pixels, np.stack([preprocess(read_pixels(p), STEPS) for p in sorted(paths)])
    )
    assert not list((tmp_path / "cache").glob("partial-*"))


def test_content_hashes_of_missing_files_are_blank(tmp_path: Path) -> None:
    paths = images(tmp_path / "in", 2)
    hashes = content_hashes([*paths, tmp_path / "none.png"], tmp_path / "cache")
    assert [len(h) for h in hashes] == [64, 64, 0]
