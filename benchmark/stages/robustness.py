"""Stage robustness: every method under each setting of `robustness`, beside its main cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmark.core.errors import BenchError
from benchmark.core.tables import Predictions
from benchmark.core.tasks import CLASSIFICATION
from benchmark.evaluation.evaluation_data import EvaluationData
from benchmark.grid.layout import Project
from benchmark.grid.params import Cell, Params, ablation_cell, main_cell
from benchmark.grid.robust_cells import BEFORE, params_of
from benchmark.stages.evaluate import evaluation
from benchmark.stages.own_encoders import Sessions
from benchmark.stages.pool import carry_out_cells
from benchmark.stages.run import Session
from benchmark.stages.summarise import aligned_scores
from benchmark.stages.train import find_run
from benchmark.training.finished import RUN


@dataclass(frozen=True)
class Ranked:
    """Every method under one setting, with its scores on every set of the study.

    setting: its key in params.yaml; empty for the default. scores: (method, dataset) → (S, N, C), of its
    seeds. rising: (method, place of the seed) of runs that still gained when their budget ended. commits: of
    the trainings.
    """

    setting: str
    scores: Mapping[tuple[str, str], np.ndarray]
    rising: tuple[tuple[str, int], ...]
    commits: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """What the report reads. ranked: the default first, then the settings whose cells are all there and as
    they would be made now; lacking: setting → why not."""

    params: Params
    sets: Mapping[str, EvaluationData]
    ranked: tuple[Ranked, ...]
    lacking: Mapping[str, str]


def carry_out_settings(
    project: Project,
    params: Params,
    settings: Sequence[str],
    processes: int | None,
    say: Callable[[str], None],
) -> list[str]:
    """Train and evaluate every method under these settings, one setting after the other; what is done is
    reused. Returns a line a setting. Raises ParamsError for a setting that is not there."""
    groups = {name: params_of(params, f"{BEFORE}{name}") for name in settings}
    return [carry_out_cells(project, own, f"{BEFORE}{name}", processes, say) for name, own in groups.items()]


def default_alone(now: Session) -> Study:
    """The results of the default, to which settings are compared. Raises BenchError where a main cell lacks
    them."""
    params = now.params
    sets = {d: now.evaluation_data(d) for d in params.robustness.evaluate or params.data.evaluate}
    default = _ranked(now, "", [main_cell(params, method) for method in params.methods], sets)
    if isinstance(default, str):
        raise BenchError(f"no default to compare with: {default}. Run `bench stage cells main`.")
    return Study(params, sets, (default,), {})


def with_settings(now: Session, default: Study) -> Study:
    """The default beside every setting. Nothing is trained or encoded for a setting of which a training is
    missing."""
    params, sets = default.params, default.sets
    ranked, lacking = [*default.ranked], {}
    for name in params.robustness.settings:
        own = params_of(params, f"{BEFORE}{name}")
        there = replace(now, params=own, evaluated={}, _training=None, _inputs={}, _evaluated={})
        result = _ranked(there, name, [ablation_cell(own, cell) for cell in own.cells], sets)
        if isinstance(result, str):
            lacking[name] = result
        else:
            ranked.append(result)
    return Study(params, sets, tuple(ranked), lacking)


def _ranked(
    session: Session, setting: str, cells: Sequence[Cell], sets: Mapping[str, EvaluationData]
) -> Ranked | str:
    """The scores of these cells, or which of them is not trained, or not evaluated as it would be now."""
    project, params = session.project, session.params
    jobs = [(cell, k, seed) for cell in cells for k, seed in enumerate(cell.seeds or params.seeds)]
    for cell, _, seed in jobs:
        if not (project.run(cell.name, seed) / RUN).is_file():
            return f"{cell.name} seed {seed} is not trained"
    sessions = Sessions(session)
    scores: dict[tuple[str, str], list[np.ndarray]] = {}
    rising, commits = [], []
    for cell, k, seed in jobs:
        there = sessions.of(cell)
        run = find_run(project, cell, seed, there.inputs(cell))
        if run is None:
            return f"{cell.name} seed {seed} is trained under other settings or code"
        rising += [(cell.method, k)] if run.converged is False else []
        commits += [run.commit] if run.commit else []
        for dataset, at in sets.items():
            done = evaluation(there, CLASSIFICATION, cell, seed, dataset, run)
            if done.on_disk() != "rows":
                return f"{cell.name} seed {seed} is not evaluated on {dataset} as it would be now"
            scores.setdefault((cell.method, dataset), []).append(
                aligned_scores(Predictions.load(done.files[1]), at)
            )
    stacked = {key: np.stack(own) for key, own in scores.items()}
    return Ranked(setting, stacked, tuple(rising), tuple(dict.fromkeys(commits)))
