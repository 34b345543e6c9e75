"""One cell from nothing to a table: prepare what is missing, train or reuse, evaluate, summarise."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import BenchError
from benchmark.core.files import read_json, write_json
from benchmark.core.hashing import hash_file, hash_value
from benchmark.core.locks import only_writer
from benchmark.core.tables import Manifest, read_table
from benchmark.grid.layout import Project, source_name
from benchmark.grid.params import Cell, Params
from benchmark.stages.evaluate import METRICS, Target, code_key, evaluate_cell, target
from benchmark.stages.prepare import prepare_dataset, source_of
from benchmark.stages.texts import COUNTS, align_texts, named_in_training
from benchmark.stages.train import train_cell, training_inputs

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.encoders.base import ImageEncoder, TextEncoder
    from benchmark.training.data import TrainingData
    from benchmark.training.distributed import Group
    from methods.base import Method

Say = Callable[[str], None]


@dataclass
class Session:
    """What several cells of one call share: manifests, training inputs and evaluation targets.

    Under torchrun every rank holds a session: rank 0 prepares what is missing and writes, the others find it.
    """

    project: Project
    params: Params
    say: Say
    protocol: str | None = None
    encoders: tuple[ImageEncoder, TextEncoder] | None = None
    """Of an official checkpoint; None: the shared ones, and a method trained here."""
    group: Group | None = None
    _manifests: dict[str, Manifest] = field(default_factory=dict)
    _inputs: dict[str, TrainingData] = field(default_factory=dict)
    _targets: dict[str, Target] = field(default_factory=dict)

    @property
    def processes(self) -> Group:
        """The processes of this run; one without torchrun."""
        from benchmark.training.distributed import Group

        return self.group or Group()

    @contextlib.contextmanager
    def writing(self, what: str, place: Path) -> Iterator[None]:
        """Rank 0 holds the lock of the folder `place` meanwhile, so that no other run writes there."""
        if not self.processes.first:
            yield
            return
        lock = self.project.cache / "locks" / ".".join(place.relative_to(self.project.root).parts)
        with only_writer(lock, lambda: self.say(f"{what}: waiting for another process")):
            yield

    def manifest(self, dataset: str) -> Manifest:
        """The prepared manifest, made where it is missing or its source changed."""
        if dataset not in self._manifests:
            self._manifests[dataset] = self.processes.first_then_all(lambda: self._manifest(dataset))
        return self._manifests[dataset]

    def _manifest(self, dataset: str) -> Manifest:
        root, origin = source_of(self.project, self.params, dataset)
        folder = self.project.prepared(dataset, origin)
        with self.writing(dataset, folder):
            if (folder / "manifest.parquet").is_file():
                known = Manifest.load(folder)
                same = known.root == root.absolute() or known.root == root
                if same and (origin == "official" or root.is_dir()):
                    self.say(f"{dataset}: reused {len(known):,} images")
                    return known
            prepared = prepare_dataset(self.project, self.params, dataset)
        self.say(prepared.message)
        return prepared.load()

    def texts(self) -> None:
        """Aligned training sentences, made where they are missing."""
        manifest = self.manifest(self.params.data.train)
        self.processes.first_then_all(lambda: self._texts(manifest))

    def _texts(self, manifest: Manifest) -> None:
        folder = self.project.texts(manifest.dataset, manifest.origin)
        with self.writing(f"{manifest.dataset} texts", folder):
            if not (folder / COUNTS).is_file():
                self.say(align_texts(self.project, self.params, manifest))

    def inputs(self, cell: Cell) -> TrainingData:
        key = hash_value(cell.texts.model_dump())
        if key not in self._inputs:
            self.texts()
            manifest = self.manifest(self.params.data.train)
            self._inputs[key] = self.processes.first_then_all(
                lambda: training_inputs(self.project, self.params, cell, manifest)
            )
        return self._inputs[key]

    def target(self, dataset: str) -> Target:
        if dataset not in self._targets:
            named = trained_on = None
            if self.encoders is None:
                source = self.manifest(self.params.data.train)
                self.texts()
                named = named_in_training(self.project, source.dataset, source.origin)
                trained_on = source.dataset
            manifest = self.manifest(dataset)
            self._targets[dataset] = self.processes.first_then_all(
                lambda: target(
                    self.project,
                    self.params,
                    manifest,
                    protocol=self.protocol,
                    trained_on=trained_on,
                    named=named,
                    encoders=self.encoders,
                )
            )
        return self._targets[dataset]


def train_one(session: Session, cell: Cell, seed: int) -> dict[str, Any]:
    """Train or reuse; returns the run record with what it was trained on.

    Where another process trains the same cell and seed, waits for it and reuses its run.
    """
    manifest = session.manifest(session.params.data.train)
    data = session.inputs(cell)
    source = {
        "trained_on": manifest.dataset,
        "trained_origin": manifest.origin,
        "cell": cell.model_dump(mode="json"),
    }
    folder = session.project.run(cell.name, seed)
    with session.writing(f"{cell.name} seed {seed}", folder):
        result = train_cell(session.project, session.params, cell, seed, manifest, data, session.group)
        if session.processes.first:
            write_json(folder / "source.json", source)
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
    """Metrics of one run on one dataset; those on disk where weights, data and prompts agree.

    Under torchrun all ranks score and rank 0 returns the metrics, the others no rows.
    """
    import pandas as pd

    from benchmark.training.loop import load_method

    at = session.target(dataset)
    group = session.processes
    folder = session.project.results(cell.name, seed) / source_name(dataset, at.manifest.origin)
    done = folder / "evaluation.json"
    key = _evaluation_key(session, cell, dataset, run, at)
    with session.writing(f"{cell.name} seed {seed} on {dataset}", folder):
        if group.agree(_evaluated(folder, key) if group.first else None):
            return read_table(folder / METRICS)[0] if group.first else pd.DataFrame()
        if group.first:
            done.unlink(missing_ok=True)
        if method is None:
            method = load_method(session.project.run(cell.name, seed))
        metrics = evaluate_cell(session.project, session.params, cell, seed, method, run, at, group)
        if group.first:
            write_json(done, {"key": key, "sha256": hash_file(folder / METRICS)})
    return metrics


def _evaluation_key(session: Session, cell: Cell, dataset: str, run: dict[str, Any], at: Target) -> str:
    return hash_value(
        [
            code_key(cell.method),
            run["model_sha256"],
            run["options"],
            at.images.key,
            at.chosen.info,
            [p.model_dump() for p in cell.prompts_on(dataset)],
            session.params.statistics.model_dump(),
            {k: list(v) for k, v in at.strata.items()},
            at.encoder,
        ]
    )


def _evaluated(folder: Path, key: str) -> bool:
    done, metrics = folder / "evaluation.json", folder / METRICS
    if not (done.is_file() and metrics.is_file()):
        return False
    known = read_json(done)
    return bool(known["key"] == key and known["sha256"] == hash_file(metrics))
