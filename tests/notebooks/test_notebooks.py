"""The notebooks of docs/ run from the first cell to the last, offline."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_every_notebook_runs(root, tmp_path) -> None:
    """By nbmake, all in one process of pytest, each in a kernel of its own."""
    pytest.importorskip("nbmake")
    folder = root / "docs" / "notebooks"
    assert len(list(folder.glob("*.ipynb"))) == 3
    given = {"PYTHONPATH": str(root), "IPYTHONDIR": str(tmp_path), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--nbmake", "-p", "no:cacheprovider", str(folder)],
        cwd=tmp_path, env={**os.environ, **given}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
