"""Stage tune: the search for one method's settings, then what the evaluation sets say of its trials."""

from __future__ import annotations

from pathlib import Path

from benchmark.core.progress import watched
from benchmark.core.settings import TrainConfig, set_fields
from benchmark.core.tasks import CLASSIFICATION, TaskContext, task_named
from benchmark.grid.params import Cell, main_cell
from benchmark.stages.entry import session
from benchmark.stages.evaluate import TILE
from benchmark.stages.evaluation_sets import prompt_set, task_data
from benchmark.stages.features import device
from benchmark.stages.run import Session
from benchmark.stages.train import find_run


def tune_stage(method: str) -> str:
    """Search the shared space for one method on the training twin; reports/tuning/<method>.yaml.

    Starts from the method's options without what an earlier search chose, so that a second search finds the
    same. Selection sees held-out training patients only. Once it is done, the macro AUROC of every trial on
    the sets of `data.ablate_on` is written beside its score, and the scores of the main cell's own runs,
    where they are trained, beside the choice.
    """
    from benchmark.training.finished import load_method
    from benchmark.training.tuning import SPACE, trial_folder, tune
    from benchmark.training.validation import HeldOut
    from methods.base import configure

    now = session()
    cell = main_cell(now.params, method)
    fixed = {k: v for k, v in set_fields(cell.options).items() if f"options.{k}" not in SPACE}
    shared = {k: v for k, v in set_fields(now.params.training).items() if f"training.{k}" not in SPACE}
    folder = now.project.root / "runs" / "tuning" / method
    data = now.inputs(cell)
    with watched(f"tune {method}") as report:
        found = tune(
            method,
            data,
            folder,
            trials=now.params.tuning.trials,
            seed=now.params.tuning.seed,
            options=configure(method, fixed),
            training=TrainConfig.model_validate(shared),
            report=report,
        )
    found = found.sealed(lambda trial, repeat: test_aurocs(now, cell, trial_folder(folder, trial, repeat)))
    runs = [s for s in now.params.seeds if find_run(now.project, cell, s, data) is not None]
    held_out = HeldOut(data)
    scores = [held_out.match(load_method(now.project.run(cell.name, s)), device=device()).auroc for s in runs]
    read = [now.params.data.train, *now.params.data.ablate_on]
    origins = {dataset: now.manifest(dataset).origin for dataset in read}
    path = found.beside(scores, origins).write(now.project.reports / "tuning")
    return f"{method}: trial {found.chosen.number} of {len(found.trials)}, {now.project.relative(path)}"


def test_aurocs(now: Session, cell: Cell, folder: Path) -> dict[str, float | None]:
    """Evaluation set of `data.ablate_on` → macro AUROC over its classes, None where it is undefined, of the
    method trained in `folder` with the prompts of `cell`; six places."""
    from benchmark.evaluation.scoring import score
    from benchmark.training.finished import load_method

    task = task_named(CLASSIFICATION)
    place = device()
    method = load_method(folder).to(place).eval()
    given = TaskContext(
        now.params.statistics.model_copy(update={"thresholded": False}),
        task.Settings(),
        lambda own, images, rows, texts: score(own, images, texts, TILE, rows=rows, device=place),
        place,
    )
    found: dict[str, float | None] = {}
    for dataset in now.params.data.ablate_on:
        data = task_data(now, task, dataset)
        prompts = prompt_set(data.card, data.chosen.info.protocol, cell.prompts)
        result = task.evaluate(method, data, prompts, given)
        if result is not None:
            rows = result.rows.assign(prompts=result.prompts)
            found[dataset] = task.headline(rows)[f"{task.headlines[0]}_all"]
    return found
