"""Cells with encoders of their own: a session for each choice of encoders, over the same manifests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from benchmark.core.hashing import hash_value
from benchmark.core.tasks import task_named
from benchmark.grid.encoder_params import EncoderParams
from benchmark.grid.params import Cell, Params, encoders_of
from benchmark.stages.evaluate import enter_evaluations, find_evaluations
from benchmark.stages.features import shared_image_encoder, shared_text_encoder
from benchmark.stages.run import Session, train_one
from benchmark.stages.run_record import RunRecord
from benchmark.training.finished import RUN


def as_evaluated(params: Params) -> Params:
    """The same parameters with the settings of each task in its own class, which evaluations ask for; a file
    of parameters is read with classes that stand for them (`grid.declared`)."""
    tasks = {name: task_named(name).Settings(**own.model_dump()) for name, own in params.tasks.items()}
    return params.model_copy(update={"tasks": tasks})


class Sessions:
    """The session of each cell. Manifests, aligned texts and what was evaluated are those of the shared one;
    features, and what is made of them, are of the cell's encoders."""

    def __init__(self, shared: Session) -> None:
        shared.params = as_evaluated(shared.params)
        self.shared = shared
        self._made: dict[str, Session] = {}

    def of(self, cell: Cell) -> Session:
        """The session in which a cell is trained and evaluated."""
        encoders = encoders_of(self.shared.params, cell)
        if encoders == self.shared.params.encoders:
            return self.shared
        key = hash_value(encoders.model_dump(mode="json"))
        if key not in self._made:
            params = self.shared.params.model_copy(update={"encoders": encoders})
            self._made[key] = replace(self.shared, params=params, _training=None, _inputs={}, _evaluated={})
        return self._made[key]


def trained(sessions: Sessions, cell: Cell, seed: int) -> tuple[RunRecord, Session]:
    """Train a cell, with its encoders where it trains them, or reuse it: the run record, and the session in
    which it is evaluated."""
    session = sessions.of(cell)
    if not session.params.encoders.train.trains:
        return train_one(session, cell, seed), session
    from benchmark.stages.trained_encoders import train_encoders

    return train_encoders(session, cell, seed)


def found(sessions: Sessions, cell: Cell, seed: int) -> list[str]:
    """`find_evaluations` of a cell under its encoders, trained or not. Nothing is read or encoded for a cell
    that was never trained."""
    if not (sessions.shared.project.run(cell.name, seed) / RUN).is_file():
        return ["all"]
    session = sessions.of(cell)
    if not session.params.encoders.train.trains:
        return find_evaluations(session, cell, seed)
    from benchmark.stages.trained_encoders import find_trained

    run, own = find_trained(session, cell, seed)
    return ["all"] if run is None else enter_evaluations(own, cell, seed, run)


def told(params: Params, cell: Cell) -> str:
    """What of its encoders a cell trains, in one line; "" where they are frozen.

    `carzero-main trains vit-b16 (full) and bioclinicalbert (full), learning rate 5e-05 in every layer, images
    augmented (CARZero configs/…); settings: CARZero configs/….`
    """
    encoders = encoders_of(params, cell)
    how, training = encoders.train, cell.training
    if not how.trains:
        return ""
    names = [name for name, what in zip(encoders.both, (how.image, how.text), strict=True) if what != "none"]
    where = (
        "in every layer" if how.layer_decay == 1 else f"in the top layer, times {how.layer_decay:g} a layer"
    )
    augmented = ""
    if how.augment == "official":
        from benchmark.training.augment import augmentation_of

        augmented = f", images augmented ({augmentation_of(cell.method).source})"
    return (
        f"{cell.name} trains {' and '.join(names)}, learning rate "
        f"{training.encoder_learning_rate or training.learning_rate:g} {where}{augmented}; "
        f"settings: {training.source}."
    )


def check_encoders(params: Params, cells: Iterable[Cell]) -> None:
    """Build the encoders that cells have for themselves or train, so that one that does not exist or cannot
    be trained is refused before any data is prepared. Raises BenchError in one line."""
    known: list[tuple[EncoderParams, str]] = []
    for cell in cells:
        encoders = encoders_of(params, cell)
        if (encoders == params.encoders and not encoders.train.trains) or (encoders, cell.method) in known:
            continue
        known.append((encoders, cell.method))
        shared_image_encoder(encoders.image)
        shared_text_encoder(encoders.text)
        if encoders.train.trains:
            from benchmark.stages.trained_encoders import trainable_encoders

            trainable_encoders(encoders, cell.method, 0)
