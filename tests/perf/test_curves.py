"""Every budget of the curves of convergence is a training of its own."""

from __future__ import annotations

from benchmark.grid.layout import Project
from benchmark.grid.params import main_cell
from benchmark.grid.params_file import load_params
from perf.curves import cells


def test_no_budget_is_trained_into_the_folder_of_another(root):
    project, params = Project(root), load_params(root / "params.yaml")
    budgets = (20, params.training.epochs, 160)
    found = {epochs: cells(project, "padchest", epochs) for epochs in budgets}
    folders = [project.run(cell.name, 0) for own in found.values() for cell in own]
    assert len(set(folders)) == len(budgets) * len(params.methods)
    assert [c.training.epochs for own in found.values() for c in own] == [
        e for e in budgets for _ in params.methods
    ]
    assert [c.name for c in found[params.training.epochs]] == [
        main_cell(params, m).name for m in params.methods
    ]
