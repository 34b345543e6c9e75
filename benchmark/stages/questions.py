"""Tasks of `bench stage understanding`: what trained cells answer on the evaluation sets of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from benchmark.core.errors import BenchError
from benchmark.core.files import read_json
from benchmark.core.settings import TrainConfig
from benchmark.core.tasks import TaskSettings
from benchmark.grid.declared import declared
from benchmark.grid.params import Cell, ablation_cell, main_cell
from benchmark.prompts.settings import TextParams
from benchmark.stages.evaluate import evaluate_task
from benchmark.stages.own_encoders import Sessions
from benchmark.stages.run import Session
from benchmark.stages.run_record import read_run

if TYPE_CHECKING:
    import pandas as pd

ASKED = ("negation", "paraphrase", "underdiagnosis")
GROUNDING = "grounding"
"""Asked too, for the claims that rest on it; its table is one of the main ones."""


@dataclass(frozen=True)
class Answers:
    """cells: those that take part in any of ASKED, main cells first. rows: METRIC_COLUMNS of every seed, task
    and dataset with `run_id`, the name of the cell. untrained: cells without a finished training of these
    settings."""

    cells: tuple[Cell, ...]
    rows: pd.DataFrame
    untrained: tuple[str, ...]


def answers(session: Session) -> Answers:
    """Evaluated from finished trainings, or reused; nothing is trained."""
    import pandas as pd

    from benchmark.core.tables import METRIC_COLUMNS

    params = session.params
    cells = [main_cell(params, m) for m in params.methods]
    cells += [ablation_cell(params, name) for name in params.cells]
    cells = [cell for cell in cells if set(cell.tasks) & set(ASKED)]
    frames, untrained = [], []
    sessions = Sessions(session)
    for cell in cells:
        seeds = [s for s in cell.seeds or params.seeds if trained(session, cell, s)]
        if not seeds:
            untrained.append(cell.name)
        for seed in seeds:
            run = read_run(session.project.run(cell.name, seed) / "run.json")
            for task in (t for t in (*ASKED, GROUNDING) if t in cell.tasks):
                for dataset in params.tasks.get(task, TaskSettings()).datasets:
                    rows = evaluate_task(sessions.of(cell), task, cell, seed, dataset, run)
                    if rows is not None:
                        frames.append(rows.assign(run_id=cell.name))
            session.say(f"{cell.name} seed {seed}: {', '.join(t for t in ASKED if t in cell.tasks)}")
    rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(METRIC_COLUMNS))
    return Answers(tuple(cells), rows, tuple(untrained))


def trained(session: Session, cell: Cell, seed: int) -> bool:
    """Whether a finished training of this cell lies on disk, of the settings that params.yaml gives now. What
    an older record does not name had the default."""
    folder = session.project.run(cell.name, seed)
    if not all((folder / name).is_file() for name in ("run.json", "source.json")):
        return False
    before = read_json(folder / "source.json").get("cell", {})
    try:
        kind = declared(str(before["method"]))
        options = kind.Config.model_validate(before["options"]).model_dump()
        training = TrainConfig.model_validate(before["training"])
        texts = TextParams.model_validate(before["texts"])
    except (BenchError, KeyError, ValidationError):
        return False
    encoders = cell.model_dump(mode="json").get("encoders")
    now = (cell.method, cell.options.model_dump(), cell.training, cell.texts, encoders)
    return (str(before["method"]), options, training, texts, before.get("encoders")) == now
