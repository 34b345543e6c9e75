"""What the page and `bench explain` say of a cell: parameters, seeds, prompts, provenance, how to make it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmark import __version__
from benchmark.core.errors import BenchError
from benchmark.core.files import write_text
from benchmark.grid.layout import Project
from benchmark.grid.params import Cell
from benchmark.reporting.gallery import picture
from benchmark.reporting.gather import Gathered
from benchmark.reporting.joint import Scores
from benchmark.reporting.on_disk import training_record
from benchmark.reporting.outputs import PartReport, published
from benchmark.reporting.site.explore import explorer
from benchmark.reporting.site.page import CellPage, render
from benchmark.reporting.tables import claims
from benchmark.stages.evaluation_sets import prompt_set
from benchmark.stages.tracking import tracking_uri


def write_site(report: PartReport) -> Path:
    """reports/site/index.html, with the figures of the same results inside."""
    project, gathered = report.project, report.gathered
    evidence = gathered.evidence
    present = set(evidence.metrics["run_id"])
    runs = mlflow_runs(project)
    text = render(
        evidence,
        [table for table in report.tables if table.name != claims.NAME],
        report.drawings,
        report.judgements,
        [cell_page(gathered, cell, runs) for name, cell in gathered.cells.items() if name in present],
        {dataset: class_texts(gathered, dataset) for dataset in evidence.datasets},
        published(project),
        explorer(evidence, _scores(gathered), {name: _made(gathered, name) for name in evidence.mains}),
        version=__version__,
        pictures=[p for p in (picture(project),) if p is not None],
    )
    page = project.reports / "site" / "index.html"
    write_text(page, text)
    return page


def _scores(gathered: Gathered) -> dict[tuple[str, str], Scores]:
    """Saved scores of the main cells, where the predictions are here."""
    found = {}
    for name in gathered.evidence.mains:
        for dataset in gathered.evidence.datasets:
            scores = gathered.scores(name, dataset)
            if scores is not None:
                found[name, dataset] = scores
    return found


def _made(gathered: Gathered, name: str) -> dict[str, str]:
    """The command, commits and weights behind a main cell."""
    records = run_records(gathered.project, name)
    return {
        "command": reproduce(gathered.cells[name]),
        "commit": ", ".join(dict.fromkeys(str(run["commit"])[:10] for _, run in records)),
        "weights": ", ".join(str(run["model_sha256"])[:16] for _, run in records),
    }


def cell_page(gathered: Gathered, cell: Cell, runs: dict[str, str]) -> CellPage:
    """One cell's drill-down; what the run recorded comes before what params.yaml says."""
    records = run_records(gathered.project, cell.name)
    first = records[0][1] if records else {}
    options = {**cell.options.model_dump(mode="json"), **first.get("options", {})}
    training = {**cell.training.model_dump(mode="json"), **first.get("training", {})}
    training = {k: v for k, v in training.items() if v not in (None, [], {})}
    facts = {
        "image and text encoder": ", ".join(
            dict.fromkeys(a["encoder"] for a in gathered.evidence.sets.values())
        ),
        "training texts": f"{cell.texts.name}, {cell.texts.rule}"
        + (", without negations" if cell.texts.negations == "drop" else "")
        + (", without bare names in positives" if cell.texts.bare_names == "drop" else ""),
        "inference prompt": f"{cell.prompts.style}: {cell.prompts.template} ({cell.prompts.aggregation})",
        **{f"option {k}": _plain(v) for k, v in sorted(options.items())},
        **{f"training {k}": _plain(v) for k, v in sorted(training.items())},
        **{f"version {k}": str(v) for k, v in sorted(first.get("versions", {}).items())},
    }
    info = gathered.evidence.cells[cell.name]
    return CellPage(
        cell.name,
        info.title,
        info.row or cell.variant,
        facts,
        [seed_facts(cell.name, seed, run, runs) for seed, run in records],
        reproduce(cell),
    )


def run_records(project: Project, cell: str) -> list[tuple[int, dict[str, Any]]]:
    """(seed, run.json) of every finished run of a cell, by seed."""
    return [(seed, training_record(folder / "run.json")) for seed, folder in project.trainings(cell)]


def seed_facts(cell: str, seed: int, run: dict[str, Any], runs: dict[str, str]) -> dict[str, str]:
    """What identifies one training, as text."""
    return {
        "seed": str(seed),
        "best epoch": str(run["best_epoch"]),
        "validation loss": f"{run['val_loss']:.4f}",
        "validation AUROC": _number(run.get("val_auroc"), ".4f"),
        "gain of the last quarter": _number(run.get("gain_last_quarter"), "+.4f"),
        "converged": {None: "–", True: "yes", False: "no"}[run.get("converged")],
        "seconds": f"{run['seconds']:.0f}",
        "training images": f"{run['train_images']:,}",
        "weights sha256": str(run["model_sha256"])[:16],
        "commit": str(run["commit"])[:10] + ("-dirty" if str(run["commit"]).endswith("-dirty") else ""),
        "device": str(run["device"]),
        "MLflow run": runs.get(f"{cell}/seed-{seed}", "–"),
    }


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def mlflow_runs(project: Project) -> dict[str, str]:
    """Run name → id of the latest finished run, from the project's own store; empty for a store elsewhere."""
    uri = tracking_uri(project.root)
    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or not path.is_file():
        return {}
    query = "select name, run_uuid from runs where status = 'FINISHED' order by start_time"
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
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


def reproduce(cell: Cell) -> str:
    """The commands that make a cell's row."""
    if cell.variant == "main":
        steps = [f"bench stage cell {cell.method}", "bench stage summarise main"]
    elif cell.variant == "model":
        return "bench run --model hf:FOLDER --dataset all && bench report site"
    elif cell.variant == "official":
        steps = [f"bench run --method {cell.method} --dataset all --checkpoint FILE"]
    else:
        steps = [f"bench stage cell {cell.name}", "bench stage summarise all"]
    return " && ".join([*steps, "bench report site"])


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
