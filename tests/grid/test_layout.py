"""Every folder of a seed is found by one rule."""

from __future__ import annotations

import pytest

from benchmark.core.errors import ParamsError
from benchmark.grid.layout import Project


def test_seeds_are_numbers_in_order_and_strays_are_none(tmp_path):
    project = Project(tmp_path)
    for seed in (10, 2, 0):
        (project.run("a-main", seed)).mkdir(parents=True)
        (project.run("a-main", seed) / "run.json").write_text("{}")
        (project.results("a-main", seed) / "openi").mkdir(parents=True)
    (project.run("a-main", 2) / "run.json").unlink()
    (tmp_path / "runs" / "a-main" / "seed-x").mkdir()
    (tmp_path / "runs" / "a-main" / "seed-7").write_text("a file")
    assert [seed for seed, _ in project.seeds("runs", "a-main")] == [0, 2, 10]
    assert [seed for seed, _ in project.trainings("a-main")] == [0, 10], (
        "an unfinished training has no record"
    )
    assert project.evaluations("a-main")[-1] == (10, project.results("a-main", 10))
    assert project.evaluations("b-main") == []
    (project.results("a-official", 0) / "openi").mkdir(parents=True)
    (project.results("a-official", 0) / "openi" / "predictions.parquet").write_text("x")
    assert project.evaluated_cells("*-official") == ["a-official"]


def test_a_home_without_a_project_is_named_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("CXR_ALIGNBENCH_HOME", str(tmp_path))
    with pytest.raises(ParamsError, match="CXR_ALIGNBENCH_HOME .*: no params.yaml there. .*bench init"):
        Project.find()
