"""One writer at a time, across real processes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.core.errors import BenchError
from benchmark.core.locks import only_writer

HOLD = """
import sys, time
from benchmark.core.locks import only_writer
with only_writer(sys.argv[1]):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
    open(sys.argv[1] + ".left", "w").close()
"""


def holder(lock: Path, seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_waits_for_the_first_and_says_so(tmp_path: Path) -> None:
    lock, said = tmp_path / "cell", []
    first = holder(lock, 0.5)
    with only_writer(lock, lambda: said.append("waiting")):
        assert (tmp_path / "cell.left").exists()
    assert said == ["waiting"]
    assert first.wait() == 0
    with only_writer(lock, lambda: said.append("waiting again")):
        pass
    assert said == ["waiting"]


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    lock = tmp_path / "cell"
    first = holder(lock, 600)
    first.kill()
    first.wait()
    with only_writer(lock, lambda: (_ for _ in ()).throw(AssertionError("a dead process holds no lock"))):
        pass
    assert not (tmp_path / "cell.left").exists()


@pytest.mark.parametrize(
    ("error", "said"), [(errno.EACCES, "Run where you may write"), (errno.EROFS, "Run where you may write"),
                        (errno.ENOLCK, "Use a file system with file locks")]
)  # fmt: skip
def test_a_lock_that_cannot_be_had_says_why(tmp_path: Path, monkeypatch, error: int, said: str) -> None:
    """The folder of another user was told as a file system without locks."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr("benchmark.core.locks.FileLock.acquire", refused)
    with pytest.raises(BenchError, match=said), only_writer(tmp_path / "cell"):
        pass
