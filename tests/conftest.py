"""Shared fixtures. Tests run on the CPU, without a network, from one seed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.core import numerics

numerics.pin("portable")  # before torch and numpy are loaded by any test
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# A thread a worker: with two, those of two workers on two cores wait for each other for most of their time.
# Tests of several threads say how many they take.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Containers set it, users do not, and it hides what a process could not write when it ended.
os.environ.pop("PYTHONUNBUFFERED", None)

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
OFFICIAL = ROOT / "tests" / "official" / "fixtures"
OPT_IN = ("llm", "slurm", "ray", "stores")
"""Markers of tests that run only where `-m` names them: they need more than CI has."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files with a slow test go first: one that began last would keep a worker alone at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    asked = config.getoption("-m")
    for item in items:
        for name in OPT_IN:
            if name not in asked and item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=f"switched on by -m {name}"))


@pytest.fixture(autouse=True)
def native_kernels() -> Iterator[None]:
    """What a cell of one test applied to this process does not reach the next test: kernels, and that numbers
    below the smallest normal one count as zero, under which hypothesis draws no float."""
    yield
    if numerics.state() == "portable":
        numerics.apply("native")
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def official() -> Path:
    """Numbers of the official implementations that come with the checkout."""
    return OFFICIAL


@pytest.fixture(scope="session")
def shared() -> Path:
    """More official fixtures and small real data beside the checkout; tests of these skip without them."""
    if not SHARED.is_dir():
        pytest.skip("the folder of official fixtures is not beside this checkout")
    return SHARED
