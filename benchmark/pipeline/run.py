"""One cell from nothing to a table: prepare what is missing, train or reuse, evaluate, summarise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import BenchError
from benchmark.core.files import read_json, write_json
from benchmark.core.hashing import hash_file, hash_value
from benchmark.core.tables import Manifest, read_table
from benchmark.pipeline.evaluate import METRICS, Target, evaluate_cell, target
from benchmark.pipeline.params import Cell, Params
from benchmark.pipeline.prepare import prepare_dataset, source_of
from benchmark.pipeline.project import Project, source_name
from benchmark.pipeline.texts import COUNTS, align_texts, named_in_training
from benchmark.pipeline.train import train_cell, training_inputs

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.encoders.base import ImageEncoder, TextEncoder
    from benchmark.training.data import TrainingData
    from methods.base import Method

Say = Callable[[str], None]


@dataclass
class Session:
    """What several cells of one call share: manifests, training inputs and evaluation targets."""

    project: Project
    params: Params
    say: Say
    protocol: str | None = None
    encoders: tuple[ImageEncoder, TextEncoder] | None = None
    """Of an official checkpoint; None: the shared ones, and a method trained here."""
    _manifests: dict[str, Manifest] = field(default_factory=dict)
    _inputs: dict[str, TrainingData] = field(default_factory=dict)
    _targets: dict[str, Target] = field(default_factory=dict)

    def manifest(self, dataset: str) -> Manifest:
        """The prepared manifest, made where it is missing or its source changed."""
        if dataset not in self._manifests:
            root, origin = source_of(self.project, self.params, dataset)
            folder = self.project.prepared(dataset, origin)
            fresh = (folder / "manifest.parquet").is_file()
            if fresh:
                known = Manifest.load(folder)
                fresh = known.root == root.absolute() or known.root == root
                self._manifests[dataset] = known
            if fresh and (origin == "official" or root.is_dir()):
                self.say(f"{dataset}: reused {len(self._manifests[dataset]):,} images")
            else:
                prepared = prepare_dataset(self.project, self.params, dataset)
                self.say(prepared.message)
                self._manifests[dataset] = prepared.load()
        return self._manifests[dataset]

    def texts(self) -> None:
        """Aligned training sentences, made where they are missing."""
        manifest = self.manifest(self.params.data.train)
        folder = self.project.texts(manifest.dataset, manifest.origin)
        if not (folder / COUNTS).is_file():
            self.say(align_texts(self.project, self.params, manifest))

    def inputs(self, cell: Cell) -> TrainingData:
        key = hash_value(cell.texts.model_dump())
        if key not in self._inputs:
            self.texts()
            manifest = self.manifest(self.params.data.train)
            self._inputs[key] = training_inputs(self.project, self.params, cell, manifest)
        return self._inputs[key]

    def target(self, dataset: str) -> Target:
        if dataset not in self._targets:
            named = trained_on = None
            if self.encoders is None:
                source = self.manifest(self.params.data.train)
                self.texts()
                named = named_in_training(self.project, source.dataset, source.origin)
                trained_on = source.dataset
            self._targets[dataset] = target(
                self.project,
                self.params,
                self.manifest(dataset),
                protocol=self.protocol,
                trained_on=trained_on,
                named=named,
                encoders=self.encoders,
            )
        return self._targets[dataset]


def train_one(session: Session, cell: Cell, seed: int) -> dict[str, Any]:
    """Train or reuse; returns the run record with what it was trained on."""
    manifest = session.manifest(session.params.data.train)
    data = session.inputs(cell)
    result = train_cell(session.project, session.params, cell, seed, manifest, data)
    source = {
        "trained_on": manifest.dataset,
        "trained_origin": manifest.origin,
        "cell": cell.model_dump(mode="json"),
    }
    write_json(result.folder / "source.json", source)
    verb = "reused" if result.reused else f"trained in {result.seconds:.0f} s"
    session.say(
        f"{cell.name} seed {seed}: {verb}, best epoch {result.best_epoch}, "
        f"validation loss {result.val_loss:.4f}"
    )
    return {**result.run, **source}


def trained_run(project: Project, cell: Cell, seed: int) -> dict[str, Any]:
    """The record of a finished run. Raises BenchError where there is none."""
    folder = project.run(cell.name, seed)
    if not (folder / "run.json").is_file():
        raise BenchError(f"{project.relative(folder)}: no finished run. Run `bench stage train` first.")
    return {**read_json(folder / "run.json"), **read_json(folder / "source.json")}


def evaluate_one(
    session: Session, cell: Cell, seed: int, dataset: str, run: dict[str, Any], method: Method | None = None
) -> pd.DataFrame:
    """Metrics of one run on one dataset; those on disk where weights, data and prompts agree."""
    from benchmark.training.loop import load_method

    at = session.target(dataset)
    folder = session.project.results(cell.name, seed) / source_name(dataset, at.manifest.origin)
    key = hash_value(
        [
            run["model_sha256"],
            run["options"],
            at.images.key,
            at.chosen.info,
            [p.model_dump() for p in cell.prompts_on(dataset)],
            session.params.statistics,
            {k: list(v) for k, v in at.strata.items()},
            at.encoder,
        ]
    )
    done = folder / "evaluation.json"
    if done.is_file() and (folder / METRICS).is_file():
        known = read_json(done)
        if known["key"] == key and known["sha256"] == hash_file(folder / METRICS):
            return read_table(folder / METRICS)[0]
    done.unlink(missing_ok=True)
    if method is None:
        method = load_method(session.project.run(cell.name, seed))
    metrics = evaluate_cell(session.project, session.params, cell, seed, method, run, at)
    write_json(done, {"key": key, "sha256": hash_file(folder / METRICS)})
    return metrics
