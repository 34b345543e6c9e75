"""A project with results, a bundle of one of its cells, and a clone that has neither results nor data."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.exchange.bundles import DATASET, run
from tests.reporting.evidence_case import PARAMS, build


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("home"), images=160)


@pytest.fixture(scope="module")
def exported(home, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out") / "bundle"
    code = run(home, "export", "carzero-main", "--dataset", DATASET, "--site", "Site A", "--out", out)
    assert code == 0
    return out


@pytest.fixture
def bundle(exported, tmp_path) -> Path:
    return shutil.copytree(exported, tmp_path / "bundle")


@pytest.fixture
def clone(tmp_path) -> Path:
    """Another clone, which has neither results nor data."""
    folder = tmp_path / "clone"
    folder.mkdir()
    (folder / "params.yaml").write_text(PARAMS, encoding="utf-8")
    return folder
