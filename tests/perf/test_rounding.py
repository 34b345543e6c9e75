from __future__ import annotations

import numpy as np
import pytest

from benchmark.core.tables import TWIN_NOTICE
from benchmark.grid.layout import Project
from benchmark.grid.params_file import load_params
from benchmark.reporting.on_disk import OnDisk
from perf.rounding import Spread, changes, moved, table


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_every_value_moves_to_a_neighbour_and_the_same_in_each_call(dtype, tmp_path):
    array = np.random.default_rng(0).standard_normal((300, 7)).astype(dtype)
    array[0] = 0
    found = np.array(moved(array, 5, tmp_path, "a"))
    up = np.nextafter(array, dtype(np.inf))
    down = np.nextafter(array, dtype(-np.inf))
    assert found.dtype == dtype
    assert ((found == up) | (found == down)).all()
    assert 0.4 < (found == up).mean() < 0.6
    assert np.array_equal(found, moved(array, 5, tmp_path, "b"))
    assert not np.array_equal(found, moved(array, 6, tmp_path, "c"))


def row(run, value, cell="clip-main"):
    head = {"cell": cell, "dataset": "chexpert", "stratum": "all", "metric": "auroc"}
    return {**head, "run": run, "value": value}


def test_changes_are_to_the_run_of_the_same_cell_that_moves_nothing(tmp_path, root):
    rows = [row(0, 0.8), row(0, 0.7, "carzero-main"), row(1, 0.81), row(1, 0.69, "carzero-main"), row(2, 0.8)]
    found = changes(rows)
    assert list(found["change"]) == pytest.approx([0.01, -0.01, 0.0])
    (tmp_path / "reports").mkdir()
    here = tmp_path / "reports" / "rounding.csv"
    twins, official = (
        load_params(root / "params.yaml"),
        load_params(root / "params.yaml", None, ["data.roots.chexpert=x"]),
    )
    for evidence, alike, other in ((TWIN_NOTICE, twins, official), ("", official, twins)):
        found.assign(evidence=evidence).to_csv(here, index=False)
        read = OnDisk(Project(tmp_path), alike, {}, {}).rounding()
        assert read["clip-main", "chexpert", "all", "auroc"] == pytest.approx([0.01, 0.0])
        assert OnDisk(Project(tmp_path), other, {}, {}).rounding() == {}  # measured on other images
    assert OnDisk(Project(tmp_path / "elsewhere"), twins, {}, {}).rounding() == {}


def test_the_table_holds_rounding_against_seeds():
    shown = table([Spread("clip-main", "chexpert", 10, 0.002, 0.004, 3, 0.01)])
    assert "| clip-main | chexpert | 10 | 0.0020 | 0.0040 | 3 | 0.0100 | 0.20 |" in shown
    assert table([Spread("x", "y", 1, float("nan"), 0.1, 1, float("nan"))]).endswith("| – |")
