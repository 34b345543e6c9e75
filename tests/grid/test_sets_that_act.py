"""A `--set` that every method of a run has a value of its own for would train nothing anew: it is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmark.core.errors import ParamsError
from benchmark.grid.layout import Project
from benchmark.grid.request import Request, plan


@pytest.fixture
def project(tmp_path: Path, root: Path) -> Project:
    shutil.copy(root / "params.yaml", tmp_path / "params.yaml")
    return Project(tmp_path)


@pytest.mark.parametrize(("method", "dataset", "item"), [
    ("clip", "padchest", "training.learning_rate=1e9"),
    ("all", "main", "training.weight_decay=0.3"),
    ("clip", "ct_rate", "training.learning_rate=0.01"),
])  # fmt: skip
def test_a_setting_that_methods_have_of_their_own_is_refused(project, method, dataset, item) -> None:
    """A rate of 1e9 printed the row of the configured one, as trained with it."""
    said = rf"--set {item.partition('=')[0]}: nothing in this run reads it\. .*set method\.clip\.training\."
    with pytest.raises(ParamsError, match=said):
        plan(project, Request(method, dataset, sets=(item,)))


@pytest.mark.parametrize("items", [
    ("training.epochs=3",),
    ("method.clip.training.learning_rate=0.01",),
    ("method.clip.training={}", "training.learning_rate=0.01"),
])  # fmt: skip
def test_one_that_acts_gets_a_cell_of_its_own(project, items) -> None:
    [cell] = plan(project, Request("clip", "padchest", sets=items)).cells
    assert cell.name.startswith("clip-main-")
