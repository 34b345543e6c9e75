"""Stage evaluate: the tasks of a trained cell on their evaluation sets, and what of it is used again."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.errors import ParamsError
from benchmark.core.hashing import hash_strings, hash_value
from benchmark.core.reuse import Key, is_made, key_of, record, source
from benchmark.core.settings import StatisticsConfig
from benchmark.core.tables import METRIC_COLUMNS, Predictions, ScoresRecord, read_table, write_table
from benchmark.core.tasks import CLASSIFICATION, Task, TaskContext, TaskSettings, ordered, task_named
from benchmark.evaluation.statistics.metric_values import RowIdentity
from benchmark.grid.layout import slug, source_name
from benchmark.grid.params import Cell, Params, encoders_of
from benchmark.stages.evaluation_sets import prompt_set, task_data
from benchmark.stages.features import device
from benchmark.stages.method_faults import naming
from benchmark.stages.run_record import WeightsRecord
from benchmark.stages.train import find_run

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.core.features import TextFeatures
    from benchmark.encoders.store import FeatureStore
    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.prompts.class_prompts import PromptSet
    from benchmark.stages.run import Session
    from benchmark.training.distributed import Group
    from methods.base import Method

TILE = (64, 64)
"""Images and texts that are scored at once."""
SHARD = 1024
"""Images whose scores are kept together until an evaluation is done: a killed one repeats at most so many."""

Evaluated = dict[tuple[str, str], "pd.DataFrame"]
"""(task, dataset) → metric rows of one cell and seed."""


def evaluate_cell(
    session: Session, cell: Cell, seed: int, run: WeightsRecord, method: Method | None = None
) -> Evaluated:
    """Metric rows of classification on every set of the cell and of its other tasks on theirs. Tasks that do
    not apply to the method are left out."""
    found: Evaluated = {}
    for name, dataset in tasks_of(session.params, cell):
        rows = evaluate_task(session, name, cell, seed, dataset, run, method)
        if rows is not None:
            found[name, dataset] = rows
    return found


def tasks_of(params: Params, cell: Cell) -> list[tuple[str, str]]:
    """(task, dataset) of everything that a cell is evaluated on."""
    wanted = [(CLASSIFICATION, dataset) for dataset in cell.evaluate]
    for name in ordered(cell.tasks):
        settings = params.tasks.get(name, TaskSettings())
        wanted += [(name, dataset) for dataset in settings.datasets]
    return wanted


def find_evaluations(session: Session, cell: Cell, seed: int) -> list[str]:
    """Enter what is on disk of a cell into `session.evaluated`, where it is what would be made now; returns
    the others as `dataset (task)`, or `all` where the training itself is another one."""
    run = find_run(session.project, cell, seed, session.inputs(cell))
    return ["all"] if run is None else enter_evaluations(session, cell, seed, run)


def enter_evaluations(session: Session, cell: Cell, seed: int, run: WeightsRecord) -> list[str]:
    """`find_evaluations` of a run that was found."""
    missing = []
    for name, dataset in tasks_of(session.params, cell):
        todo = evaluation(session, name, cell, seed, dataset, run)
        found = todo.on_disk()
        if found == "rows":
            session.evaluated[cell.name, seed, dataset, name] = todo.files
        elif found is None:
            missing.append(f"{dataset} ({name})")
    return missing


def headlines(found: Evaluated) -> dict[str, dict[str, float | None]]:
    """dataset → the headline numbers of its tasks."""
    numbers: dict[str, dict[str, float | None]] = {}
    for (name, dataset), rows in found.items():
        numbers.setdefault(dataset, {}).update(task_named(name).headline(rows))
    return numbers


def evaluate_task(
    session: Session,
    name: str,
    cell: Cell,
    seed: int,
    dataset: str,
    run: WeightsRecord,
    method: Method | None = None,
) -> pd.DataFrame | None:
    """Metric rows of one task on one dataset, from disk where everything that they rest on is the same; None
    where the task does not apply to the method.

    Writes <file of the task>.parquet, and predictions where the task keeps scores, under results/. Under
    torchrun the processes share the scoring, the first one does the rest, and the others return None.
    Raises ParamsError where the cell's encoders are trained and `session` reads features of frozen ones.
    """
    import pandas as pd

    from benchmark.training.finished import load_method

    if session.encoders is None and encoders_of(session.params, cell).train.trains:
        raise ParamsError(
            f"{cell.name}: its encoders are trained, and {name} of this command reads features of frozen "
            "ones. Leave encoders.train out."
        )
    todo = evaluation(session, name, cell, seed, dataset, run)
    wanted, data, prompts, folder = todo.task, todo.data, todo.prompts, todo.folder
    table, *predictions = todo.files
    protocol = data.chosen.info.protocol
    group = session.processes
    writing = session.writing(f"{cell.name} seed {seed} on {dataset}", folder)
    with writing, naming(cell.method, group.size, name):
        found = group.agree(todo.on_disk() if group.first else None)
        if found is not None:
            if found == "rows":
                session.evaluated[cell.name, seed, dataset, name] = todo.files
            return read_table(table)[0] if found == "rows" and group.first else None
        if group.first:
            todo.clear()
        if method is None:
            method = load_method(session.project.run(cell.name, seed))
        place = _device(group)
        method = method.to(place).eval()
        frames: list[pd.DataFrame] = []
        for number, texts in enumerate(prompts):
            score = partial(_score, group, todo.shards)
            given = TaskContext(
                session.params.statistics, todo.settings, score, place, not group.first, number == 0
            )
            result = wanted.evaluate(method, data, texts, given)
            if result is None or not group.first:
                continue
            identity = RowIdentity(
                run_id=run.identity[:16],
                method=cell.method,
                variant=cell.variant,
                encoder=data.encoder,
                dataset=dataset,
                origin=data.manifest.origin,
                split=protocol,
                prompts=result.prompts,
                seed=seed,
                task=name,
            )
            frames.append(result.rows.assign(**identity.columns())[list(METRIC_COLUMNS)])
            if result.scores is not None:
                save_predictions(predictions[number], result.scores, data, identity, texts.hash, run)
        if not group.first:
            return None
        if not frames:
            record(todo.absent, todo.key, ())
            return None
        rows = pd.concat(frames, ignore_index=True)
        about = {"cell": cell.name, "notice": data.manifest.origin, "evaluation": data.chosen.info.as_json()}
        write_table(table, rows, {**about, "note": data.note})
        record(todo.mark, todo.key, todo.files)
        session.evaluated[cell.name, seed, dataset, name] = todo.files
        shutil.rmtree(todo.shards.parent, ignore_errors=True)
    return rows


@dataclass(frozen=True)
class Evaluation:
    """One task of one run on one dataset: what it reads, what it writes and under which key.

    files: the table of metric rows, then the predictions of each prompt set. mark: of these files. absent:
    mark of a task that does not apply to the method.
    """

    task: Task
    data: EvaluationData
    prompts: tuple[PromptSet, ...]
    settings: TaskSettings
    folder: Path
    files: tuple[Path, ...]
    key: Key

    @property
    def mark(self) -> Path:
        return self.folder / f"{self.task.name}.json"

    @property
    def absent(self) -> Path:
        return self.folder / f"{self.task.name}.none.json"

    @property
    def shards(self) -> Path:
        """Scores of the images that a killed evaluation had done. The folder is of this key alone: an edit
        of a scoring rule may leave the weights as they are, and scores of the old rule would count as its."""
        return self.folder / f"{self.task.name}.scores" / self.key.digest[:16]

    def on_disk(self) -> str | None:
        """`rows`, `none` where the task was found not to apply, or None where it must be evaluated."""
        if is_made(self.absent, self.key, ()):
            return "none"
        return "rows" if is_made(self.mark, self.key, self.files) else None

    def clear(self) -> None:
        """Take away what an evaluation under another key left, also predictions of prompts that are no longer
        asked for, which a summary would read."""
        old = self.folder.glob("predictions*.parquet") if self.task.keeps_scores else ()
        for path in (self.mark, self.absent, self.files[0], *old):
            path.unlink(missing_ok=True)


def evaluation(
    session: Session, name: str, cell: Cell, seed: int, dataset: str, run: WeightsRecord
) -> Evaluation:
    """Raises ParamsError where the dataset offers no such task."""
    wanted = task_named(name)
    data = task_data(session, wanted, dataset)
    protocol = data.chosen.info.protocol
    styles = cell.prompts_on(dataset) if wanted.every_prompt else (cell.prompts,)
    prompts = tuple(prompt_set(data.card, protocol, style) for style in styles)
    planned = session.params.tasks.get(name)
    settings = wanted.Settings() if planned is None else wanted.Settings.model_validate(planned.model_dump())
    folder = session.project.results(cell.name, seed) / source_name(dataset, data.manifest.origin)
    key = task_key(wanted, cell, run, data, prompts, session.params.statistics, settings)
    return Evaluation(wanted, data, prompts, settings, folder, tuple(files_of(wanted, folder, prompts)), key)


def files_of(wanted: Task, folder: Path, prompts: Sequence[PromptSet]) -> list[Path]:
    """The table of metric rows, then the predictions of each prompt set, where the task keeps scores."""
    from benchmark.evaluation.prompt_scores import prompt_label

    files = [folder / f"{wanted.file}.parquet"]
    if wanted.keeps_scores:
        ends = ["", *(f"-{slug(prompt_label(texts))}" for texts in prompts[1:])]
        files += [folder / f"predictions{end}.parquet" for end in ends]
    return files


def task_key(
    wanted: Task,
    cell: Cell,
    run: WeightsRecord,
    data: EvaluationData,
    prompts: Sequence[PromptSet],
    statistics: StatisticsConfig,
    settings: TaskSettings,
) -> Key:
    """Everything that the rows of a task rest on."""
    from methods.base import METHODS

    return key_of(
        weights=run.model_sha256,
        options=run.options,
        features=data.images.key,
        encoder=data.encoder,
        images=data.identity,
        protocol=data.chosen.info.as_json(),
        prompts=[texts.hash for texts in prompts],
        statistics=statistics.model_dump(mode="json"),
        settings=settings.model_dump(mode="json", exclude={"datasets"}),
        source=source(
            type(wanted).__module__,
            METHODS.get(cell.method).__module__,
            "benchmark.evaluation.evaluation_data",
            "benchmark.evaluation.scoring",
        ),
        **wanted.reads(data, statistics),
    )


def _device(group: Group) -> str:
    from benchmark.training.distributed import local_device

    return str(local_device(device(), group))


def _score(
    group: Group,
    shards: Path,
    method: Method,
    images: FeatureStore,
    rows: np.ndarray,
    texts: TextFeatures,
) -> np.ndarray:
    """(N, T) scores; the processes of `group` share the rows. Raises BenchError as `check_alone`."""
    from benchmark.evaluation.scored_alone import check_alone
    from benchmark.evaluation.scoring import score
    from benchmark.training.distributed import tile_bounds

    bounds = tile_bounds(len(rows), TILE[0], group)
    mine = rows[bounds[group.rank] : bounds[group.rank + 1]]
    found = score(method, images, texts, TILE, rows=mine, shards=shards, shard=SHARD, device=_device(group))
    scores = group.join_rows(found, bounds)
    check_alone(method, images, rows, texts, scores, _device(group))
    return scores


def save_predictions(
    path: Path,
    scores: np.ndarray,
    data: EvaluationData,
    identity: RowIdentity,
    prompts: str,
    run: WeightsRecord,
) -> None:
    """predictions.parquet for the cell's own prompts, predictions-<prompts>.parquet for the others."""
    import pandas as pd

    ids = pd.DataFrame({"image_id": data.chosen.frame["image_id"], "patient_id": data.chosen.patients})
    columns = pd.DataFrame(scores.astype(np.float32), columns=list(data.chosen.classes))
    made_by = ScoresRecord(
        protocol=data.chosen.info.protocol,
        prompt_hash=prompts,
        weights_hash=run.model_sha256,
        data_hash=hash_value([data.images.key, hash_strings(data.chosen.frame["image_id"])]),
        precision=str(data.images.local.dtype),
        commit=run.commit,
        device=run.device,
        versions=run.versions,
        trained_on=run.trained_on,
    )
    info = made_by.model_copy(update=identity.columns())
    frame = pd.concat([ids.reset_index(drop=True), columns], axis=1)
    Predictions(data.chosen.classes, frame, info).save(path)
