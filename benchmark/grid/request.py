"""What one `bench run` asks for, resolved into parameters, cells and datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmark.core.errors import BenchError, ParamsError
from benchmark.core.hashing import hash_value
from benchmark.core.settings import ENGINE, set_fields, train_config
from benchmark.core.tasks import CLASSIFICATION, TaskSettings
from benchmark.data.card_faults import check_own_card
from benchmark.grid.cell_params import LARGEST_SEED
from benchmark.grid.declared import configure, declared, declared_task
from benchmark.grid.layout import Project
from benchmark.grid.modality import for_datasets, modality_of
from benchmark.grid.names import check_own_name
from benchmark.grid.params import FLOOR, Cell, Params, VolumeParams, ablation_cell, encoders_of, main_cell
from benchmark.grid.params_file import load_params

ALL, MAIN = "all", "main"
EQUAL_BUDGET = "equal-budget"


@dataclass(frozen=True)
class Request:
    """method: a name or `all`. dataset: a name, `all` (every set that can be read here) or `main` (those of
    `data.evaluate`). data_root, train_root: folders of official files.
    train: dataset to train on, None for the configured one. shard: (i, n), every n-th cell from the i-th.
    recipe: how every method trains, `equal-budget` as configured or each one's `official` settings.
    floor: whether what stands below the methods is made too, under the same settings."""

    method: str
    dataset: str
    data_root: str | None = None
    train: str | None = None
    train_root: str | None = None
    protocol: str | None = None
    seeds: tuple[int, ...] | None = None
    profile: str | None = None
    recipe: str = EQUAL_BUDGET
    sets: tuple[str, ...] = ()
    shard: tuple[int, int] = (0, 1)
    floor: bool = False

    def options(self) -> list[str]:
        """The words of `bench run` that ask for this, its shard apart: folders with their whole path, and no
        option that says the default."""
        given = {
            "--data-root": _absolute(self.data_root),
            "--train": self.train,
            "--train-root": _absolute(self.train_root),
            "--protocol": self.protocol,
            "--seeds": None if self.seeds is None else ",".join(map(str, self.seeds)),
            "--profile": self.profile,
            "--recipe": None if self.recipe == EQUAL_BUDGET else self.recipe,
        }
        words = ["--method", self.method, "--dataset", self.dataset]
        words += [word for option, value in given.items() if value is not None for word in (option, value)]
        words += [word for item in self.sets for word in ("--set", item)]
        return [*words, *(["--floor"] if self.floor else [])]


def _absolute(folder: str | None) -> str | None:
    return None if folder is None else str(Path(folder).expanduser().resolve())


@dataclass(frozen=True)
class RunPlan:
    """params: with the request applied. jobs: (cell, seed) of this shard. below: the cells of the floor under
    the same settings, of which it has jobs where they were asked for; none of cells with encoders of their
    own, as the floor is made under the shared, frozen ones."""

    params: Params
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    datasets: tuple[str, ...]
    jobs: tuple[tuple[Cell, int], ...]
    below: tuple[Cell, ...] | None = None


def plan(project: Project, request: Request, published: bool = False) -> RunPlan:
    """published: of weights that are not trained here. Raises UnknownName for a method or dataset,
    ParamsError for options, BenchError for a missing root.

    What changes the training (`--set`, `--train`, `--profile`) gets cells of its own, so that the configured
    table is never overwritten; what changes the evaluation alone (`--protocol` too) gets results of its own
    from the same training.
    """
    asked = load_params(project.params, request.profile, request.sets)
    datasets = _datasets(asked, request.dataset)
    params = for_datasets(asked, datasets)
    modality_of([*datasets, request.train or params.data.train])
    roots = dict(params.data.roots)
    if request.data_root is not None:
        if request.dataset in (ALL, MAIN):
            raise ParamsError(
                "--data-root goes with one --dataset; use data.roots in params.yaml for several."
            )
        roots[request.dataset] = _root(request.data_root, "--data-root")
    train = request.train or params.data.train
    if train != params.data.train:
        check_own_card(train)
    if request.train_root is not None:
        roots[train] = _root(request.train_root, "--train-root")
    data = params.data.model_copy(update={"roots": roots, "train": train})
    params = params.model_copy(update={"data": data})
    seeds = request.seeds or params.seeds
    params = params.model_copy(update={"tasks": _tasks(params, datasets, request.protocol)})
    names = params.methods if request.method == "all" else (request.method,)
    if not published:
        for name in names:
            check_own_name(name)
    plain = load_params(project.params) if request.profile or request.sets else asked
    configured = for_datasets(plain, datasets)
    cells = tuple(_cell(configured, params, main_cell, name, datasets, request, published) for name in names)
    _check_sets(project, request, asked, datasets, names)
    below = _below(configured, params, cells, datasets, request)
    if request.floor and below is None:
        raise ParamsError("--floor: it is made under the shared, frozen encoders. Leave it out.")
    jobs = [(cell, seed) for cell in cells for seed in seeds]
    jobs += [(cell, seed) for cell in below or () for seed in cell.seeds or seeds if request.floor]
    index, count = request.shard
    return RunPlan(params, cells, seeds, tuple(datasets), tuple(jobs[index::count]), below)


def _check_sets(
    project: Project, request: Request, asked: Params, datasets: Sequence[str], names: Sequence[str]
) -> None:
    """Raises ParamsError for a `--set` that changes nothing which this run reads: its row would
    look as if made with that setting."""

    def read(params: Params) -> Params:
        own = for_datasets(params, datasets)
        methods = own.method if request.floor else {name: own.method.get(name) for name in names}
        tasks = _evaluated_tasks(own, datasets, request.protocol)
        changes = [set_fields(own.method[name].training) if name in own.method else {} for name in names]
        hidden = () if request.floor else set.intersection(*map(set, changes))  # each method has its own
        training = own.training.model_copy(update=dict.fromkeys(hidden))
        return own.model_copy(update={"ct": None, "method": methods, "tasks": tasks, "training": training})

    given = read(asked)
    for index, item in enumerate(request.sets):
        others = request.sets[:index] + request.sets[index + 1 :]
        try:
            rest = load_params(project.params, request.profile, others)
        except ParamsError:  # one that the others need
            continue
        if rest != asked and read(rest) == given:
            key, volumes = item.partition("=")[0], modality_of(datasets) == "ct"
            instead, plain = _read_instead(key, volumes), key.removeprefix("ct.")
            own = set_fields(asked.method[names[0]].training) if names[0] in asked.method else {}
            if plain in (f"training.{field}" for field in own):
                instead = f"Its methods have their own; set method.{names[0]}.{plain}."
            raise ParamsError(f"--set {key}: nothing in this run reads it. {instead}")


def _read_instead(key: str, volumes: bool) -> str:
    section = key.split(".")[0]
    if section == "method":
        return "It is of another method; leave it out."
    if section == "ct" and not volumes:
        return "It is of CT volumes; set the value outside of `ct`, or give --dataset of volumes."
    if "tasks" in key.split(".")[:2]:
        return (
            "`bench run` evaluates classification and the task of the set's protocol; params.yaml and "
            "`bench stage cell` evaluate other tasks."
        )
    own = "image" if key == "encoders.image" else key.removeprefix("data.")
    if own.split(".")[0] not in VolumeParams.model_fields:
        return "It is of radiographs alone; leave it out."
    return f"Volumes of CT take `ct` in its place; set ct.{own}."


def _below(
    configured: Params, params: Params, cells: Sequence[Cell], datasets: Sequence[str], request: Request
) -> tuple[Cell, ...] | None:
    """The cells of the floor, which train as configured whatever the recipe of the methods."""
    shared = params.encoders
    if shared.train.trains or any(encoders_of(params, cell) != shared for cell in cells):
        return None
    asked, found = replace(request, recipe=EQUAL_BUDGET), []
    for name in (name for name, own in params.cells.items() if own.table == FLOOR):
        plain = configured if name in configured.cells else params
        found.append(_cell(plain, params, ablation_cell, name, datasets, asked))
    return tuple(found)


def _datasets(params: Params, asked: str) -> tuple[str, ...]:
    """`all`: the configured sets, then every other card that is for evaluation and has files or a twin, of
    radiographs as these are."""
    from benchmark.data.cards import card_names, load_card
    from benchmark.twins.build import WRITERS

    if asked in card_names():  # a set called `main` or `all` too
        check_own_card(asked)
    if asked == MAIN:
        return params.data.evaluate
    if asked != ALL:
        return (asked,)
    readable = {*WRITERS.names(), *params.data.roots}
    first = modality_of(params.data.evaluate)
    cards = [load_card(name) for name in card_names() if name in readable]
    for card in cards:
        check_own_card(card.name)
    more = [card.name for card in cards if card.role != "training" and card.modality == first]
    return tuple(dict.fromkeys([*params.data.evaluate, *more]))


def _tasks(params: Params, datasets: tuple[str, ...], protocol: str | None) -> dict[str, TaskSettings]:
    """The configured tasks, and those of sets whose protocol is of another task than classification."""
    tasks = dict(params.tasks)
    for dataset in datasets:
        task = protocol_task(params, dataset, protocol)
        if task is not None:
            known = tasks.get(task) or declared_task(task).Settings()
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


def _evaluated_tasks(
    params: Params, datasets: Sequence[str], protocol: str | None
) -> dict[str, TaskSettings]:
    """The settings of the tasks, beside classification, that a run on these sets evaluates."""
    own = {protocol_task(params, dataset, protocol) for dataset in datasets}
    return {name: settings for name, settings in params.tasks.items() if name in own}


def _cell(
    configured: Params, params: Params, made: Callable[[Params, str], Cell], name: str,
    datasets: Sequence[str], request: Request, published: bool = False,
) -> Cell:  # fmt: skip
    """The main cell of a method, or a cell of the floor, named after what differs from the configured one.
    made: `main_cell` or `ablation_cell`."""
    cell, plain = (_resolved(configured, p, made, name, request.recipe) for p in (params, configured))
    train = params.data.train
    suffix = "" if request.recipe == EQUAL_BUDGET else f"-{request.recipe}-recipe"
    if train != configured.data.train:
        suffix += f"-on-{train}"
    if train in params.data.roots and train not in configured.data.roots:
        suffix += "-official"
    trained = _differing(_training(params, cell, train), _training(configured, plain, train))
    if trained:
        suffix += f"-{hash_value(trained)[:8]}"
    evaluated = _differing(
        _evaluation(params, cell, datasets, request.protocol), _evaluation(configured, plain, datasets, None)
    )
    if published:
        evaluated |= _differing(_reading(params), _reading(configured))
    if evaluated:
        suffix += f"~{hash_value(evaluated)[:8]}"
    return cell.model_copy(update={"name": cell.name + suffix, "variant": cell.variant + suffix})


def _resolved(
    configured: Params, params: Params, made: Callable[[Params, str], Cell], name: str, recipe: str
) -> Cell:
    """With the official values, where they are asked for: what `--set` asks for stays, and how this machine
    computes; what was tuned does not."""
    cell = made(params, name)
    if recipe == EQUAL_BUDGET:
        return cell
    plain, method = made(configured, name), declared(name)
    if recipe == "official" and method.OFFICIAL_RECIPE is None:
        raise ParamsError(
            f"--recipe official: {name} states no published recipe, its OFFICIAL_RECIPE. Leave it out."
        )
    options = _differing(cell.options.model_dump(), plain.options.model_dump())
    changed = _differing(cell.training.model_dump(), plain.training.model_dump())
    engine = {field: getattr(cell.training, field) for field in ENGINE}
    training = train_config({**engine, **changed}, method.recipe(recipe))
    published = configure(name, {**method.settings(recipe), **options})
    return cell.model_copy(update={"options": published, "training": training})


def _differing(settings: Mapping[str, Any], configured: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of `settings` that have another value than configured."""
    return {k: v for k, v in settings.items() if v != configured.get(k)}


def _training(params: Params, cell: Cell, train: str) -> dict[str, Any]:
    """The settings that decide the weights of a cell trained on a dataset."""
    data = params.data
    return {
        "numerics": params.numerics,
        "options": cell.options.model_dump(mode="json"),
        "training": cell.training.identity(),
        "texts": cell.texts.model_dump(mode="json"),
        "encoders": encoders_of(params, cell).model_dump(mode="json"),
        "labels": cell.labels,
        "images": [data.train_views, data.train_images, data.validation],
        "twin": None if train in data.roots else params.twins.of(train),
    }


def _reading(params: Params) -> dict[str, Any]:
    """What decides the features of published weights, and the reports that are retrieved, beside
    `_evaluation`; of trained weights it is of the training."""
    return {
        "numerics": params.numerics,
        "precision": params.encoders.precision,
        "rule": params.texts.rule,
    }


def _evaluation(params: Params, cell: Cell, datasets: Sequence[str], protocol: str | None) -> dict[str, Any]:
    """The settings that decide the results of a trained cell on these datasets."""
    return {
        "statistics": params.statistics.model_dump(mode="json"),
        "tasks": {
            name: task.model_dump(mode="json", exclude={"datasets"})
            for name, task in _evaluated_tasks(params, datasets, protocol).items()
        },
        **{
            dataset: {
                "protocol": protocol or params.data.protocols.get(dataset),
                "twin": None if dataset in params.data.roots else params.twins.of(dataset),
                "prompts": [prompts.model_dump(mode="json") for prompts in cell.prompts_on(dataset)],
            }
            for dataset in datasets
        },
    }


def _root(text: str, option: str) -> str:
    path = Path(text).expanduser()
    if not path.is_dir():
        raise BenchError(f"{option} {text}: no such folder. Give the folder that holds the official files.")
    return str(path.resolve())


def parse_shard(text: str) -> tuple[int, int]:
    """`i/n` with 1 <= i <= n → (i - 1, n)."""
    parts = [_whole(part) for part in text.split("/")]
    if len(parts) == 2 and parts[0] is not None and parts[1] is not None and 1 <= parts[0] <= parts[1]:
        return parts[0] - 1, parts[1]
    raise ParamsError(f"--shard {text:.60}: expected i/n with 1 <= i <= n, as in 2/4.")


def parse_seeds(text: str) -> tuple[int, ...]:
    """`0,1,2` → (0, 1, 2)."""
    seeds = [_whole(part.strip()) for part in text.split(",")]
    if any(seed is None or seed > LARGEST_SEED for seed in seeds):
        raise ParamsError(f"--seeds {text:.60}: expected whole numbers up to {LARGEST_SEED}, as in 0,1,2.")
    return tuple(dict.fromkeys(seed for seed in seeds if seed is not None))


def _whole(text: str) -> int | None:
    """A whole number in plain digits; None for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None
