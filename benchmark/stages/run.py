"""One cell from nothing to a table: prepare what is missing, train or reuse, evaluate, summarise."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import BenchError
from benchmark.core.files import read_json, write_json
from benchmark.core.hashing import hash_value
from benchmark.core.locks import only_writer
from benchmark.core.tables import Manifest
from benchmark.data.cards import load_card
from benchmark.data.dataset import remarks
from benchmark.grid.layout import Project
from benchmark.grid.params import Cell, Params
from benchmark.stages.evaluate import evaluation_data
from benchmark.stages.prepare import prepare_dataset, source_of
from benchmark.stages.texts import COUNTS, align_texts, named_in_training
from benchmark.stages.train import train_cell, training_inputs

if TYPE_CHECKING:
    from benchmark.encoders.base import ImageEncoder, TextEncoder
    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.training.data import TrainingData
    from benchmark.training.distributed import Group

Say = Callable[[str], None]


@dataclass
class Session:
    """What several cells of one call share: manifests, training inputs and evaluation sets.

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
    _evaluated: dict[tuple[str, str | None], EvaluationData] = field(default_factory=dict)

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
                    said = [f"{dataset}: reused {len(known):,} images", *remarks(known, load_card(dataset))]
                    self.say("; ".join(said))
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

    def evaluation_data(self, dataset: str, protocol: str | None = None) -> EvaluationData:
        """The evaluation set of a protocol (None: of the one that this run evaluates) with its features."""
        protocol = protocol or self.protocol
        if (dataset, protocol) not in self._evaluated:
            named = trained_on = None
            if self.encoders is None:
                source = self.manifest(self.params.data.train)
                self.texts()
                named = named_in_training(self.project, source.dataset, source.origin)
                trained_on = source.dataset
            manifest = self.manifest(dataset)
            self._evaluated[dataset, protocol] = self.processes.first_then_all(
                lambda: evaluation_data(
                    self.project,
                    self.params,
                    manifest,
                    protocol=protocol,
                    trained_on=trained_on,
                    named=named,
                    encoders=self.encoders,
                    group=self.processes,
                )
            )
        return self._evaluated[dataset, protocol]


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
