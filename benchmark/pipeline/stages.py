"""What dvc.yaml calls: each stage reads params.yaml, does its part and returns one line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.core.errors import DataError
from benchmark.core.files import write_json
from benchmark.core.tables import Manifest
from benchmark.pipeline.evaluate import Target
from benchmark.pipeline.features import image_store, text_store
from benchmark.pipeline.params import Cell, Params, ablation_cell, load_params, main_cell
from benchmark.pipeline.prepare import source_of
from benchmark.pipeline.project import Project
from benchmark.pipeline.run import Session, evaluate_one, train_one, trained_run
from benchmark.pipeline.summary import Summary, summarise
from benchmark.pipeline.texts import align_texts, texts_of
from benchmark.pipeline.train import training_source


def context() -> tuple[Project, Params]:
    """The project around the working folder and its validated parameters."""
    project = Project.find()
    return project, load_params(project.params)


def session() -> Session:
    project, params = context()
    return Session(project, params, lambda line: print(line, file=sys.stderr))


def cell_named(params: Params, name: str) -> Cell:
    """A method's main cell (`carzero`, `carzero-main`) or a cell of params.yaml."""
    method = name.removesuffix("-main")
    if name in params.cells:
        return ablation_cell(params, name)
    if method in params.method:
        return main_cell(params, method)
    return ablation_cell(params, name)


def texts_stage() -> str:
    """Align the training reports."""
    project, params = context()
    return align_texts(project, params, _prepared(project, params, params.data.train))


def features_stage() -> str:
    """Encode every image and training text once; data/features.json holds the content keys."""
    project, params = context()
    keys: dict[str, str] = {}
    train = _prepared(project, params, params.data.train)
    source = training_source(params, train)
    keys[f"{params.data.train} (training)"] = image_store(project, params, source.manifest).key
    texts, kind = texts_of(project, params.texts, source.manifest)
    keys[f"texts ({kind})"] = text_store(project, params, [text for own in texts for text in own]).key
    for dataset in params.data.evaluate:
        keys[dataset] = image_store(project, params, _prepared(project, params, dataset)).key
    write_json(project.root / "data" / "features.json", keys)
    return f"features of {len(keys) - 1} image sets and 1 set of texts are in the cache"


def train_stage(name: str, seeds: Sequence[int]) -> str:
    """Train one cell."""
    now = session()
    cell = cell_named(now.params, name)
    for seed in seeds:
        train_one(now, cell, seed)
    return f"{cell.name}: {len(seeds)} seed(s) trained"


def evaluate_stage(name: str, seeds: Sequence[int]) -> str:
    """Evaluate one trained cell on every evaluation set."""
    now = session()
    cell = cell_named(now.params, name)
    for seed in seeds:
        run = trained_run(now.project, cell, seed)
        for dataset in cell.evaluate:
            evaluate_one(now, cell, seed, dataset, run)
    return f"{cell.name}: evaluated on {', '.join(cell.evaluate)}"


def summarise_stage() -> str:
    """results/summary/: means over seeds, comparisons, ranks of every cell of params.yaml."""
    now = session()
    summary = make_summary(now)
    summary.save(now.project.root / "results" / "summary")
    return f"{len(summary.metrics):,} values and {len(summary.comparisons):,} comparisons"


def make_summary(now: Session) -> Summary:
    params = now.params
    cells = [main_cell(params, m) for m in params.methods]
    cells += [ablation_cell(params, name) for name in params.cells]
    datasets = dict.fromkeys([*params.data.evaluate, *(d for cell in cells for d in cell.evaluate)])
    targets: list[Target] = [now.target(dataset) for dataset in datasets]
    return summarise(now.project, params, cells, params.seeds, targets)


def _prepared(project: Project, params: Params, dataset: str) -> Manifest:
    _, origin = source_of(project, params, dataset)
    folder: Path = project.prepared(dataset, origin)
    if not (folder / "manifest.parquet").is_file():
        raise DataError(f"{project.relative(folder)}: no manifest. Run `bench stage prepare {dataset}`.")
    return Manifest.load(folder)
