"""Which images, classes and prompts a dataset is evaluated with, by protocol and task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.errors import DataError, ParamsError
from benchmark.core.tables import Manifest
from benchmark.core.tasks import Task
from benchmark.grid.layout import Project
from benchmark.grid.params import Params
from benchmark.prompts.named import Named
from benchmark.prompts.settings import PromptParams, TextParams
from benchmark.stages.features import (
    encode_images,
    encode_texts,
    image_store,
    known_image_encoder,
    text_store,
)

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.data.cards import Card
    from benchmark.encoders.base import ImageEncoder, TextEncoder
    from benchmark.encoders.store import TextStore
    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.prompts.class_prompts import PromptSet
    from benchmark.stages.run import Session
    from benchmark.training.distributed import Group

EVERY_IMAGE = "every-image"


def evaluation_data(
    project: Project,
    params: Params,
    manifest: Manifest,
    *,
    protocol: str | None = None,
    trained_on: str | None = None,
    named: Named | None = None,
    encoders: tuple[ImageEncoder, TextEncoder] | None = None,
    group: Group | None = None,
) -> EvaluationData:
    """Choose images, classes and labels by a protocol and find their features.

    encoders: those of an official checkpoint; without them, the run's shared ones. group: processes of which
    the first encodes texts.

    Without a protocol the card's default is used; where official files hold only a part of its image list
    and the model was not trained on this dataset, every image of the folder is evaluated and `note` says so.
    """
    from benchmark.data.cards import load_card
    from benchmark.data.chosen import chosen_set
    from benchmark.encoders.volume_encoder import VolumeEncoder
    from benchmark.evaluation.evaluation_data import EvaluationData, strata_of
    from benchmark.prompts.training_texts import training_texts

    card = load_card(manifest.dataset)
    wanted = protocol or params.data.protocols.get(manifest.dataset)
    chosen = chosen_set(manifest, card, wanted)
    note = ""
    expected = chosen.info.official_images
    if manifest.origin == "official" and expected and len(chosen) < expected:
        note = (
            f"{len(chosen):,} of the {expected:,} images of protocol '{chosen.info.protocol}' are here: "
            "not comparable with published numbers"
        )
        apart = manifest.dataset != trained_on
        if wanted is None and apart and EVERY_IMAGE in card.protocols:
            chosen = chosen_set(manifest, card, EVERY_IMAGE)
            note += f"; all {len(chosen):,} images of the folder are evaluated (protocol '{EVERY_IMAGE}')"
    if encoders is None:
        images = image_store(project, params, manifest)
        texts = partial(text_store, project, params)
        names = params.encoders.names
        encoder = known_image_encoder(project, params.encoders.image)
    else:
        images = encode_images(project, encoders[0], params, manifest)
        texts = partial(encode_texts, project, encoders[1])
        names = "+".join(e.card.name for e in encoders)
        encoder = encoders[0]

    def encode(wanted: Sequence[str]) -> TextStore:
        return texts(wanted) if group is None else group.first_then_all(lambda: texts(wanted))

    def report_texts(frame: pd.DataFrame) -> list[list[str]]:
        whole = TextParams(wording="raw", unit="report", rule=params.texts.rule)
        return training_texts(replace(manifest, frame=frame), whole)

    place = {name: row for row, name in enumerate(manifest.frame["image_id"])}
    rows = np.array([place[name] for name in chosen.frame["image_id"]], dtype=np.int64)
    strata = strata_of(card, chosen.classes, named.present if named is not None and named.studies else None)
    return EvaluationData(
        card, manifest, chosen, images, rows, encode, names, encoder.preprocessing, strata, report_texts,
        note, encoder.steps if isinstance(encoder, VolumeEncoder) else None,
    )  # fmt: skip


def prompt_set(card: Card, protocol: str, prompts: PromptParams) -> PromptSet:
    from benchmark.prompts.class_prompts import class_prompts

    return class_prompts(
        card, protocol, prompts.style, template=prompts.template, aggregation=prompts.aggregation
    )


def task_data(session: Session, wanted: Task, dataset: str) -> EvaluationData:
    """The dataset as a protocol of this task evaluates it: the one asked for, the card's default, an official
    one, another; tasks without protocols of their own take the one that the run evaluates.

    Raises ParamsError where the dataset offers no such task.
    """
    from benchmark.data.cards import load_card

    if not wanted.own_protocol:
        return session.evaluation_data(dataset)
    card = load_card(dataset)
    names = [name for name, protocol in card.protocols.items() if protocol.task == wanted.name]
    if not names:
        raise ParamsError(
            f"params.yaml: tasks.{wanted.name} lists '{dataset}', whose card has no protocol of this task. "
            "Take it out, or see `bench ls datasets`."
        )
    asked = session.protocol or card.default_protocol
    names.sort(key=lambda name: (name != asked, not card.protocols[name].official))
    for name in names[:-1]:
        try:
            return session.evaluation_data(dataset, name)
        except DataError:
            continue
    return session.evaluation_data(dataset, names[-1])
