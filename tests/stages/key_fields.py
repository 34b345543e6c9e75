"""Every field of the parameters: what it acts on, and another value for it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from benchmark.core.settings import MethodConfig
from benchmark.core.tasks import TASKS
from benchmark.grid.params import Params
from methods.base import METHODS
from tests.encoders.tiny import Blocks, Layers

TRAIN, EVALUATE, VOLUMES = "mimic_cxr", "chestxray14", "rad_chestct"


FOLLOWS = {
    f"twin {TRAIN}": {f"manifest {TRAIN}"},
    f"twin {EVALUATE}": {f"manifest {EVALUATE}"},
    f"manifest {TRAIN}": {"texts", "training images", f"images {TRAIN}"},
    f"manifest {EVALUATE}": {f"images {EVALUATE}"},
    "texts": {"text features", f"clip-main on {EVALUATE}"},
    "training images": {"clip-main", "own"},
    "text features": {"clip-main", "own"},
    f"images {TRAIN}": {f"retrieval on {TRAIN}"},
    f"images {EVALUATE}": {f"clip-main on {EVALUATE}", f"own on {EVALUATE}"},
    "clip-main": {f"clip-main on {EVALUATE}", f"retrieval on {TRAIN}"},
    "own": {f"own on {EVALUATE}"},
}
"""What is made of what; evaluations are of the cell named first, retrieval of clip-main."""


BOTH = {"clip-main", "own"}
ON = {f"clip-main on {EVALUATE}", f"own on {EVALUATE}"}
ALL_EVALUATIONS = ON | {f"retrieval on {TRAIN}"}
ENCODED = {"training images", f"images {TRAIN}", f"images {EVALUATE}"}


ACTS_ON: dict[str, set[str]] = {
    "recipe": BOTH,
    "numerics": ENCODED | {"text features"},
    "data.train": {"texts", "training images"},
    "data.roots": {f"manifest {EVALUATE}"},
    "data.protocols": ON,
    "data.train_views": {"training images", "text features"},
    "data.train_images": {"training images", "text features"},
    "data.validation": BOTH,
    "twins.seed": {f"twin {TRAIN}", f"twin {EVALUATE}", f"twin {VOLUMES}"},
    "twins.side": {f"twin {VOLUMES}"},
    "twins.volumes": {f"twin {VOLUMES}"},
    "twins.size": {f"twin {TRAIN}", f"twin {EVALUATE}"},
    "twins.images": {f"twin {EVALUATE}"},
    "encoders.image": ENCODED,
    "encoders.text": {"text features"},
    "encoders.precision": ENCODED,
    "texts": {"text features"},
    "texts.pairs": BOTH,
    "texts.rule": {"texts"},
    "prompts": ALL_EVALUATIONS,
    "training": BOTH,
    "method.training": BOTH,
    "method.options": BOTH,
    "method.encoders.image": {"training images"},
    "method.encoders.text": {"text features"},
    "method.encoders.train": BOTH,
    "encoders.train": BOTH,
    "cells.encoders": {"own"},
    "cells.texts": {"own"},
    "cells.training": {"own"},
    "cells.options": {"own"},
    "cells.method": {"own"},
    "cells.more_prompts": {f"own on {EVALUATE}"},
    "prompt_ablation.methods": {f"clip-main on {EVALUATE}"},
    "prompt_ablation.datasets": {f"clip-main on {EVALUATE}"},
    "prompt_ablation.prompts": {f"clip-main on {EVALUATE}"},
    "tasks.pairs": {f"retrieval on {TRAIN}"},
    "statistics": ALL_EVALUATIONS,
}
"""Field, or section of fields, → what it acts on first."""


CHOOSES = (
    "methods", "seeds", "data.evaluate", "data.ablate_on", "cells.table", "cells.label", "cells.evaluate",
    "cells.tasks", "cells.seeds", "method.method", "attribution.label", "attribution.factors",
    "attribution.cells", "tasks.datasets", "tuning.trials", "tuning.seed", "robustness.evaluate",
    "robustness.seeds", "robustness.settings.label", "robustness.settings.image", "robustness.settings.text",
    "robustness.settings.width", "robustness.settings.train_images",
)  # fmt: skip
"""Fields that choose which cells, sets and seeds are made and where they are shown, not what they are."""


WORDS = ("profile", "training.source", "method.training.source", "cells.training.source")
"""Fields that are recorded and shown only."""


VALUES: dict[str, Any] = {
    "profile": "other",
    "recipe": "official",
    "methods": ["clip"],
    "seeds": [3],
    "data.train": EVALUATE,
    "data.evaluate": [EVALUATE, TRAIN],
    "data.ablate_on": [TRAIN],
    "data.roots": {EVALUATE: f"data/twins/{EVALUATE}"},
    "data.protocols": {EVALUATE: "nih"},
    "data.train_views": ["PA"],
    "data.train_images": 20,
    "data.validation": 0.4,
    "twins.size": 80,
    "twins.volumes": {VOLUMES: 3},
    "twins.images": {TRAIN: 60, EVALUATE: 20},
    "encoders.image": "other-images",
    "encoders.text": "other-texts",
    "encoders.train.image": "full",
    "encoders.train.text": "full",
    "encoders.train.layer_decay": 0.5,
    "encoders.train.lora.rank": 2,
    "encoders.train.lora.alpha": 4,
    "encoders.train.lora.image": ["blocks.1.0"],
    "encoders.train.lora.text": ["layer.1"],
    "encoders.train.augment": "official",
    "texts.wording": "raw",
    "texts.rule": "impression",
    "prompts.style": "name",
    "prompts.template": "{} is seen",
    "training.batch_schedule": [[0, 8]],
    "training.betas": [0.8, 0.9],
    "training.tile": [4, 4],
    "training.device": "cpu",
    "ct.train": "ct_rate_lt",
    "ct.evaluate": ["ct_rate"],
    "ct.image": "other-images",
    "cells.method": "medclip",
    "robustness.evaluate": [TRAIN],
    "robustness.settings.label": "another label",
    "robustness.settings.image": "other-images",
    "robustness.settings.text": "other-texts",
    "robustness.settings.width": 128,
    "robustness.settings.train_images": 20,
    "attribution.label": "another label",
    "attribution.factors": ["two", "one"],
    "attribution.cells": {"none": "own", "one": "own", "two": "own", "one + two": "clip-main"},
    "cells.table": "similarity",
    "cells.label": "another label",
    "cells.evaluate": [TRAIN],
    "cells.tasks": ["retrieval"],
    "cells.seeds": [4],
    "cells.more_prompts": ["name"],
    "prompt_ablation.methods": [],
    "prompt_ablation.datasets": [],
    "prompt_ablation.prompts": [{"style": "synonyms"}],
    "tasks.datasets": [EVALUATE],
    "statistics.top_k": [2],
    "statistics.level": 0.9,
}
"""Another value, where it cannot be told from the type."""


TRAINED = {
    "layer_decay": ["image=full"],
    "lora.rank": ["image=lora"],
    "lora.alpha": ["image=lora"],
    "lora.image": ["image=lora"],
    "lora.text": ["text=lora"],
    "augment": ["image=full"],
}
"""Setting of a training of encoders → what must be trained for it to have an effect."""


ALSO: dict[str, list[str]] = {
    **{f"encoders.train.{k}": [f"encoders.train.{i}" for i in items] for k, items in TRAINED.items()},
    **{
        f"method.encoders.train.{k}": [f"method.clip.encoders.train.{i}" for i in items]
        for k, items in TRAINED.items()
    },
    **{
        f"cells.encoders.train.{k}": [f"cells.own.encoders.train.{i}" for i in items]
        for k, items in TRAINED.items()
    },
    **{
        f"ct.cells.encoders.train.{k}": [f"ct.cells.volumes.encoders.train.{i}" for i in items]
        for k, items in TRAINED.items()
    },
    "data.train": ["texts.wording=labels", f"twins.images.{EVALUATE}=90", "data.validation=0.45"],
    "texts.bare_names": ["texts.wording=raw", "cells.own.texts.wording=raw"],
    "texts.llm_file": ["texts.wording=llm", "texts.llm_file=one.parquet"],
    "ct.texts.bare_names": ["ct.texts.wording=raw"],
    "ct.texts.llm_file": ["ct.texts.wording=llm", "ct.texts.llm_file=one.parquet"],
    "cells.texts.bare_names": ["cells.own.texts.wording=raw"],
    "cells.texts.llm_file": ["cells.own.texts.wording=llm", "cells.own.texts.llm_file=one.parquet"],
    "ct.cells.texts.bare_names": ["ct.cells.volumes.texts.wording=raw"],
    "ct.cells.texts.llm_file": [
        "ct.cells.volumes.texts.wording=llm",
        "ct.cells.volumes.texts.llm_file=one.parquet",
    ],
}
"""What must be set for a field to have an effect, before and after its change."""


def leaves(model: type[BaseModel] = Params, before: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and annotation of every field of a schema; lists and mappings of sections stand for one."""
    for name, field in model.model_fields.items():
        inner = next((p for p in _parts(field.annotation) if _is_section(p)), None)
        given = get_args(field.annotation) if get_origin(field.annotation) is not dict else ()
        named = str in given  # a name stands for the section, as for an encoder's card
        if inner is None or named or (name == "prompts" and before):
            yield f"{before}{name}", field.annotation
        elif inner is MethodConfig:
            yield from leaves(METHODS.get("clip").Config, f"{before}{name}.")
        elif name == "tasks":
            yield from leaves(TASKS.get("retrieval").Settings, f"{before}{name}.")
        else:
            yield from leaves(inner, f"{before}{name}.")


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def _is_section(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, BaseModel)


def another(annotation: Any, now: Any) -> Any:
    """A value of the same type that differs from `now`."""
    kinds = [p for p in (annotation, *get_args(annotation)) if p is not NoneType]
    for kind in kinds:
        if get_origin(kind) is Literal:
            return next(v for v in get_args(kind) if v != now)
        if kind is bool:
            return not now
        if kind is int:
            return (now or 2) + 1
        if kind is float:
            return (now or 0.5) / 2
        if kind is str:
            return "two.parquet"
        if get_origin(kind) is tuple:
            return [*(now or ()), 16]
    raise AssertionError(f"say in VALUES what else this field may be: {annotation}")


TINY = {
    "images": Blocks,
    "other-images": partial(Blocks, seed=1),
    "texts": Layers,
    "other-texts": partial(Layers, seed=1),
}


FIELDS = dict(leaves())
FULL = {
    "method": "method.clip",
    "cells": "cells.own",
    "attribution": "attribution.some",
    "robustness.settings": "robustness.settings.some",
    "tasks": "tasks.retrieval",
    "ct.cells": "ct.cells.volumes",
    "ct.tasks": "ct.tasks.retrieval",
}


def full(field: str) -> str:
    """The name of a field in params.yaml."""
    sections = (section for section in FULL if field.startswith(f"{section}."))
    return next((FULL[s] + field.removeprefix(s) for s in sections), field)
