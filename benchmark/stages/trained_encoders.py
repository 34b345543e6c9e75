"""Cells that train their encoders: what they read, their training, and the session that evaluates it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.core.errors import ParamsError
from benchmark.core.hashing import derive_seed
from benchmark.core.progress import watched
from benchmark.core.reuse import Key
from benchmark.data.decoded import decoded
from benchmark.encoders.base import ImageEncoder, TextEncoder
from benchmark.encoders.factory import image_encoder, text_encoder
from benchmark.encoders.trainable import Encoder, make_trainable
from benchmark.encoders.volume_encoder import VolumeEncoder
from benchmark.grid.encoder_params import EncoderParams
from benchmark.grid.params import Cell
from benchmark.stages.evaluation_sets import evaluation_data
from benchmark.stages.features import shared_image_encoder, shared_text_encoder
from benchmark.stages.run import Session, train_one
from benchmark.stages.run_record import RunRecord, run_record
from benchmark.stages.texts import read_named, texts_folder, texts_of
from benchmark.stages.train import training_source, untrained
from benchmark.training.augment import augmentation_of
from benchmark.training.finished import RUN, finished_run
from benchmark.training.live import PixelStore, SentenceStore
from benchmark.training.trained_encoders import TrainedEncoders, load_encoder

if TYPE_CHECKING:
    from benchmark.evaluation.evaluation_data import EvaluationData


@dataclass
class EncoderSession(Session):
    """The session of one training of encoders: features are those of the trained ones, and everything else is
    as for frozen ones, strata by the training reports too."""

    def evaluation_data(self, dataset: str, protocol: str | None = None) -> EvaluationData:
        """The evaluation set of a protocol with its features under the trained encoders."""
        protocol = protocol or self.protocol
        if (dataset, protocol) not in self._evaluated:
            train, rule = self.params.data.train, self.params.texts.rule
            self.texts(rule)
            named = read_named(texts_folder(self.project, self.params, train, rule))
            manifest = self.manifest(dataset)
            self._evaluated[dataset, protocol] = self.processes.first_then_all(
                lambda: evaluation_data(
                    self.project, self.params, manifest, protocol=protocol, trained_on=train, named=named,
                    encoders=self.encoders, group=self.processes,
                )
            )  # fmt: skip
        return self._evaluated[dataset, protocol]


def trainable_encoders(encoders: EncoderParams, method: str, seed: int) -> dict[str, Encoder]:
    """kind → each encoder that is trained, with the weights that its training starts from.

    Raises BenchError in one line for what cannot be trained: an encoder that does not exist, a layer that it
    does not have, volumes, an augmentation that the method's paper does not have.
    """
    found: dict[str, Encoder] = {}
    how = encoders.train
    for kind, wanted in (("image", how.image), ("text", how.text)):
        if wanted == "none":
            continue
        encoder: Encoder = image_encoder(encoders.image) if kind == "image" else text_encoder(encoders.text)
        if isinstance(encoder, VolumeEncoder):
            raise ParamsError(
                f"encoders.train.image: {encoder.card.name} reads volumes; encoders of volumes stay frozen."
            )
        make_trainable(
            encoder, wanted, rank=how.lora.rank, alpha=how.lora.alpha, layers=getattr(how.lora, kind),
            kind=kind, seed=derive_seed(seed, "low rank", kind),
        )  # fmt: skip
        found[kind] = encoder
    if how.augment == "official":
        augmentation_of(method)
    return found


def train_encoders(session: Session, cell: Cell, seed: int) -> tuple[RunRecord, Session]:
    """Train a cell with its encoders, or find that it is done: the run record, and the session that
    evaluates it.

    session: of the cell's encoders (`own_encoders.Sessions`).
    """
    encoders = trainable_encoders(session.params.encoders, cell.method, seed)
    reads = _reads(session, cell, encoders)
    run = train_one(session, cell, seed, reads.live, reads.train)
    return run, _evaluating(session, cell, seed)


def find_trained(session: Session, cell: Cell, seed: int) -> tuple[RunRecord | None, Session]:
    """The record of the finished run that training this cell now would give, with the session that evaluates
    it; None where there is none."""
    folder = session.project.run(cell.name, seed)
    found = finished_run(folder, encoders_key(session, cell, seed))
    if found is None:
        return None, session
    return run_record(found, folder / RUN), _evaluating(session, cell, seed)


def encoders_key(session: Session, cell: Cell, seed: int) -> Key:
    """Key of the trained method and encoders of a cell."""
    encoders = trainable_encoders(session.params.encoders, cell.method, seed)
    reads = _reads(session, cell, encoders)
    return reads.key(untrained(cell, seed, reads.live), cell.training, seed)


def trained_pair(
    encoders: EncoderParams, method: str, folder: Path, seed: int
) -> tuple[ImageEncoder, TextEncoder]:
    """Image and text encoder of a finished training in `folder`: those that it trained with its weights, the
    shared ones where they were frozen."""
    trained = trainable_encoders(encoders, method, seed) if encoders.train.trains else {}
    for kind, encoder in trained.items():
        own = load_encoder(folder, kind, encoder)
        own.card = own.card.model_copy(update={"name": f"{own.card.name} ({getattr(encoders.train, kind)})"})
    image = trained.get("image") or shared_image_encoder(encoders.image)
    text = trained.get("text") or shared_text_encoder(encoders.text)
    assert isinstance(image, ImageEncoder)
    assert isinstance(text, TextEncoder)
    return image, text


def _evaluating(session: Session, cell: Cell, seed: int) -> EncoderSession:
    folder = session.project.run(cell.name, seed)
    encoders = trained_pair(session.params.encoders, cell.method, folder, seed)
    fields = {f.name: getattr(session, f.name) for f in dataclasses.fields(Session)}
    return EncoderSession(**fields | {"encoders": encoders, "_evaluated": {}})


def _reads(session: Session, cell: Cell, encoders: Mapping[str, Encoder]) -> TrainedEncoders:
    """Images and texts of a cell, with the encoders that it trains in the place of cached features."""
    frozen = session.inputs(cell)
    params, how = session.params, session.params.encoders.train
    source = training_source(params, session.manifest(params.data.train)).manifest
    live = frozen
    if "image" in encoders:
        image = encoders["image"]
        assert isinstance(image, ImageEncoder)
        paths = [source.root / path for path in source.frame["path"]]
        with watched(f"decode {source.dataset}") as report:
            found = decoded(paths, image.preprocessing, session.project.cache / "decoded", on_progress=report)
        live = replace(live, images=PixelStore.of(found.pixels, image))
    if "text" in encoders:
        text = encoders["text"]
        assert isinstance(text, TextEncoder)
        texts, _ = texts_of(session.project, params, cell.texts, source)
        live = replace(live, text=SentenceStore.of([t for own in texts for t in own], text))
    augment = augmentation_of(cell.method) if how.augment == "official" else None
    return TrainedEncoders(live, frozen, how.layer_decay, augment, how.model_dump_json())
