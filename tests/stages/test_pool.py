"""What a group of cells holds, and what is said of a cell when it ends."""

from __future__ import annotations

from pathlib import Path

from benchmark.grid.params_file import load_params
from benchmark.stages.pool import ATTRIBUTION, Job, JobResult, jobs_of, row_lines

PARAMS = load_params(Path(__file__).resolve().parents[2] / "params.yaml")


def test_the_group_attribution_holds_every_cell_that_it_names_and_no_other():
    jobs = jobs_of(PARAMS, ATTRIBUTION)
    named = {cell for own in PARAMS.attribution.values() for cell in own.cells.values()}
    assert {job.cell for job in jobs} == named
    assert len(set(jobs)) == len(jobs)
    assert {job.seed for job in jobs if job.cell == "clip-main"} == {0, 1, 2}
    assert {job.seed for job in jobs if job.cell == "clip-transformer"} == {0}


def test_a_cell_says_its_numbers_as_it_ends_and_its_mean_with_the_last_seed():
    def numbers(value: float):
        return JobResult(
            "0" * 64, {"padchest": {"auroc_all": value, "auroc_tail": 0.1}, "openi": {"mrr": 0.2}}
        )

    done = {"seed-0": numbers(0.7)}
    (line,) = row_lines(PARAMS, Job("clip-main", 0), done, 2)
    assert line == "clip-main seed 0: macro AUROC padchest 0.700  SYNTHETIC TWIN"
    done["seed-1"] = numbers(0.8)
    one, mean = row_lines(PARAMS, Job("clip-main", 1), done, 2)
    assert one.startswith("clip-main seed 1: macro AUROC padchest 0.800")
    assert mean == "clip-main, mean of 2 seeds: macro AUROC padchest 0.750  SYNTHETIC TWIN"
    official = PARAMS.model_copy(
        update={"data": PARAMS.data.model_copy(update={"roots": {"padchest": "/p"}})}
    )
    assert "TWIN" not in row_lines(official, Job("clip-main", 0), {"seed-0": numbers(0.7)}, 1)[0]
    scores = JobResult(scores={"padchest": ["1"]})
    assert row_lines(PARAMS, Job("reference-x", 0), {"seed-0": scores}, 1) == []
    assert scores.to_json() == {"padchest": {"scores": ["1"]}}
    assert numbers(0.7).to_json() == {
        "weights": "0" * 64, "padchest": {"auroc_all": 0.7, "auroc_tail": 0.1}, "openi": {"mrr": 0.2}
    }  # fmt: skip
