"""The cells of a group, side by side: every core trains a cell and seed of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.core.files import write_json
from benchmark.core.hashing import hash_file
from benchmark.core.progress import QUIET, watched
from benchmark.core.tables import TWIN_NOTICE
from benchmark.core.workers import worker_pool
from benchmark.grid.layout import Project
from benchmark.grid.params import FLOOR, Cell, Params, ablation_cell, cell_named, main_cell
from benchmark.grid.params_file import load_params
from benchmark.grid.parts import VOLUMES
from benchmark.grid.robust_cells import params_of
from benchmark.stages.evaluate import evaluate_cell, headlines
from benchmark.stages.own_encoders import Sessions, check_encoders, trained
from benchmark.stages.run import Say, Session
from benchmark.stages.tracked_results import record_results

MAIN, ABLATIONS, ATTRIBUTION = "main", "ablations", "attribution"
"""Groups of cells beside VOLUMES, the main and ablation cells on CT; ATTRIBUTION: those that `attribution` of
params.yaml names. Any other name is that of an ablation table."""


@dataclass(frozen=True)
class Job:
    """One seed of one cell, or one reference of the main tables."""

    cell: str
    seed: int


@dataclass(frozen=True)
class JobResult:
    """weights: hash of a trained cell's. numbers: dataset → headline numbers. scores: of a reference,
    dataset → hashes of its files."""

    weights: str = ""
    numbers: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    scores: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        if self.scores:
            return {dataset: {"scores": own} for dataset, own in self.scores.items()}
        return {"weights": self.weights, **self.numbers}


def jobs_of(params: Params, group: str) -> list[Job]:
    """Every seed of the cells of one group; to the main cells belong those of the floor. Whole reports, the
    longest to train on, come first, so that none is left running alone; then one seed of all cells, so that a
    table fills evenly."""
    cells = [main_cell(params, method) for method in params.methods] if group in (MAIN, VOLUMES) else []
    every = {own.table for own in params.cells.values()} - {FLOOR}
    wanted = {MAIN: {FLOOR}, ABLATIONS: every, VOLUMES: every}.get(group, {group})
    cells += [ablation_cell(params, name) for name, own in params.cells.items() if own.table in wanted]
    if group == ATTRIBUTION:
        named = dict.fromkeys(name for own in params.attribution.values() for name in own.cells.values())
        cells = [cell_named(params, name) for name in named]
    jobs = [(cell, Job(cell.name, seed)) for cell in cells for seed in cell.seeds or params.seeds]
    jobs.sort(key=lambda pair: (pair[0].texts.unit != "report", pair[1].seed))
    return [job for _, job in jobs]


def index_file(project: Project, group: str) -> Path:
    """What the cells of a group came to: cell → seed → hash of the weights, headline numbers by dataset."""
    return project.root / "results" / "index" / f"{group}.json"


def carry_out_cells(project: Project, params: Params, group: str, processes: int | None, say: Say) -> str:
    """Train and evaluate the cells of `group`, saying the numbers of each as it ends;
    results/index/main.json, ablations.json or ct.json holds the hashes of their weights and their headline
    numbers.

    params: of the group (`grid.robust_cells.params_of`). processes: None, one a core.
    Finished cells are reused. The first error of a job is raised once the jobs that had begun have ended.
    """
    from benchmark.stages.references import reference_names

    cells = jobs_of(params, group)
    check_encoders(params, [cell_named(params, job.cell) for job in cells])
    others = [Job(name, 0) for name in reference_names()] if group in (MAIN, VOLUMES) else []
    jobs = [*cells, *others]
    count = min(processes or os.cpu_count() or 1, max(len(jobs), 1))
    numbers: dict[str, dict[str, JobResult]] = {}
    with watched(f"cells: {group}") as report:
        done = _alone(project, params, jobs, say) if count == 1 else _pool(project, group, jobs, count, say)
        for number, (job, found) in enumerate(done, 1):
            own = numbers.setdefault(job.cell, {})
            own[f"seed-{job.seed}"] = found
            for line in row_lines(params, job, own, sum(j.cell == job.cell for j in cells)):
                say(line)
            report(number, len(jobs))
    if group in (MAIN, ABLATIONS, VOLUMES):
        index = {c: {seed: own.to_json() for seed, own in seeds.items()} for c, seeds in numbers.items()}
        write_json(index_file(project, group), index)
    if not jobs:
        return f"{group}: params.yaml has no such cell"
    beside = f", {len(others)} references beside them" if others else ""
    return f"{group}: {len(numbers) - len(others)} cells, {len(cells)} runs trained and evaluated{beside}"


def row_lines(params: Params, job: Job, of_seed: Mapping[str, JobResult], planned: int) -> list[str]:
    """The macro AUROC of one seed that has just finished, on each set, and with the last of the `planned`
    seeds of a cell their mean; nothing of a reference.

    of_seed: `seed-N` → result, of the seeds so far.
    """
    aurocs = {seed: _aurocs(result) for seed, result in of_seed.items()}
    sets = aurocs[f"seed-{job.seed}"]
    if not sets:
        return []
    twin = f"  {TWIN_NOTICE}" if any(d not in params.data.roots for d in sets) else ""

    def line(title: str, seeds: Sequence[Mapping[str, float]]) -> str:
        means = {d: sum(own[d] for own in seeds) / len(seeds) for d in sets if all(d in own for own in seeds)}
        return f"{title}: macro AUROC {', '.join(f'{d} {v:.3f}' for d, v in means.items())}{twin}"

    said = [line(f"{job.cell} seed {job.seed}", [sets])]
    if len(of_seed) == planned > 1:
        said.append(line(f"{job.cell}, mean of {planned} seeds", list(aurocs.values())))
    return said


def _aurocs(result: JobResult) -> dict[str, float]:
    """dataset → macro AUROC, of the sets where it is defined."""
    found = {dataset: own.get("auroc_all") for dataset, own in result.numbers.items()}
    return {dataset: value for dataset, value in found.items() if value is not None}


def _carry_out(sessions: Sessions, job: Job) -> JobResult:
    from benchmark.stages.references import PREFIX, referred

    session = sessions.shared
    if job.cell.startswith(PREFIX):
        made = referred(session, session.params.data.evaluate, [job.cell])
        return JobResult(scores={d: [hash_file(r.path) for r in own] for d, own in made.items()})
    return carry_out_job(sessions, cell_named(session.params, job.cell), job.seed)


def carry_out_job(sessions: Sessions, cell: Cell, seed: int) -> JobResult:
    """Train and evaluate one seed of one cell under its encoders, or reuse it."""
    run, session = trained(sessions, cell, seed)
    found = evaluate_cell(session, cell, seed, run)
    record_results(session, cell, seed, run, found)
    return JobResult(run.model_sha256, headlines(found))


def _alone(project: Project, params: Params, jobs: list[Job], say: Say) -> Iterator[tuple[Job, JobResult]]:
    sessions = Sessions(Session(project, params, say))
    for job in jobs:
        yield job, _carry_out(sessions, job)


def _pool(
    project: Project, group: str, jobs: list[Job], count: int, say: Say
) -> Iterator[tuple[Job, JobResult]]:
    with worker_pool(count, _start, project.root, group) as pool:
        running: dict[Future[tuple[JobResult, list[str]]], Job] = {
            pool.submit(_work, job): job for job in jobs
        }
        try:
            for future in as_completed(running):
                found, lines = future.result()
                for line in lines:
                    say(line)
                yield running[future], found
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


_sessions: Sessions
_lines: list[str] = []


def _start(root: Path, group: str) -> None:
    """A process of the pool: one thread, one session for all of its jobs."""
    global _sessions
    import torch

    os.environ[QUIET] = "1"
    torch.set_num_threads(1)
    project = Project(root)
    params = params_of(load_params(project.params), group)
    _sessions = Sessions(Session(project, params, _lines.append))


def _work(job: Job) -> tuple[JobResult, list[str]]:
    _lines.clear()
    found = _carry_out(_sessions, job)
    return found, [line for line in _lines if line.startswith(job.cell)]
