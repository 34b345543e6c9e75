from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark.grid.layout import Project
from benchmark.reporting.examples import write_examples
from benchmark.reporting.outputs import PartReport
from benchmark.reporting.site.content import write_site
from benchmark.stages.examples import Example, SetExamples

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


@pytest.fixture(scope="module")
def page(project) -> str:
    maps = {"carzero": np.arange(16, dtype=np.uint8).reshape(4, 4) * 17}
    shown = [
        Example("Edema", kind, image, {"carzero": 0.9, "clip": 0.4}, maps)
        for kind, image in (("found", "i0001"), ("missed", "i0002"))
    ]
    grey = np.tile(np.arange(128, dtype=np.uint8), (128, 1))
    pixels = {"i0001": grey, "i0002": grey.T}
    weights = {"carzero-main": "b" * 64, "clip-main": "b" * 64}
    found = [SetExamples("chexpert", "twin", 0, weights, shown, pixels)]
    found.append(SetExamples("chestxray14", "twin", 0, {**weights, "clip-main": "0" * 64}, [], {}))
    write_examples(found, project / "reports" / "gallery")
    return write_site(PartReport(Project(project))).read_text(encoding="utf-8")
