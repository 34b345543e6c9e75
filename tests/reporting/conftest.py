from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from evidence_case import build


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Path:
    """A project with results of two methods, one ablation cell, other prompts, three seeds, two twins."""
    return build(tmp_path_factory.mktemp("project"))


@pytest.fixture
def inside(project, monkeypatch):
    monkeypatch.setenv("CXR_ALIGNBENCH_HOME", str(project))
    return project
