"""A cell of params.yaml can be followed step by step, as `python -m perf.calm curves` does."""

from __future__ import annotations

import sys

import pytest
from training_cases import make_data

from benchmark.grid.params import main_cell
from benchmark.grid.params_file import load_params
from benchmark.training.validation import HeldOut
from methods.base import METHODS
from perf.divergence import MEANS, compared, follow


@pytest.mark.parametrize("method", ["clip", "brgsa"])
def test_two_trainings_from_the_same_features_do_not_part(root, method, monkeypatch) -> None:
    data = make_data(240)
    with monkeypatch.context() as alone:
        alone.delitem(sys.modules, "methods.base")  # a script reads params.yaml before torch and the methods
        cell = main_cell(load_params(root / "params.yaml"), method)
    assert type(cell.options) is not METHODS.get(method).Config
    own = next(iter(MEANS.values())).of(
        cell.model_copy(
            update={"training": cell.training.model_copy(update={"epochs": 10, "batch_size": 16})}
        )
    )
    held = HeldOut(data)
    one, other = (follow(data, own, next(iter(MEANS.values())), 0, 0.5, held, 0) for _ in range(2))
    rows = compared(one, other, held)
    assert rows
    assert all(row["value"] == 0 for row in rows if row["measured"] in ("weights", "scores"))
