"""Stage train: one cell, one seed, from the feature cache to model.safetensors and run.json."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.core import numerics
from benchmark.core.cells import known_clusters
from benchmark.core.errors import BenchError, DataError
from benchmark.core.files import atomic_path
from benchmark.core.hashing import derive_seed, hash_strings
from benchmark.core.kept_value import kept_value
from benchmark.core.locks import only_writer
from benchmark.core.progress import progress
from benchmark.core.reuse import Key, key_of, reuse, source
from benchmark.core.states import installed, machine
from benchmark.core.tables import Manifest
from benchmark.grid.asked import known_methods
from benchmark.grid.layout import Project
from benchmark.grid.params import Cell, Params
from benchmark.stages.features import text_store
from benchmark.stages.run_record import RunRecord, run_record
from benchmark.stages.texts import text_provenance, texts_of
from benchmark.stages.tracking import Tracker

if TYPE_CHECKING:
    from benchmark.encoders.store import FeatureStore
    from benchmark.prompts.training_texts import TrainingFindings
    from benchmark.training.data import TrainingData
    from benchmark.training.distributed import Group
    from benchmark.training.finished import TrainingResult
    from methods.base import Method

FEW_VALIDATION_IMAGES = 64
Trainer = Callable[..., "TrainingResult"]
"""A function of the parameters of `training.loop.train`."""


@dataclass(frozen=True)
class TrainingSource:
    """Training images of one dataset and how they were chosen."""

    manifest: Manifest
    split: list[str] | None
    rule: str


def training_source(params: Params, manifest: Manifest) -> TrainingSource:
    """Training and validation images: chosen views, never the test split, at most `train_images`.

    The dataset's own validation split is used where it has 64 images or more; else patients are held out. An
    image of an unknown patient is a patient of its own, as in evaluation: all of them together would fall on
    one side of the split. Raises DataError where no image is left.
    """
    import pandas as pd

    frame = manifest.frame
    keep = frame["split"].fillna("train").isin(["train", "validate"])
    if not keep.any():
        raise DataError(
            f"{manifest.dataset}: every image of {manifest.root} is for evaluation, none for training. Set "
            "data.train to another dataset; `bench ls datasets` shows which are trained on."
        )
    if params.data.train_views and frame["view"].notna().any():
        keep &= frame["view"].isin(list(params.data.train_views))
    frame = frame[keep]
    if frame.empty:
        raise DataError(
            f"{manifest.dataset}: no training image with view {', '.join(params.data.train_views)} in "
            f"{manifest.root}. Check data.train_views and the split file."
        )
    patients, _ = known_clusters(frame["patient_id"], frame["image_id"])
    frame = frame.assign(patient_id=pd.array(list(patients), dtype="string"))
    if params.data.train_images is not None and len(frame) > params.data.train_images:
        order = [derive_seed(0, "subset", str(patient)) for patient in frame["patient_id"]]
        chosen = np.argsort(order, kind="stable")[: params.data.train_images]
        frame = frame.iloc[np.sort(chosen)]
    frame = frame.reset_index(drop=True)
    own = int((frame["split"] == "validate").sum())
    chosen_manifest = Manifest(manifest.dataset, manifest.origin, manifest.root, manifest.classes, frame)
    if own >= FEW_VALIDATION_IMAGES:
        split = ["val" if s == "validate" else "train" for s in frame["split"].fillna("train")]
        return TrainingSource(chosen_manifest, split, "the dataset's own validation split")
    share = params.data.validation
    return TrainingSource(chosen_manifest, None, f"{share:.0%} of the patients, by a hash of their id")


def training_inputs(
    project: Project, params: Params, cell: Cell, source: TrainingSource, images: FeatureStore
) -> TrainingData:
    """Features, texts and what the texts say, joined; the same for every method with the same texts.

    images: features of the images of `source`, in their order.
    """
    from benchmark.training.data import training_data

    texts, used = texts_of(project, params, cell.texts, source.manifest)
    if not any(texts):
        raise DataError(
            f"{source.manifest.dataset}: no training image has a text ({used.name}). "
            "Check the report folder and texts.rule."
        )
    if cell.texts.pairs == "shuffled":
        texts = shuffled(texts)
    store = text_store(project, params, [text for own in texts for text in own])
    if cell.labels == "chexpert14":
        from benchmark.prompts.chexpert14 import chexpert14_findings

        findings = chexpert14_findings(texts)
    else:
        findings = _findings(project, texts)
    said = np.zeros((len(store), len(findings.concepts)), np.int8)
    said[store.rows(findings.sentences)] = findings.text
    return training_data(
        images,
        texts,
        store,
        source.manifest.frame["patient_id"].astype(str).tolist(),
        split=source.split,
        validation=params.data.validation,
        image_findings=findings.images,
        text_findings=said,
        concepts=findings.concepts,
    )


def _findings(project: Project, texts: Sequence[Sequence[str]]) -> TrainingFindings:
    """What the texts say, from the cache or read by rule."""
    from benchmark.prompts.lexicon import load_lexicon
    from benchmark.prompts.training_texts import TrainingFindings, training_findings

    at_least = max(2, min(20, len(texts) // 20))
    key = key_of(
        texts=hash_strings(part for own in texts for part in (str(len(own)), *own)),
        at_least=at_least,
        lexicon=load_lexicon().hash,
        source=source("benchmark.prompts.training_texts"),
    )
    folder = project.cache / "findings" / key.digest[:32]
    path = folder / "findings.npz"

    def make() -> None:
        found = training_findings(texts, at_least=at_least)
        with atomic_path(path) as target:
            np.savez(target, concepts=np.array(found.concepts), text=found.text, images=found.images)

    with only_writer(project.cache / "locks" / f"findings.{folder.name}"):
        reuse(folder / "made.json", key, [path], make)
        with np.load(path) as kept:
            concepts = tuple(kept["concepts"].tolist())
            sentences = tuple(dict.fromkeys(text for own in texts for text in own))
            return TrainingFindings(concepts, sentences, kept["text"], kept["images"])


def shuffled(texts: Sequence[Sequence[str]]) -> list[list[str]]:
    """The texts of each image given to another one, in an order of chance; none keeps its own."""
    order = np.random.default_rng(derive_seed(0, "shuffled pairs")).permutation(len(texts))
    found: list[list[str]] = [[] for _ in texts]
    for image, other in zip(order, np.roll(order, 1), strict=True):
        found[image] = list(texts[other])
    return found


def untrained(cell: Cell, seed: int, data: TrainingData) -> Method:
    """The method of a cell with its initial weights."""
    from benchmark.training.loop import seeded_method
    from methods.base import configure

    options = configure(cell.method, cell.options.model_dump())  # of the imported class
    return seeded_method(cell.method, options, data.images.width, data.text.width, seed)


def run_key(project: Project, cell: Cell, seed: int, data: TrainingData) -> Key:
    """Key of the run that training this cell now would give (`training.loop.training_key`).

    It holds the hash of the initial weights, for which the method would be built; what they are a function of
    is the rest of the key, the code, the packages and the machine, under which it is kept.
    """

    def inputs() -> Key | None:
        now, packages, module = time.time_ns(), installed(), known_methods().module_of(cell.method)
        if module is None or not packages.settled(now):
            return None
        return key_of(
            source=source("benchmark.training.loop", module),
            method=cell.method,
            options=cell.options.model_dump(mode="json"),
            training=cell.training.identity(),
            numerics=[numerics.state(), *((n, os.environ.get(n)) for n in sorted(numerics.ENVIRONMENT))],
            seed=seed,
            data=data.key,
            widths=[data.images.width, data.text.width],
            packages=packages.digest,
            machine=machine(),
        )

    def find() -> Mapping[str, str]:
        from benchmark.training.loop import training_key

        return training_key(untrained(cell, seed, data), data, cell.training, seed).parts

    place = project.cache / project.run(cell.name, seed).relative_to(project.root) / "key.json"
    return Key(dict(kept_value(place, inputs, find)))


def find_run(project: Project, cell: Cell, seed: int, data: TrainingData) -> RunRecord | None:
    """The record of the finished run that training this cell now would give; None where there is none, or its
    files are not as it left them."""
    from benchmark.training.finished import RUN, finished_run

    folder = project.run(cell.name, seed)
    found = finished_run(folder, run_key(project, cell, seed, data))
    return None if found is None else run_record(found, folder / RUN)


@dataclass(frozen=True)
class TrainedCell:
    """reused: a finished run of the same key was found. why: what differed from the run that was there, ()
    where there was none."""

    run: RunRecord
    reused: bool
    why: tuple[str, ...]


def train_cell(
    project: Project, params: Params, cell: Cell, seed: int, manifest: Manifest, data: TrainingData,
    group: Group | None = None, trainer: Trainer | None = None,
) -> TrainedCell:  # fmt: skip
    """Train one cell with one seed, or find that a finished run with the same identity is there.

    The processes of `group` share each batch. Every run that is trained is an MLflow run. trainer: in place
    of `loop.train`, for encoders that are trained too. Raises ParamsError for options the method lacks.
    """
    from benchmark.training.finished import HISTORY, MODEL, RUN

    if trainer is None and (group is None or group.size == 1):
        known = find_run(project, cell, seed, data)
        if known is not None:
            return TrainedCell(known, True, ())
    from benchmark.training.loop import train

    follower = _Follower(project, cell, seed, manifest)
    try:
        folder = project.run(cell.name, seed)
        result = (trainer or train)(
            untrained(cell, seed, data), data, cell.training, folder, seed, group=group, observer=follower
        )
    except BaseException:
        follower.close("FAILED")
        raise
    run = run_record(result.run, folder / RUN)
    if follower.tracker is not None:
        follower.tracker.parameters(
            {
                "method": cell.method,
                "variant": cell.variant,
                "seed": seed,
                "encoders": params.encoders.model_dump(),
                "texts": text_provenance(project, cell.texts),
                "options": run.options,
                "training": run.training,
            }
        )
        numbers = ("val_loss", "seconds", "peak_memory_bytes", "parameters_trained", "best_epoch")
        follower.tracker.metrics({name: float(getattr(run, name)) for name in numbers})
        follower.tracker.dataset(
            manifest.dataset,
            data.key,
            {"origin": manifest.origin, "images": len(manifest), "reader": manifest.info.reader},
            "training",
        )
        follower.tracker.model(
            f"{cell.name}-seed-{seed}",
            [folder / name for name in (MODEL, RUN, HISTORY)],
            {
                "image_pooled": (-1, data.images.width),
                "image_local": (-1, -1, data.images.width),
                "text_pooled": (-1, data.text.width),
            },
            (-1, -1),
        )
        follower.tracker.identify(run.identity)
    follower.close("FINISHED")
    return TrainedCell(run, result.reused, result.why)


class _Follower:
    """Progress on stderr and metrics over time in MLflow; starts with the first step, not before."""

    def __init__(self, project: Project, cell: Cell, seed: int, manifest: Manifest) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._name = f"{cell.name}/seed-{seed}"
        self._project = project
        self._tags = {
            "cell": cell.name,
            "method": cell.method,
            "seed": str(seed),
            "train_dataset": manifest.dataset,
            "train_origin": manifest.origin,
        }
        self._logged = 0.0
        self.tracker: Tracker | None = None

    def step(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = progress()
            self._bar.start()
            self._task = self._bar.add_task(f"train {self._name}", total=total)
            # Two processes that make the tables of a new store at once spoil them.
            with only_writer(self._project.cache / "locks" / "mlflow"):
                self.tracker = Tracker(self._project.root, self._name, self._tags)
        now = time.monotonic()
        if now - self._logged > 0.2 or done == total:
            self._logged = now
            self._bar.update(self._task, completed=done)

    def epoch(self, row: dict[str, float]) -> None:
        if self.tracker is not None:
            values = {k: v for k, v in row.items() if k not in ("epoch", "step")}
            self.tracker.metrics(values, int(row["epoch"]))

    def close(self, status: str) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self.tracker is not None:
            try:
                self.tracker.close(status)
            except BenchError:
                if status == "FINISHED":
                    raise
