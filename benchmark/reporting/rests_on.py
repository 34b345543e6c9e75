"""What answers of `bench verify`, `bench explain` and a finished `bench run` rest on (`reporting.kept`)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core.guard import MAX_YAML, parse_yaml, read_text
from benchmark.data.cards import VARIABLE as CARDS
from benchmark.encoders.card_files import VARIABLE as ENCODER_CARDS
from benchmark.encoders.card_files import card_paths, files_of, given_as_path, read_encoder_card
from benchmark.encoders.cards import EncoderCard
from benchmark.grid.layout import Project
from benchmark.reporting.claims import CLAIMS, source_file
from benchmark.reporting.kept import Rests
from benchmark.stages.tracking import store_file, store_is_there, tracking_uri

if TYPE_CHECKING:
    from benchmark.grid.request import RunPlan

SOURCES = (CLAIMS, "published.yaml", "rounding.csv")
"""Files of reports/ that are read, not made."""
STORE_ENDS = ("", "-wal", "-journal")


def asked_to_verify(claims: Sequence[str]) -> dict[str, Any]:
    """The question of `bench verify`."""
    return {"command": "verify", "claims": list(claims)}


def asked_to_explain(cell: str, dataset: str, cls: str | None) -> dict[str, Any]:
    """The question of `bench explain`, with the cell as it was typed."""
    return {"command": "explain", "cell": cell, "dataset": dataset, "class": cls}


def on_results(project: Project, store: bool = False) -> Rests:
    """What is said of results: all of them, their trainings, what was prepared, and the ledgers. store: and
    the store of MLflow, where it is the project's own."""
    uri = tracking_uri(project.root)
    local = store_file(uri)
    data = project.root / "data"
    return Rests(
        (
            *_settings(project),
            *(project.reports / name for name in SOURCES),
            *(source_file(project, name) for name in SOURCES),
            project.root / "results",
            project.root / "runs",
            data / "prepared",
            data / "texts",
            *(Path(f"{local}{end}") for end in STORE_ENDS if store and local is not None),
        ),
        {},
    )


def on_run(project: Project, todo: RunPlan, protocol: str | None) -> Rests | None:
    """What a finished `bench run` prints; None with an encoder whose weights are not in files that its card
    names."""
    from benchmark.grid.params import encoders_of
    from benchmark.stages.prepare import source_of
    from benchmark.twins.build import truth_path

    params = todo.params
    weights: list[Path] = []
    for encoders in [params.encoders, *(encoders_of(params, cell) for cell in todo.cells)]:
        for spec in (encoders.image, encoders.text):
            own = _weights(spec)
            if own is None:
                return None
            weights += own
    sources = [
        source_of(project, params, name) for name in dict.fromkeys([params.data.train, *todo.datasets])
    ]
    cells = (*todo.cells, *(todo.below or ()))
    uri = tracking_uri(project.root)
    return Rests(
        (
            *_settings(project),
            *_recorded(project, [params.model_dump(), *(cell.model_dump() for cell in cells)]),
            *weights,
            *(at.root for at in sources),
            *(truth_path(at.root) for at in sources),
            *(project.prepared(at.name) for at in sources),
            project.root / "data" / "texts",
            *(project.run(cell.name, 0).parent for cell in cells),
            *(project.results(cell.name, 0).parent for cell in cells),
            project.cache / "references",
        ),
        {
            "params": params.model_dump(mode="json"),
            "cells": [cell.model_dump(mode="json") for cell in todo.cells],
            "jobs": [[cell.name, seed] for cell, seed in todo.jobs],
            "seeds": list(todo.seeds),
            "datasets": list(todo.datasets),
            "protocol": protocol,
            "store": [uri, store_is_there(uri)],
        },
    )


def _settings(project: Project) -> Iterator[Path]:
    """params.yaml, what it names as encoders and as recorded sentences, and cards of one's own."""
    yield project.params
    values = _values_of(read_text(project.params, "a YAML file", MAX_YAML), project.params)
    yield from _recorded(project, values)
    for text in _texts(values):
        where = text.removeprefix("path:")
        if where != text or given_as_path(where):
            yield Path(where).expanduser()
    for variable in (CARDS, ENCODER_CARDS):
        yield from (Path(p).expanduser() for p in os.environ.get(variable, "").split(os.pathsep) if p)


@lru_cache(maxsize=2)
def _values_of(text: str, path: Path) -> Any:
    """What a file with this text holds, which is read before an answer is found and after."""
    return parse_yaml(text, path)


def _recorded(project: Project, value: Any) -> Iterator[Path]:
    """Every recorded run of a model over the reports that parameters name, wherever it lies."""
    if isinstance(value, Mapping):
        if isinstance(name := value.get("llm_file"), str):
            yield project.file(name)
        for inner in value.values():
            yield from _recorded(project, inner)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for inner in value:
            yield from _recorded(project, inner)


def _texts(value: Any) -> Iterator[str]:
    """The texts of a file of parameters that may name a file of an encoder: all but the roots of data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner) if key != "roots" else ()
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _texts(inner)


def _weights(spec: str | EncoderCard) -> list[Path] | None:
    """`files_of` an encoder; None for one that a function builds, which may read anything."""
    if isinstance(spec, str):
        path = card_paths().get(spec)
        if path is None:
            return None
        spec = read_encoder_card(path)
    return files_of(spec)
