"""One cell from nothing to a table: prepare what is missing, train or reuse, evaluate, summarise."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.core import numerics
from benchmark.core.errors import BenchError
from benchmark.core.files import read_json, write_json
from benchmark.core.hashing import hash_value
from benchmark.core.locks import only_writer
from benchmark.core.reuse import keep_code_in
from benchmark.core.tables import Manifest
from benchmark.grid.layout import Project
from benchmark.grid.params import Cell, Params
from benchmark.stages.evaluation_sets import evaluation_data
from benchmark.stages.features import image_store, known_text_encoder, texts_cut
from benchmark.stages.method_faults import naming
from benchmark.stages.prepare import prepare_dataset, source_of
from benchmark.stages.run_record import RunRecord
from benchmark.stages.texts import align_texts, read_named, texts_folder, unanswered
from benchmark.stages.train import Trainer, TrainingSource, train_cell, training_inputs, training_source

if TYPE_CHECKING:
    from benchmark.encoders.base import ImageEncoder, TextEncoder
    from benchmark.encoders.store import FeatureStore
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
    evaluated: dict[tuple[str, int, str, str], tuple[Path, ...]] = field(default_factory=dict)
    """(cell, seed, dataset, task) → table of metric rows, then predictions, of what was evaluated in this
    call or found as it would be evaluated now."""
    _manifests: dict[str, Manifest] = field(default_factory=dict)
    _aligned: set[str] = field(default_factory=set)
    _training: tuple[TrainingSource, FeatureStore] | None = None
    _inputs: dict[str, TrainingData] = field(default_factory=dict)
    _evaluated: dict[tuple[str, str | None], EvaluationData] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numerics.apply(self.params.numerics)
        keep_code_in(self.project.code)

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
        name = source_of(self.project, self.params, dataset).name
        with self.writing(dataset, self.project.prepared(name)):
            prepared = prepare_dataset(self.project, self.params, dataset)
        self.say(prepared.message)
        return prepared.load()

    def texts(self, rule: str) -> None:
        """Aligned training sentences by a rule, made where they are missing or not those of these reports."""
        if rule not in self._aligned:
            manifest = self.manifest(self.params.data.train)
            self.processes.first_then_all(lambda: self._texts(manifest, rule))
            self._aligned.add(rule)

    def _texts(self, manifest: Manifest, rule: str) -> None:
        folder = texts_folder(self.project, self.params, manifest.dataset, rule)
        with self.writing(f"{manifest.dataset} texts", folder):
            self.say(align_texts(self.project, self.params, manifest, rule))

    def training_images(self) -> tuple[TrainingSource, FeatureStore]:
        """The images that are trained on, and their features in this order; looked for once."""
        if self._training is None:
            source = training_source(self.params, self.manifest(self.params.data.train))
            self._training = source, image_store(self.project, self.params, source.manifest)
        return self._training

    def _say_cut(self, data: TrainingData) -> None:
        """Says whether the text encoder reads the training texts to their ends."""
        from benchmark.encoders.cards import TextCard
        from benchmark.encoders.store import TextStore

        card = known_text_encoder(self.project, self.params.encoders.text).card
        if (
            isinstance(data.text, TextStore)
            and isinstance(card, TextCard)
            and (cut := texts_cut(data.text, card))
        ):
            self.say(f"{self.params.data.train}: {cut}")

    def inputs(self, cell: Cell) -> TrainingData:
        key = hash_value([cell.texts.model_dump(), cell.labels])
        if key not in self._inputs:
            self.texts(cell.texts.rule)
            manifest = self.manifest(self.params.data.train)
            if lacking := unanswered(self.project, cell.texts, manifest):
                self.say(lacking)
            self._inputs[key] = self.processes.first_then_all(
                lambda: training_inputs(self.project, self.params, cell, *self.training_images())
            )
            self._say_cut(self._inputs[key])
        return self._inputs[key]

    def evaluation_data(self, dataset: str, protocol: str | None = None) -> EvaluationData:
        """The evaluation set of a protocol (None: of the one that this run evaluates) with its features."""
        protocol = protocol or self.protocol
        if (dataset, protocol) not in self._evaluated:
            named = trained_on = None
            if self.encoders is None:
                source = self.manifest(self.params.data.train)
                rule = self.params.texts.rule
                self.texts(rule)
                named = read_named(texts_folder(self.project, self.params, source.dataset, rule))
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


def train_one(
    session: Session, cell: Cell, seed: int, data: TrainingData | None = None, trainer: Trainer | None = None
) -> RunRecord:
    """Train or reuse; returns the run record with what it was trained on.

    Where another process trains the same cell and seed, waits for it and reuses its run. data, trainer: in
    place of the cell's inputs and of `loop.train`, for encoders that are trained too.
    """
    manifest = session.manifest(session.params.data.train)
    data = data or session.inputs(cell)
    source = {
        "trained_on": manifest.dataset,
        "trained_origin": manifest.origin,
        "cell": cell.model_dump(mode="json"),
    }
    folder = session.project.run(cell.name, seed)
    with session.writing(f"{cell.name} seed {seed}", folder), naming(cell.method, session.processes.size):
        done = train_cell(session.project, session.params, cell, seed, manifest, data, session.group, trainer)
        if session.processes.first and _held(folder / "source.json") != source:
            write_json(folder / "source.json", source)
    run = done.run
    again = f" again ({', '.join(done.why)} changed)" if done.why else ""
    verb = "reused" if done.reused else f"trained{again} in {run.seconds:.0f} s"
    session.say(f"{cell.name} seed {seed}: {verb}, best epoch {run.best_epoch}, {_validated(run)}")
    return run.model_copy(update={"trained_on": manifest.dataset})


def _held(path: Path) -> object:
    """What a JSON file holds. A training that was killed before it wrote its own left that of the one before,
    which may have been on another dataset; None where there is none to read."""
    try:
        return read_json(path)
    except BenchError:
        return None


def _validated(run: RunRecord) -> str:
    """`validation AUROC 0.8395, not converged (+0.011 in the last quarter)`, or the loss where that chose."""
    if run.val_auroc is None:
        return f"validation loss {run.val_loss:.4f}"
    said = f"validation AUROC {run.val_auroc:.4f}"
    if run.converged is False:
        said += f", not converged ({run.gain_last_quarter:+.3f} in the last quarter)"
    return said
