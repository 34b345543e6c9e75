"""Run the checks of many fixtures."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from benchmark.core.errors import BenchError
from benchmark.official.parity import cases
from benchmark.official.parity.check import Checker, ParityRow
from benchmark.official.parity.fixture import Fixture, find_fixtures, load_fixture
from benchmark.official.parity.registry import identify

__all__ = ["cases", "check_fixture", "find_fixtures", "run_parity", "worst_ratio"]


def check_fixture(fixture: Fixture) -> list[ParityRow]:
    """All rows of one fixture. Raises BenchError for an unknown kind or missing arrays."""
    kind = identify(fixture)
    checker = Checker(fixture)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        try:
            kind.run(fixture, checker)
        except BenchError as error:
            message = str(error)
            where = "" if message.startswith(str(fixture.path)) else f"{fixture.path}: "
            raise BenchError(f"{where}{message}") from error
        except Exception as error:  # a fixture is anyone's file, and its arrays meet the layers of torch
            reason = (str(error).splitlines() or [""])[0][:160]
            raise BenchError(
                f"{fixture.path}: does not fit the schema of {kind.name} ({type(error).__name__}: {reason})."
            ) from error
    return checker.finish()


def run_parity(paths: Iterable[Path | str]) -> list[ParityRow]:
    """Rows of every fixture under `paths`, in the order of the files."""
    return [row for path in find_fixtures(paths) for row in check_fixture(load_fixture(path))]


def worst_ratio(rows: Sequence[ParityRow]) -> float:
    """Largest difference over tolerance among the checked rows."""
    return max((row.ratio for row in rows if row.verdict != "unchecked"), default=0.0)
