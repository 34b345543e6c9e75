"""What stands behind a number: the trainings of a cell, the texts of a class, the command that makes it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from benchmark.core.errors import BenchError
from benchmark.core.files import read_json
from benchmark.grid.layout import Project
from benchmark.grid.params import Cell
from benchmark.reporting.gather import Gathered
from benchmark.stages.evaluation_sets import prompt_set
from benchmark.stages.run_record import RunRecord, read_run
from benchmark.stages.tracking import store_file, tracking_uri


def run_records(project: Project, cell: str) -> list[tuple[int, RunRecord]]:
    """(seed, run.json) of every finished run of a cell, by seed."""
    return [(seed, read_run(folder / "run.json")) for seed, folder in project.trainings(cell)]


def seed_facts(cell: str, seed: int, run: RunRecord, runs: dict[str, str]) -> dict[str, str]:
    """What identifies one training, as text."""
    return {
        "seed": str(seed),
        "best epoch": str(run.best_epoch),
        "validation loss": f"{run.val_loss:.4f}",
        "validation AUROC": _number(run.val_auroc, ".4f"),
        "gain of the last quarter": _number(run.gain_last_quarter, "+.4f"),
        "converged": {None: "–", True: "yes", False: "no"}[run.converged],
        "seconds": f"{run.seconds:.0f}",
        "training images": f"{run.train_images:,}",
        "weights sha256": run.model_sha256[:16],
        "commit": run.code[:10] + ("-dirty" if run.code.endswith("-dirty") else ""),
        "device": run.device,
        "MLflow run": runs.get(f"{cell}/seed-{seed}", "–"),
    }


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def mlflow_runs(project: Project) -> dict[str, str]:
    """Run name → id of the latest finished run, from the project's own store; empty for a store elsewhere."""
    path = store_file(tracking_uri(project.root))
    if path is None or not path.is_file():
        return {}
    query = "select name, run_uuid from runs where status = 'FINISHED' order by start_time"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as store:
            return {str(name): str(run) for name, run in store.execute(query)}
    except sqlite3.Error as error:
        raise BenchError(
            f"{path}: not a readable MLflow store ({error}). Move it away or repair it."
        ) from None


def class_texts(gathered: Gathered, dataset: str) -> dict[str, str]:
    """class → the text (or texts) that the main cells are scored with on this dataset."""
    from benchmark.data.cards import load_card

    about = gathered.evidence.sets[dataset]
    prompts = prompt_set(load_card(about["dataset"]), about["protocol"], gathered.params.prompts)
    texts: dict[str, list[str]] = {}
    for text, owner in zip(prompts.texts, prompts.class_of_text, strict=True):
        texts.setdefault(prompts.classes[owner], []).append(text)
    return {name: " | ".join(own) for name, own in texts.items()}


def reproduce(project: Project, cell: Cell) -> str:
    """The commands that make a cell's row, a checkpoint under the settings that it was evaluated with."""
    if cell.variant == "main":
        steps = [f"bench stage cell {cell.method}", "bench stage summarise main"]
    elif cell.variant == "model":
        return "bench run --model hf:FOLDER --dataset all && bench report site"
    elif cell.variant == "official":
        settings = "".join(f" --official {own}" for own in _official(project, cell))
        steps = [f"bench run --method {cell.method} --dataset all --checkpoint FILE{settings}"]
    else:
        steps = [f"bench stage cell {cell.name}", "bench stage summarise all"]
    return " && ".join([*steps, "bench report site"])


def _official(project: Project, cell: Cell) -> list[str]:
    """Settings of an evaluated checkpoint as `--official` takes them; of files only the hash is on record."""
    path = project.run(cell.name, 0) / "source.json"
    settings = read_json(path).get("settings", {}) if path.is_file() else {}
    return [
        f"{key}={one}"
        for key, value in settings.items()
        for one in (["FILE"] * len(value) if isinstance(value, list) else [value])
    ]
