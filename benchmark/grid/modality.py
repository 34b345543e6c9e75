"""Radiographs and CT volumes of one params.yaml: which settings a run on these datasets takes."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark.core.errors import ParamsError
from benchmark.core.settings import set_fields
from benchmark.grid.params import Params, PromptAblation, main_name, with_frozen_encoders
from benchmark.grid.parts import VOLUMES
from benchmark.grid.robustness import RobustnessParams

KINDS = {"cxr": "plane radiographs", "ct": "CT volumes"}


def modality_of(datasets: Iterable[str]) -> str:
    """`cxr` or `ct`. Raises ParamsError where the datasets hold both."""
    from benchmark.data.cards import load_card

    names = list(datasets)
    found = {name: load_card(name).modality for name in names}
    for name in names:
        if found[name] != found[names[0]]:
            raise ParamsError(
                f"{name} holds {KINDS[found[name]]}, {names[0]} {KINDS[found[names[0]]]}: "
                "they have encoders and trainings of their own. Run them one after the other."
            )
    return found[names[0]] if names else "cxr"


def for_datasets(params: Params, datasets: Iterable[str]) -> Params:
    """The parameters of a run on these datasets: for CT volumes those of `on_volumes`. Raises ParamsError
    where the datasets hold both."""
    return params if modality_of(datasets) == "cxr" else on_volumes(params)


def part_of(params: Params, cell: str) -> str:
    """VOLUMES where only the parameters of CT volumes have a cell of this name, "" otherwise."""
    volumes = on_volumes(params)
    names = {*volumes.cells, *(main_name(volumes, method) for method in volumes.methods)}
    return VOLUMES if cell in names - params.cells.keys() else ""


def on_volumes(params: Params) -> Params:
    """The parameters of CT volumes: those of `ct` stand in place of the others, and tasks and ablations of
    radiographs fall away."""
    ct = params.ct
    data = params.data.model_copy(update={"train": ct.train, "evaluate": ct.evaluate, "ablate_on": ()})
    training = params.training.model_copy(update=set_fields(ct.training))
    return params.model_copy(
        update={
            "data": data,
            "encoders": params.encoders.model_copy(update={"image": ct.image}),
            "texts": ct.texts,
            "training": training,
            "method": with_frozen_encoders(params).method,
            "tasks": ct.tasks,
            "cells": ct.cells,
            "attribution": {},
            "robustness": RobustnessParams(),
            "prompt_ablation": PromptAblation(),
        }
    )
