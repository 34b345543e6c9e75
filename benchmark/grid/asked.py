"""Names that a command was given, held against what there is before anything heavy is loaded, so that a
mistyped one is told at once. What passes here is checked again where it is used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import ParamsError, UnknownName
from benchmark.core.guard import parse_yaml
from benchmark.core.registry import Registry
from benchmark.grid.layout import Project

if TYPE_CHECKING:
    from benchmark.grid.request import Request

OF_TEXTS = ("wording", "unit", "negations", "bare_names", "pairs", "llm_file")
OF_TRAINING = (
    "training", "encoders.image", "encoders.text", "encoders.train", "data.train", "data.train_views",
    "data.train_images", "data.validation", "data.ablate_on", "seeds", "recipe", "method", "methods",
    "tuning", "cells", "attribution", "robustness", "prompt_ablation", "ct.train", "ct.image", "ct.training",
    "ct.cells", *(f"{texts}.{name}" for texts in ("texts", "ct.texts") for name in OF_TEXTS),
)  # fmt: skip
"""Parameters of a training, of the encoders that methods share and of cells beside the main ones."""
OF_PROMPTS = ("prompts.style", "prompts.template")


def known_methods() -> Registry[Any]:
    """The names of the methods and where they are, without importing one; with what was registered besides
    where methods are imported already."""
    if "methods.base" in sys.modules:
        from methods.base import METHODS

        return METHODS
    return _offered()


@lru_cache(maxsize=1)
def _offered() -> Registry[Any]:
    return Registry("method", package="methods")


def check_asked(method: str | None = None, dataset: str | None = None) -> None:
    """Raises UnknownName for a method or dataset that no file and no plug-in offers."""
    if method is not None and method not in (known := known_methods().names()):
        raise UnknownName("method", method, known, "See `bench ls methods`.")
    if dataset is not None:
        from benchmark.data.cards import card_names, load_card

        if dataset not in card_names():
            load_card(dataset)


def check_layout(layout: str | None, checkpoint: object | None) -> None:
    """Raises ParamsError for a --layout without a checkpoint, or one that no released file has."""
    if layout is not None and (checkpoint is None or layout != "chexzero"):
        raise ParamsError(f"--layout {layout:.40}: goes with --checkpoint and is chexzero.")


def check_model(
    model: str | None, architecture: str | None, checkpoint: object | None, tokenizer: object | None
) -> None:
    """Raises ParamsError for a --model beside a checkpoint's options, or --architecture without it."""
    if model is not None and (checkpoint is not None or tokenizer is not None):
        raise ParamsError(
            "--model has its own weights and tokenizer: give it without --checkpoint and --tokenizer."
        )
    if architecture is not None and model is None:
        raise ParamsError("--architecture goes with --model open_clip:FILE.")


def check_published(request: Request, official: bool) -> None:
    """Raises ParamsError for options of a training, which published weights do not have here; official: of a
    checkpoint, whose prompts are its own."""
    keys = [key for item in request.sets for key in _keys(item)]
    unused = (*OF_TRAINING, *(OF_PROMPTS if official else ()))
    given = [*request.options(), *(["--shard"] if request.shard != (0, 1) else [])]
    named = [word for word in given if word in ("--train", "--train-root", "--seeds", "--recipe", "--shard")]
    named += [f"--set {key}" for key in keys if f"{key}.".startswith(tuple(f"{own}." for own in unused))]
    if named:
        raise ParamsError(
            f"{', '.join(named)}: nothing of it acts on published weights, which are not trained here. "
            "Leave it out."
        )


def _keys(item: str) -> list[str]:
    """The keys that `a.b=c` sets, those of a mapping one by one."""
    key, _, text = item.partition("=")
    return list(_leaves(key.strip(), parse_yaml(text, f"--set {key:.60}")))


def _leaves(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}", inner)
    else:
        yield key


def check_evaluated(project: Project, cell: str, dataset: str) -> None:
    """Raises UnknownName for a cell that no result on disk is of, or a dataset without results and card;
    a method stands for its main cell. Nothing is said where there are no results at all."""
    from benchmark.data.cards import card_names

    folders = {path.parent for path in (project.root / "results").glob("*/seed-*/*/*.parquet")}
    cells = sorted({folder.parents[1].name for folder in folders})
    if cells and not {cell, f"{cell}-main"} & set(cells):
        raise UnknownName("cell", cell, cells, f"Cells with results: {', '.join(cells)}.")
    places = {folder.name for folder in folders}
    places |= {name.removesuffix("-official") for name in places}
    if cells and dataset not in {*places, *card_names()}:
        raise UnknownName("dataset", dataset, sorted(places), "See `bench ls datasets`.")
