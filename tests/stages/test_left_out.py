"""A cell that was never trained is left out of a summary at once."""

from __future__ import annotations

from benchmark.grid.layout import Project
from benchmark.grid.params import ablation_cell
from benchmark.grid.params_file import load_params
from benchmark.stages.own_encoders import Sessions, found
from benchmark.stages.run import Session


def test_nothing_is_read_or_encoded_for_a_cell_that_was_never_trained(root, tmp_path, monkeypatch):
    params = load_params(root / "params.yaml")

    def refuse(*_: object) -> None:
        raise AssertionError("inputs were made")

    monkeypatch.setattr(Session, "inputs", refuse)
    sessions = Sessions(Session(Project(tmp_path), params, lambda line: None))
    assert found(sessions, ablation_cell(params, "clip-raw-report"), 0) == ["all"]
    assert found(sessions, ablation_cell(params, "clip-lite2"), 0) == ["all"]
    assert list(tmp_path.iterdir()) == []
