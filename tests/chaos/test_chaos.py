"""A few kills of one small cell; `make chaos` makes a hundred, and other trouble."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.core import files
from benchmark.core.files import atomic_path, write_text

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals and forkserver are those of Unix")
def test_killed_and_starved_runs_end_as_undisturbed_ones(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from tests.chaos.campaign import Chaos, limit_files
from tests.chaos.cell import Reference, Runner
from functools import partial
if __name__ == "__main__":
    base, runner = Path({str(tmp_path)!r}), Runner()
    chaos = Chaos(runner, Reference.make(runner, base / "project"), base)
    rows = [*chaos.kills(3, seed=1), chaos.starved("file-size limit", [partial(limit_files, 20 << 10)])]
    assert sum(row.hit for row in rows) >= 4, rows
    assert not any(row.faults for row in rows), rows
"""
    (tmp_path / "script.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]


KILLED = """
import os, signal, sys
from pathlib import Path
from benchmark.core.files import atomic_path
with atomic_path(Path(sys.argv[1]) / "a.txt") as path:
    path.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_goes_with_the_next_writer(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / ".git").mkdir()
    (tmp_path / f".other.0123abcd-{2**22 - 1}-x").write_text("of another machine")
    write_text(tmp_path / "b.txt", "b")
    kept = {".git", f".other.0123abcd-{2**22 - 1}-x", "b.txt"}
    assert {p.name for p in tmp_path.iterdir()} == kept
    with atomic_path(tmp_path / "c.txt") as ours:
        files._remove_left.cache_clear()
        write_text(tmp_path / "d.txt", "d")
        assert ours.exists(), "a file that a living process writes stays"
        ours.write_text("c")
    assert {p.name for p in tmp_path.iterdir()} == {*kept, "c.txt", "d.txt"}
