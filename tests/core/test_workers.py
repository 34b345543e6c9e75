"""Workers end with the process that started them; one that is killed is one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmark.core.errors import BenchError
from benchmark.core.workers import worker_pool

ROOT = Path(__file__).parents[2]
PARENT = """
import os, time
from benchmark.core.workers import worker_pool
if __name__ == "__main__":
    with worker_pool(2) as pool:
        print(*{pool.submit(os.getpid).result() for _ in range(20)}, flush=True)
        time.sleep(600)
"""


def test_workers_end_with_a_killed_parent(tmp_path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "parent.py")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert workers
        parent.kill()
        gone, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
    assert len(gone) == len(workers)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is Unix's")
def test_a_killed_worker_is_one_line() -> None:
    with (
        pytest.raises(BenchError, match="a worker process was killed.*with fewer processes"),
        worker_pool(1) as pool,
    ):
        os.kill(pool.submit(os.getpid).result(), signal.SIGKILL)
        time.sleep(0.1)
        pool.submit(os.getpid).result()
