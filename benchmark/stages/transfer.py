"""Task `transfer` of every trained main cell, from runs that lie on disk, and of the encoder that they share:
what labels add to each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from benchmark.core.errors import BenchError
from benchmark.core.tasks import task_named
from benchmark.evaluation.statistics.metric_values import IDENTITY
from benchmark.grid.params import main_cell
from benchmark.stages.evaluate import evaluate_task
from benchmark.stages.questions import Answers, trained
from benchmark.stages.run_record import read_run
from benchmark.stages.tuned_encoder import encoder_rows

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.evaluation.tasks.transfer import TransferSettings
    from benchmark.stages.run import Session

TASK = "transfer"


def transferred(session: Session, datasets: Sequence[str]) -> Answers:
    """Evaluated, or reused where nothing that it rests on changed; nothing is trained but on drawn labels.

    Raises BenchError where no main cell is trained, or no dataset has labelled images of other patients.
    """
    import pandas as pd

    params = session.params
    cells = tuple(main_cell(params, method) for method in params.methods)
    beside: dict[str, pd.DataFrame] = {}
    frames, untrained = [], []
    for cell in cells:
        seeds = [s for s in params.seeds if trained(session, cell, s)]
        if not seeds:
            untrained.append(cell.name)
        for seed in seeds:
            run = read_run(session.project.run(cell.name, seed) / "run.json")
            for dataset in datasets:
                rows = evaluate_task(session, TASK, cell, seed, dataset, run)
                if rows is None:
                    raise BenchError(f"{dataset}: no labelled images of two patients beside those evaluated.")
                if dataset not in beside:
                    beside[dataset] = _of_encoder(session, dataset)
                own = rows.assign(run_id=cell.name)
                identity = {name: own[name].iloc[0] for name in IDENTITY}
                frames += [own, beside[dataset].assign(**identity)]
            session.say(f"{cell.name} seed {seed}: {TASK}")
    if not frames:
        raise BenchError("no finished training of a main cell. Run `bench stage cells main` first.")
    return Answers(cells, pd.concat(frames, ignore_index=True), tuple(untrained))


def _of_encoder(session: Session, dataset: str) -> pd.DataFrame:
    how = session.params.tasks.get(TASK) or task_named(TASK).Settings()
    return encoder_rows(session, dataset, cast("TransferSettings", how))
