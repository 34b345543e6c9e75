"""A file that is mapped into memory has its place on the disk before anything is written into it."""

from __future__ import annotations

import gc
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmark.core.errors import BenchError
from benchmark.core.files import mapped_array


def test_it_is_zeros_and_keeps_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    array = mapped_array(path, np.float16, (300, 7))
    assert not array.any()
    array[5] = 2
    array.flush()
    found = np.load(path)
    assert found.shape == (300, 7)
    assert found.dtype == np.float16
    assert found.sum() == 14
    if hasattr(os, "posix_fallocate"):
        assert path.stat().st_blocks * 512 >= found.nbytes


def test_a_disk_without_room_is_one_line(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        with pytest.raises(BenchError, match=r"a\.npy: cannot be written .*No space"):
            mapped_array(tmp_path / "a.npy", np.uint8, (4, 1024, 1024))
        assert not list(tmp_path.iterdir())
    finally:
        gc.collect()  # The frames of the error hold the file open until they are collected.
        subprocess.run(["umount", str(tmp_path)], check=True)
