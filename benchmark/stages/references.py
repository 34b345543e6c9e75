"""Stage references: what stands below and above the methods of the main tables, made once for each content.

Scores lie in the cache under a content key, so that a run with other settings never takes the place of those
of the main tables. Untrained methods are scored with the weights that their training starts from; a cell of
the table `floor` (trained on shuffled pairs) is a cell like any other and shown as a reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core import numerics
from benchmark.core.hashing import hash_array
from benchmark.core.reuse import Key, is_made, key_of, reuse, source
from benchmark.core.tables import Manifest, Predictions, ScoresRecord
from benchmark.core.tasks import CLASSIFICATION, TaskContext, TaskSettings
from benchmark.data.decoded import decoded
from benchmark.data.decoded_volumes import decoded_volumes, volume_sources
from benchmark.data.volume_steps import frontal
from benchmark.encoders.volume_encoder import VolumeEncoder
from benchmark.evaluation.evaluation_data import hash_frame
from benchmark.evaluation.references.base import REFERENCES, Images, Kind, Labels, Reference, crossed, enough
from benchmark.evaluation.scoring import score
from benchmark.evaluation.tasks.classification import predict
from benchmark.grid.params import FLOOR, Cell, main_cell
from benchmark.prompts.lexicon import load_lexicon
from benchmark.stages.evaluate import TILE, evaluation
from benchmark.stages.evaluation_sets import prompt_set
from benchmark.stages.features import device, known_image_encoder
from benchmark.stages.train import find_run, untrained
from benchmark.training.finished import RUN
from benchmark.twins.build import truth_path
from methods.base import METHODS

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.core.features import TextFeatures
    from benchmark.core.preprocessing import Preprocessing
    from benchmark.data.cards import Card
    from benchmark.encoders.store import FeatureStore
    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.grid.request import RunPlan
    from benchmark.stages.run import Session
    from methods.base import Method

SEED = 0
"""Of folds, initial weights and orders of the references."""
PREFIX = "reference-"
UNTRAINED = f"{PREFIX}untrained"
SAMPLE = 512
"""Training images whose features give untrained methods the statistics of their inputs."""


@dataclass(frozen=True)
class Referred:
    """Scores of one reference on one evaluation set. name: of the row; seed: of the scores, where there are
    several; note: what it reads and was fitted on."""

    name: str
    title: str
    kind: Kind
    note: str
    seed: int
    path: Path


def reference_names() -> list[str]:
    """Names of the rows that need no cell of their own, floors first."""
    return [UNTRAINED, *probes("floor"), *probes("ceiling")]


def probes(kind: Kind) -> list[str]:
    """Names of the registered references of one kind, in their order."""
    found = [own for name in REFERENCES.names() if (own := REFERENCES.get(name)).kind == kind]
    return [f"{PREFIX}{own.name}" for own in sorted(found, key=lambda r: (r.order, r.name))]


def referred(session: Session, datasets: Sequence[str], names: Sequence[str]) -> dict[str, list[Referred]]:
    """dataset → scores of these references, made where they are missing. A set that lacks what a reference
    reads (age, sex and view) has none of it."""
    found: dict[str, list[Referred]] = {dataset: [] for dataset in datasets}
    truth = cache(lambda: training_truth(session))
    for name in names:
        made = _untrained(session, datasets) if name == UNTRAINED else _fitted(session, datasets, name, truth)
        for dataset, scores in made.items():
            found[dataset] += scores
    return found


def floor_cells(
    session: Session, cells: Sequence[Cell], seeds: Sequence[int], at: EvaluationData
) -> list[Referred]:
    """The scores of cells of the table `floor`, where they are those that would be made now."""
    found = []
    for cell in (c for c in cells if c.table == FLOOR):
        for seed in cell.seeds or seeds:
            files = session.evaluated.get((cell.name, seed, at.manifest.dataset, CLASSIFICATION), ())
            note = f"{cell.label}: trained with the texts of each image given to another"
            found += [Referred(cell.name, cell.label, "floor", note, seed, path) for path in files[1:2]]
    return found


@dataclass(frozen=True)
class Floor:
    """What is there of the floor. cells: of the table `floor`, entered into `Session.evaluated`; untrained:
    dataset → scores; missing: what is not there."""

    cells: tuple[Cell, ...] = ()
    untrained: Mapping[str, Sequence[Referred]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def floor_on_disk(session: Session, todo: RunPlan) -> Floor:
    """The floor cells of a request and the untrained methods, as they would be made now on its sets.

    Nothing is trained or scored. There is none of a checkpoint, which has encoders of its own.
    """
    if session.encoders is not None or todo.below is None:
        return Floor()
    missing, datasets = [], todo.datasets
    for cell in todo.below:
        for seed in cell.seeds or todo.seeds:
            there = _evaluated(session, cell, seed, datasets)
            session.evaluated.update(there)
            if len(there) < len(datasets):
                missing.append(cell.label)
    mains = [main_cell(session.params, method) for method in session.params.methods]
    untrained = {dataset: _untrained(session, [dataset])[dataset] for dataset in datasets
                 if all(is_made(*_initial(session, cell, dataset)) for cell in mains)}  # fmt: skip
    if len(untrained) < len(datasets):
        missing.append("untrained methods")
    return Floor(todo.below, untrained, tuple(dict.fromkeys(missing)))


def _evaluated(
    session: Session, cell: Cell, seed: int, datasets: Sequence[str]
) -> dict[tuple[str, int, str, str], tuple[Path, ...]]:
    """Entries of `Session.evaluated` for the sets on which a cell is evaluated as it would be now."""
    if not (session.project.run(cell.name, seed) / RUN).is_file():
        return {}
    run = find_run(session.project, cell, seed, session.inputs(cell))
    if run is None:
        return {}
    found = {}
    for dataset in datasets:
        done = evaluation(session, CLASSIFICATION, cell, seed, dataset, run)
        if done.on_disk() == "rows":
            found[cell.name, seed, dataset, CLASSIFICATION] = done.files
    return found


def _fitted(
    session: Session, datasets: Sequence[str], name: str, truth: Callable[[], Training | None]
) -> dict[str, list[Referred]]:
    """Scores of one registered reference; one that is fitted on all classes at once is fitted once. truth:
    `training_truth`, which several of them share."""
    reference = REFERENCES.get(name.removeprefix(PREFIX))()
    sets, images = {}, {}
    for dataset in datasets:
        at = session.evaluation_data(dataset)
        own = _images(session, at.manifest, at.images, at.chosen.frame, at.rows, at.steps)
        if reference.applies(own):
            sets[dataset], images[dataset] = at, own
    training = truth()
    trained = [d for d in sets if training is not None and reference.shared(training.images, images[d])]
    groups = [(training, trained)] if reference.joint and trained else [(training, [d]) for d in trained]
    groups += [(None, [d]) for d in sets if d not in trained and enough(images[d])]
    found: dict[str, list[Referred]] = {}
    for known, group in groups:
        found |= _group(session, reference, {d: sets[d] for d in group}, images, known)
    return found


def _group(
    session: Session, reference: Reference, sets: Mapping[str, EvaluationData],
    images: Mapping[str, Images], training: Training | None,
) -> dict[str, list[Referred]]:  # fmt: skip
    """Scores on these sets by one fit on the training images, or, without them, across the one set."""
    name = f"{PREFIX}{reference.name}"
    if training is None:
        labels = [at.chosen.labels for at in sets.values()]
        basis = "cross-validated on the evaluation set itself, no patient in two folds"
    else:
        labels = [labels_of(training.drawn, at.card, at.chosen.classes) for at in sets.values()]
        basis = f"fitted on the true labels of {len(training.images):,} training images"

    def make() -> None:
        if training is None:
            ((dataset, at),) = sets.items()
            _save(files[dataset], name, at, crossed(reference, images[dataset], at.chosen.labels, SEED))
            return
        model = reference.fit(training.images, np.concatenate(labels, axis=1), SEED)
        ends = np.cumsum([own.shape[1] for own in labels])
        for (dataset, at), end, own in zip(sets.items(), ends, labels, strict=True):
            _save(files[dataset], name, at, model(images[dataset])[:, end - own.shape[1] : end])

    key = key_of(
        source=source(type(reference).__module__, __name__),
        numerics=numerics.state(),
        training=None
        if training is None
        else [training.images.features.key, hash_frame(training.images.frame)],
        labels=[hash_array(own) for own in labels],
        sets=[
            [at.images.key, at.identity, at.chosen.info.as_json(), list(at.chosen.classes)]
            for at in sets.values()
        ],
    )
    folder = session.project.cache / "references" / key.digest
    files = {dataset: folder / f"{dataset}.parquet" for dataset in sets}
    with session.writing(name, folder):
        done = reuse(folder / "made.json", key, files.values(), make)
    session.say(f"{name} on {', '.join(sets)}: {done}")
    note = f"{reference.title}: reads {reference.reads}, {basis}"
    return {d: [Referred(name, reference.title, reference.kind, note, SEED, p)] for d, p in files.items()}


def _untrained(session: Session, datasets: Sequence[str]) -> dict[str, list[Referred]]:
    """Scores of every method of the main tables with initial weights, each as a seed of one row; texts and
    prompts are those of the trained ones."""
    found: dict[str, list[Referred]] = {dataset: [] for dataset in datasets}
    title = "untrained methods"
    count = len(session.params.methods)
    note = f"{title}: the mean of {count} methods with the weights that training starts from"
    for number, method in enumerate(session.params.methods):
        cell = main_cell(session.params, method)
        for dataset in datasets:
            path = _scored_untrained(session, cell, dataset)
            found[dataset].append(Referred(UNTRAINED, title, "floor", note, number, path))
    return found


def _initial(session: Session, cell: Cell, dataset: str) -> tuple[Path, Key, list[Path]]:
    """Mark, key and file of the scores of one untrained method on one set."""
    at = session.evaluation_data(dataset)
    prompts = prompt_set(at.card, at.chosen.info.protocol, cell.prompts)
    data = session.inputs(cell)
    key = key_of(
        source=source(
            METHODS.get(cell.method).__module__, __name__, "benchmark.evaluation.tasks.classification"
        ),
        numerics=numerics.state(),
        options=cell.options.model_dump(mode="json"),
        training=data.key,
        set=[at.images.key, at.identity, at.chosen.info.as_json(), list(at.chosen.classes)],
        prompts=prompts.hash,
        encoder=at.encoder,
    )
    folder = session.project.cache / "references" / key.digest
    return folder / "made.json", key, [folder / f"{dataset}.parquet"]


def _scored_untrained(session: Session, cell: Cell, dataset: str) -> Path:
    """Scores of one untrained method on one set, made where they are missing."""
    at = session.evaluation_data(dataset)
    mark, key, (path,) = _initial(session, cell, dataset)

    def make() -> None:
        prompts = prompt_set(at.card, at.chosen.info.protocol, cell.prompts)
        data = session.inputs(cell)
        method = untrained(cell, SEED, data)
        examples = data.train[:: max(1, len(data.train) // SAMPLE)]
        rows = np.unique(np.concatenate([data.sentences(int(n)) for n in examples]))
        method.fit_inputs(data.images.get(data.image_rows[examples]), data.text.get(rows))
        scoring = TaskContext(session.params.statistics, TaskSettings(), _score, device())
        _save(path, UNTRAINED, at, predict(method, at, prompts, scoring))

    with session.writing(f"untrained {cell.method} on {dataset}", mark.parent):
        done = reuse(mark, key, [path], make)
    session.say(f"untrained {cell.method} on {dataset}: {done}")
    return path


def _score(method: Method, images: FeatureStore, rows: np.ndarray, texts: TextFeatures) -> np.ndarray:
    return score(method, images, texts, TILE, rows=rows, device=device())


@dataclass(frozen=True)
class Training:
    """Training images and the concepts drawn in each."""

    images: Images
    drawn: Sequence[frozenset[str]]


def training_truth(session: Session) -> Training | None:
    """None where the labels of what is evaluated are not known of the training images (they are no twin, or
    an official checkpoint was trained elsewhere), or their patients are too few."""
    if session.encoders is not None:
        return None
    manifest = session.manifest(session.params.data.train)
    path = truth_path(manifest.root)
    if manifest.origin != "twin" or not path.is_file():
        return None
    source, store = session.training_images()
    chosen = source.manifest
    steps = known_image_encoder(session.project, session.params.encoders.image).preprocessing
    images = _images(session, chosen, store, chosen.frame, np.arange(len(store)), steps)
    if not enough(images):
        return None
    return Training(images, drawn_concepts(path, list(chosen.frame["image_id"])))


def drawn_concepts(path: Path, images: Sequence[str]) -> list[frozenset[str]]:
    """The concepts that a twin drew in each of these images, from its truth."""
    import pandas as pd

    truth = pd.read_parquet(path, columns=["image_id", "source", "concept", "presence"])
    truth = truth[(truth["source"] == "image") & (truth["presence"] == "present")]
    drawn = truth.groupby("image_id")["concept"].agg(frozenset).to_dict()
    return [drawn.get(name, frozenset()) for name in images]


def labels_of(drawn: Sequence[frozenset[str]], card: Card, classes: Sequence[str]) -> Labels:
    """(M, C) int8: whether an image shows one of a class's concepts, or something below it."""
    lexicon = load_lexicon()
    wanted = [
        frozenset(card.concepts.get(name, ())).union(
            *(lexicon.descendants(c) for c in card.concepts.get(name, ()) if c in lexicon)
        )
        for name in classes
    ]
    return np.array([[bool(own & w) for w in wanted] for own in drawn], dtype=np.int8)


def _images(
    session: Session, manifest: Manifest, store: FeatureStore, frame: pd.DataFrame, rows: np.ndarray,
    steps: Preprocessing,
) -> Images:  # fmt: skip
    def pixels(wanted: np.ndarray) -> np.ndarray:
        cache = session.project.cache / "decoded"
        encoder = (
            session.encoders[0]
            if session.encoders
            else known_image_encoder(session.project, session.params.encoders.image)
        )
        if isinstance(encoder, VolumeEncoder):
            voxels = decoded_volumes(volume_sources(manifest), encoder.steps, cache).voxels
            return np.stack([frontal(voxels[row], steps.side) for row in wanted])
        paths = [manifest.root / path for path in manifest.frame["path"]]
        return np.asarray(decoded(paths, steps, cache).pixels[wanted])

    patients = frame["patient_id"].astype("string").fillna("").to_numpy(dtype=object)
    own = np.array([p or f"image {n}" for n, p in enumerate(patients)], dtype=object)
    return Images(frame.reset_index(drop=True), store, rows, pixels, own)


def _save(path: Path, name: str, at: EvaluationData, scores: np.ndarray) -> None:
    import pandas as pd

    ids = pd.DataFrame({"image_id": at.chosen.frame["image_id"], "patient_id": at.chosen.patients})
    columns = pd.DataFrame(scores.astype(np.float32), columns=list(at.chosen.classes))
    info = ScoresRecord(reference=name, dataset=at.manifest.dataset, protocol=at.chosen.info.protocol)
    frame = pd.concat([ids.reset_index(drop=True), columns], axis=1)
    Predictions(at.chosen.classes, frame, info).save(path)
