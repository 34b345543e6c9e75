"""What dvc.yaml calls: each stage reads params.yaml, does its part and returns one line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.core.errors import DataError
from benchmark.core.files import write_json
from benchmark.core.hashing import hash_file
from benchmark.core.progress import watched
from benchmark.core.settings import set_fields
from benchmark.core.tables import Manifest
from benchmark.grid.layout import Project
from benchmark.grid.params import Cell, Params, ablation_cell, cell_named, load_params, main_cell
from benchmark.stages.evaluate import evaluate_cell, headlines
from benchmark.stages.features import image_store, text_store
from benchmark.stages.prepare import prepare_dataset, source_of
from benchmark.stages.run import Session, train_one, trained_run
from benchmark.stages.summarise import Summary, summarise
from benchmark.stages.texts import align_texts, texts_of
from benchmark.stages.train import training_source


def context() -> tuple[Project, Params]:
    """The project around the working folder and its validated parameters."""
    project = Project.find()
    return project, load_params(project.params)


def session() -> Session:
    project, params = context()
    return Session(project, params, lambda line: print(line, file=sys.stderr))


def prepare_stage(dataset: str) -> str:
    """Read one dataset; data/index/<dataset>.json says what was read."""
    project, params = context()
    done = prepare_dataset(project, params, dataset)
    manifest = done.load()
    write_json(
        project.root / "data" / "index" / f"{dataset}.json",
        {
            "dataset": dataset,
            "origin": done.origin,
            "images": len(manifest),
            "patients": int(manifest.frame["patient_id"].nunique()),
            "manifest_sha256": hash_file(done.folder / "manifest.parquet"),
        },
    )
    return done.message


def texts_stage() -> str:
    """Align the training reports; data/texts.json says what was written."""
    project, params = context()
    manifest = _prepared(project, params, params.data.train)
    message = align_texts(project, params, manifest)
    folder = project.texts(manifest.dataset, manifest.origin)
    hashes = {path.name: hash_file(path) for path in sorted(folder.iterdir()) if path.is_file()}
    write_json(project.root / "data" / "texts.json", {"dataset": manifest.dataset, "sha256": hashes})
    return message


def features_stage() -> str:
    """Encode every image and training text once; data/features.json holds the content keys."""
    project, params = context()
    keys: dict[str, str] = {}
    train = _prepared(project, params, params.data.train)
    source = training_source(params, train)
    keys[f"{params.data.train} (training)"] = image_store(project, params, source.manifest).key
    texts, used = texts_of(project, params.texts, source.manifest)
    keys[f"texts ({used.name})"] = text_store(project, params, [text for own in texts for text in own]).key
    of_tasks = [dataset for settings in params.tasks.values() for dataset in settings.datasets]
    for dataset in dict.fromkeys([*params.data.evaluate, *of_tasks]):
        keys[dataset] = image_store(project, params, _prepared(project, params, dataset)).key
    write_json(project.root / "data" / "features.json", keys)
    return f"features of {len(keys) - 1} image sets and 1 set of texts are in the cache"


def train_stage(name: str, seeds: Sequence[int]) -> str:
    """Train one cell; results/index/weights/ holds the hash of each seed's weights of a main cell."""
    now = session()
    cell = cell_named(now.params, name)
    runs = {f"seed-{seed}": train_one(now, cell, seed) for seed in seeds}
    if cell.variant == "main":
        hashes = {seed: run["model_sha256"] for seed, run in runs.items()}
        write_json(now.project.root / "results" / "index" / "weights" / f"{cell.name}.json", hashes)
    return f"{cell.name}: {len(seeds)} seed(s) trained"


def evaluate_stage(name: str, seeds: Sequence[int]) -> str:
    """Evaluate one trained cell on every evaluation set and task; write the headline numbers of its seeds."""
    now = session()
    cell = cell_named(now.params, name)
    numbers = {}
    for seed in seeds:
        found = evaluate_cell(now, cell, seed, trained_run(now.project, cell, seed))
        numbers[f"seed-{seed}"] = headlines(found)
    if cell.variant == "main":
        write_json(index_file(now.project, cell), numbers)
    return f"{cell.name}: evaluated on {', '.join(cell.evaluate)}"


def cell_stage(name: str) -> str:
    """Train and evaluate one ablation cell with its seeds, or those of the grid."""
    from benchmark.stages.pool import carry_out_job

    now = session()
    cell = cell_named(now.params, name)
    seeds = cell.seeds or now.params.seeds
    for seed in seeds:
        carry_out_job(now, cell, seed)
    return f"{cell.name}: {len(seeds)} seed(s) trained and evaluated"


def cells_stage(table: str, processes: int | None) -> str:
    """Train and evaluate the main cells (`main`) or the ablation cells of one table, one a core at a time."""
    from benchmark.stages.pool import carry_out_table

    now = session()
    return carry_out_table(now.project, now.params, table, processes, now.say)


def tune_stage(method: str) -> str:
    """Search the shared space for one method on the training twin; reports/tuning/<method>.yaml.

    Starts from the method's options without what an earlier search chose, so that a second search finds the
    same. Selection sees held-out training patients only.
    """
    from benchmark.training.tuning import SPACE, tune

    now = session()
    cell = main_cell(now.params, method)
    fixed = {k: v for k, v in set_fields(cell.options).items() if f"options.{k}" not in SPACE}
    shared = {k: v for k, v in set_fields(now.params.training).items() if f"training.{k}" not in SPACE}
    with watched(f"tune {method}") as report:
        found = tune(
            method,
            now.inputs(cell),
            now.project.root / "runs" / "tuning" / method,
            trials=now.params.tuning.trials,
            seed=now.params.tuning.seed,
            options=fixed,
            training=shared,
            report=report,
        )
    path = found.write(now.project.reports / "tuning")
    return f"{method}: trial {found.chosen.number} of {len(found.trials)}, {now.project.relative(path)}"


def index_file(project: Project, cell: Cell) -> Path:
    """Where the headline numbers of an evaluated main cell lie, by seed, for `dvc metrics`."""
    return project.root / "results" / "index" / "main" / f"{cell.name}.json"


def summarise_stage(part: str) -> str:
    """results/summary/<part>: means over seeds, comparisons and ranks of the main cells, or of all."""
    now = session()
    params = now.params
    cells = [main_cell(params, m) for m in params.methods]
    if part == "all":
        cells += [ablation_cell(params, name) for name in params.cells]
    datasets = dict.fromkeys([*params.data.evaluate, *(d for cell in cells for d in cell.evaluate)])
    sets = [now.evaluation_data(dataset) for dataset in datasets]
    summary = summarise(now.project, params, cells, params.seeds, sets)
    summary.save(now.project.summary(part))
    if part == "main":
        write_json(now.project.reports / "metrics.json", _means(summary))
    return f"{len(summary.metrics):,} values and {len(summary.comparisons):,} comparisons"


def _means(summary: Summary) -> dict[str, dict[str, float]]:
    metrics = summary.metrics
    own = metrics[(metrics["class"] == "macro") & (metrics["stratum"] == "all") & metrics["value"].notna()]
    found: dict[str, dict[str, float]] = {}
    for cell, dataset, metric, value in own[["run_id", "dataset", "metric", "value"]].itertuples(index=False):
        found.setdefault(cell, {}).setdefault(f"{dataset}_{metric}", round(float(value), 6))
    return found


def _prepared(project: Project, params: Params, dataset: str) -> Manifest:
    _, origin = source_of(project, params, dataset)
    folder: Path = project.prepared(dataset, origin)
    if not (folder / "manifest.parquet").is_file():
        raise DataError(f"{project.relative(folder)}: no manifest. Run `bench stage prepare {dataset}`.")
    return Manifest.load(folder)
