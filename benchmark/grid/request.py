"""What one `bench run` asks for, resolved into parameters, cells and datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from benchmark.core.errors import BenchError, ParamsError
from benchmark.core.hashing import hash_value
from benchmark.core.settings import ENGINE, train_config
from benchmark.core.tasks import CLASSIFICATION, TASKS, TaskSettings
from benchmark.grid.layout import Project
from benchmark.grid.params import Cell, Params, load_params, main_cell

ALL, MAIN = "all", "main"


@dataclass(frozen=True)
class Request:
    """method: a name or `all`. dataset: a name, `all` (every set that can be read here) or `main` (those of
    `data.evaluate`). data_root, train_root: folders of official files.
    train: dataset to train on, None for the configured one. shard: (i, n), every n-th cell from the i-th.
    recipe: how every method trains, `equal-budget` as configured or each one's `official` settings."""

    method: str
    dataset: str
    data_root: str | None = None
    train: str | None = None
    train_root: str | None = None
    protocol: str | None = None
    seeds: tuple[int, ...] | None = None
    profile: str | None = None
    recipe: str = "equal-budget"
    sets: tuple[str, ...] = ()
    shard: tuple[int, int] = (0, 1)


@dataclass(frozen=True)
class Plan:
    """params: with the request applied. jobs: (cell, seed) of this shard."""

    params: Params
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    datasets: tuple[str, ...]
    jobs: tuple[tuple[Cell, int], ...]


def plan(project: Project, request: Request) -> Plan:
    """Raises UnknownName for a method or dataset, ParamsError for options, BenchError for a missing root.

    What changes the training (`--set`, `--train`, `--profile`) gets cells of its own, so that the configured
    table is never overwritten.
    """
    from benchmark.data.cards import load_card

    params = load_params(project.params, request.profile, request.sets)
    datasets = _datasets(params, request.dataset)
    for name in dict.fromkeys([*datasets, request.train or params.data.train]):
        load_card(name)
    roots = dict(params.data.roots)
    if request.data_root is not None:
        if request.dataset in (ALL, MAIN):
            raise ParamsError(
                "--data-root goes with one --dataset; use data.roots in params.yaml for several."
            )
        roots[request.dataset] = _root(request.data_root, "--data-root")
    train = request.train or params.data.train
    if request.train_root is not None:
        roots[train] = _root(request.train_root, "--train-root")
    data = params.data.model_copy(update={"roots": roots, "train": train})
    params = params.model_copy(update={"data": data})
    seeds = request.seeds or params.seeds
    suffix = _suffix(project, params, request)
    params = params.model_copy(update={"tasks": _tasks(params, datasets, request.protocol)})
    names = params.methods if request.method == "all" else (request.method,)
    cells = tuple(_cell(project, params, name, suffix, request) for name in names)
    jobs = [(cell, seed) for cell in cells for seed in seeds]
    index, count = request.shard
    return Plan(params, cells, seeds, tuple(datasets), tuple(jobs[index::count]))


def _datasets(params: Params, asked: str) -> tuple[str, ...]:
    """`all`: the configured sets, then every other card that is for evaluation and has files or a twin."""
    from benchmark.data.cards import card_names, load_card
    from benchmark.twins.build import WRITERS

    if asked == MAIN:
        return params.data.evaluate
    if asked != ALL:
        return (asked,)
    readable = {*WRITERS.names(), *params.data.roots}
    more = [name for name in card_names() if name in readable and load_card(name).role != "training"]
    return tuple(dict.fromkeys([*params.data.evaluate, *more]))


def _tasks(params: Params, datasets: tuple[str, ...], protocol: str | None) -> dict[str, TaskSettings]:
    """The configured tasks, and those of sets whose protocol is of another task than classification."""
    tasks = dict(params.tasks)
    for dataset in datasets:
        task = protocol_task(params, dataset, protocol)
        if task is not None:
            known = tasks.get(task) or TASKS.get(task).Settings()
            listed = tuple(dict.fromkeys([*known.datasets, dataset]))
            tasks[task] = known.model_copy(update={"datasets": listed})
    return tasks


def protocol_task(params: Params, dataset: str, protocol: str | None) -> str | None:
    """The task of the protocol that is evaluated; None where it is classification."""
    from benchmark.data.cards import load_card

    card = load_card(dataset)
    wanted = protocol or params.data.protocols.get(dataset) or card.default_protocol
    task = card.protocols[wanted].task if wanted in card.protocols else CLASSIFICATION
    return None if task == CLASSIFICATION else task


def _cell(project: Project, params: Params, name: str, suffix: str, request: Request) -> Cell:
    from methods.base import METHODS, configure

    method = METHODS.get(name)
    cell = main_cell(params, name)
    if request.recipe != "equal-budget":
        # The official values, how this machine computes them, and what `--set` asks for; not what was tuned.
        configured = main_cell(load_params(project.params), name)
        options = _differing(cell.options, configured.options)
        engine = {field: getattr(cell.training, field) for field in ENGINE}
        training = {**engine, **_differing(cell.training, configured.training)}
        recipe = train_config(training, method.recipe(request.recipe))
        published = configure(name, {**method.settings(request.recipe), **options})
        cell = cell.model_copy(update={"options": published, "training": recipe})
        suffix = f"-{request.recipe}-recipe{suffix}"
    return cell.model_copy(update={"name": cell.name + suffix, "variant": cell.variant + suffix})


def _differing(settings: BaseModel, configured: BaseModel) -> dict[str, Any]:
    """The fields of `settings` that have another value than configured."""
    return {k: v for k, v in settings.model_dump().items() if v != getattr(configured, k)}


def _suffix(project: Project, params: Params, request: Request) -> str:
    """Empty for the configured training; else a name and a hash of what differs."""
    configured = load_params(project.params)
    parts = ""
    if params.data.train != configured.data.train:
        parts += f"-on-{params.data.train}"
    if params.data.train in params.data.roots:
        parts += "-official"
    changed = {
        key: value
        for key, value in params.model_dump(
            mode="json", exclude={"data", "seeds", "profile", "cells"}
        ).items()
        if value != configured.model_dump(mode="json")[key]
    }
    return parts + (f"-{hash_value(changed)[:8]}" if changed else "")


def _root(text: str, option: str) -> str:
    path = Path(text).expanduser()
    if not path.is_dir():
        raise BenchError(f"{option} {text}: no such folder. Give the folder that holds the official files.")
    return str(path.resolve())


def parse_shard(text: str) -> tuple[int, int]:
    """`i/n` with 1 <= i <= n → (i - 1, n)."""
    first, sep, second = text.partition("/")
    if sep and first.isdigit() and second.isdigit() and 1 <= int(first) <= int(second):
        return int(first) - 1, int(second)
    raise ParamsError(f"--shard {text}: expected i/n with 1 <= i <= n, as in 2/4.")


def parse_seeds(text: str) -> tuple[int, ...]:
    """`0,1,2` → (0, 1, 2)."""
    parts: Sequence[str] = text.split(",")
    if all(part.strip().isdigit() for part in parts):
        return tuple(dict.fromkeys(int(part) for part in parts))
    raise ParamsError(f"--seeds {text}: expected whole numbers, as in 0,1,2.")
