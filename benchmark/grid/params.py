"""What params.yaml may say, and the cells that it describes. Typed, and frozen once it is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PositiveInt,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from benchmark.core.errors import ParamsError, closest
from benchmark.core.numerics import Numerics
from benchmark.core.settings import (
    EQUAL_BUDGET,
    FINE_TUNING,
    MethodConfig,
    Recipe,
    StatisticsConfig,
    TrainConfig,
    set_fields,
    train_config,
)
from benchmark.core.shapley import subsets
from benchmark.core.tasks import TaskSettings
from benchmark.core.validation import complaint_at
from benchmark.data.cards import VARIABLE as CARDS
from benchmark.data.cards import View, load_card
from benchmark.grid.asked import known_methods
from benchmark.grid.cell_params import (
    CellParams,
    Labels,
    MethodChanges,
    Seed,
    Training,
    check_training,
    refuse_names,
)
from benchmark.grid.declared import configure, declared, task_settings
from benchmark.grid.encoder_params import EncoderChanges, EncoderParams
from benchmark.grid.parts import OF_ENCODERS
from benchmark.grid.robustness import RobustnessParams
from benchmark.grid.strict import Strict
from benchmark.prompts.settings import PromptParams, TextParams
from benchmark.twins.ct.catalogue import DEFAULT_VOLUMES
from benchmark.twins.ct.catalogue import SITES as CT_SITES

FLOOR = "floor"
"""The `table` of cells that stand below the methods of the main tables, and are run with them."""
TRAINED_ELSEWHERE = ("official", "model")
"""Variants of cells whose weights were not trained here."""
ENDS = ("-main", "-ct", *(f"-{variant}" for variant in TRAINED_ELSEWHERE))
"""What makes the name of a method that of a cell which params.yaml does not name."""


class DataParams(Strict):
    """Which datasets are used, and where official files lie."""

    train: str = Field(description="dataset whose image-report pairs train every method")
    evaluate: tuple[str, ...] = Field(description="datasets evaluated zero-shot")
    ablate_on: tuple[str, ...] = Field((), description="datasets of the ablation cells; empty: all")
    roots: dict[str, str] = Field(
        {}, description="dataset → folder of official files, $NAME from the environment"
    )
    protocols: dict[str, str] = Field({}, description="dataset → evaluation protocol, where not the default")
    train_views: tuple[View, ...] = Field(("PA", "AP"), description="views trained on; empty: every view")
    train_images: PositiveInt | None = Field(None, description="at most so many training images")
    validation: float = Field(0.1, gt=0, lt=0.5, description="share of patients held out for validation")


class TwinParams(Strict):
    """Sizes of the synthetic twins."""

    seed: Seed = 0
    size: int = Field(256, ge=64, le=2048, description="side of the images in pixels")
    images: dict[str, PositiveInt] = Field({}, description="dataset → number of images")
    side: int = Field(112, ge=24, le=512, description="side of the slices of CT volumes in voxels")
    volumes: dict[str, PositiveInt] = Field({}, description="dataset of CT volumes → number of volumes")

    def of(self, dataset: str) -> dict[str, int | None]:
        """What the twin of one dataset is drawn by."""
        if dataset in CT_SITES:
            volumes = self.volumes.get(dataset, DEFAULT_VOLUMES[dataset])
            return {"images": volumes, "side": self.side, "seed": self.seed}
        return {"images": self.images.get(dataset), "size": self.size, "seed": self.seed}


class PromptAblation(Strict):
    """Further inference prompts, evaluated with the models that are there anyway."""

    methods: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    prompts: tuple[PromptParams, ...] = ()


def _refuse_fine_tuning(training: TrainConfig) -> TrainConfig:
    for name in FINE_TUNING:
        if getattr(training, name) is not None:
            text = (
                f"training.{name}: acts on encoders that are fine-tuned; the grid's are frozen. Leave it out."
            )
            raise complaint_at((name,), text, getattr(training, name))
    return check_training(training)


FrozenTraining = Annotated[TrainConfig, AfterValidator(_refuse_fine_tuning)]
"""Settings of a training on volumes, whose encoders are frozen; what would change nothing is refused."""


class TuningParams(Strict):
    """The search that chose `method.<name>`: the same number of trials in the same space for every method."""

    trials: PositiveInt = 6
    seed: Seed = 0


class VolumeParams(Strict):
    """What stands in place of the values above where a run is on CT volumes."""

    train: str = Field(default="ct_rate", description="dataset whose volume-report pairs train every method")
    evaluate: tuple[str, ...] = Field(
        default=("ct_rate", "ct_rate_lt", "rad_chestct"), description="datasets evaluated zero-shot"
    )
    image: str = Field(default="slices-lite0", description="the encoder of volumes that every method shares")
    texts: TextParams = TextParams(wording="summary", unit="report")
    training: FrozenTraining = Field(
        default=TrainConfig(), description="fields that differ from `training`; `--set ct.training.epochs=3`"
    )
    cells: dict[str, CellParams] = Field(default={}, description="ablation cells on CT volumes, as `cells`")
    tasks: dict[str, SerializeAsAny[TaskSettings]] = Field(
        default={}, description="tasks beside classification on CT volumes, as `tasks`"
    )

    @field_validator("tasks", mode="before")
    @classmethod
    def _known_tasks(cls, given: Mapping[str, object]) -> dict[str, TaskSettings]:
        return task_settings(given)


class AttributionParams(Strict):
    """Cells between two that differ in several factors: one for every combination, `none` for the first."""

    label: str = Field(description="how tables name the comparison")
    factors: tuple[str, ...] = Field(min_length=2, max_length=4)
    cells: dict[str, str] = Field(description="factors that a cell has, joined by ' + ' (or none) → the cell")

    @model_validator(mode="after")
    def _every_combination(self) -> AttributionParams:
        given = [self._has(key) for key in self.cells]
        for has in subsets(self.factors):
            if given.count(has) != 1:
                name = " + ".join(f for f in self.factors if f in has) or "none"
                raise ValueError(f"cells: expected one cell for '{name}', found {given.count(has)}")
        if len(given) != 2 ** len(self.factors):
            surplus = next(k for k in self.cells if not self._has(k) <= set(self.factors))
            raise ValueError(f"cells: '{surplus}' names what is not under factors")
        return self

    def _has(self, key: str) -> frozenset[str]:
        return frozenset() if key == "none" else frozenset(part.strip() for part in key.split("+"))

    def cell(self, has: frozenset[str]) -> str:
        """The cell that has these factors."""
        return next(cell for key, cell in self.cells.items() if self._has(key) == has)


class Params(Strict):
    """The whole file, profile applied."""

    profile: str
    recipe: Literal["equal-budget", "official"] = Field(
        "equal-budget",
        description="what `method` and `training` change: one budget for all, or each paper's own",
    )
    numerics: Numerics = Field(
        "portable", description="portable: the same bits on any x86-64 processor; native: the fastest kernels"
    )
    methods: tuple[str, ...]
    seeds: tuple[Seed, ...] = Field(min_length=1)
    data: DataParams
    twins: TwinParams
    encoders: EncoderParams
    texts: TextParams
    prompts: PromptParams
    training: Training = TrainConfig()
    ct: VolumeParams = VolumeParams()
    method: dict[str, MethodChanges]
    cells: dict[str, CellParams] = Field({})
    attribution: dict[str, AttributionParams] = Field({})
    robustness: RobustnessParams = RobustnessParams()
    prompt_ablation: PromptAblation = PromptAblation()
    tasks: dict[str, SerializeAsAny[TaskSettings]] = Field(
        {}, description="tasks beside classification: the datasets of each, or its settings"
    )
    tuning: TuningParams = TuningParams()
    statistics: StatisticsConfig = StatisticsConfig()

    @field_validator("method", mode="before")
    @classmethod
    def _keys_are_methods(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {k: {"method": k, **v} if isinstance(v, dict) else v for k, v in value.items()}

    @field_validator("tasks", mode="before")
    @classmethod
    def _known_tasks(cls, given: Mapping[str, object]) -> dict[str, TaskSettings]:
        return task_settings(given)

    @model_validator(mode="after")
    def _methods_are_their_keys(self) -> Params:
        for name, own in self.method.items():
            if own.method != name:
                raise complaint_at(("method", name), f"method.{name} says that it is '{own.method}'.", name)
        for name in self.ct.cells:
            if name in self.cells:
                text = f"ct.cells.{name}: cells has this name too, and both would be written to one folder."
                raise complaint_at(("ct", "cells", name), text, name)
        for place, names in (("cells",), self.cells), (("ct", "cells"), self.ct.cells):
            refuse_names(place, names, [m + end for m in known_methods().names() for end in ("", *ENDS)])
        refuse_names(("robustness", "settings"), self.robustness.settings, [end[1:] for end in ENDS])
        return self


class Cell(Strict):
    """One thing to train and evaluate, fully resolved.

    variant: `main`, or what tells the cell from its method's main cell. table, label: where its row stands
    and what it is called. seeds: None, those of the grid. encoders: of its own.
    """

    name: str
    method: str
    variant: str
    options: SerializeAsAny[MethodConfig]
    training: TrainConfig
    texts: TextParams
    prompts: PromptParams
    more_prompts: tuple[PromptParams, ...] = ()
    more_prompts_on: tuple[str, ...] = ()
    evaluate: tuple[str, ...]
    tasks: tuple[str, ...] = ()
    seeds: tuple[int, ...] | None = None
    table: str = "zero_shot"
    label: str = ""
    encoders: EncoderChanges = EncoderChanges()
    labels: Labels = "concepts"

    @model_serializer(mode="wrap")
    def _without_shared(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A cell under the shared encoders, with the usual labels, is what it was before any could differ."""
        found: dict[str, Any] = plain(self)
        if self.encoders == EncoderChanges():
            del found["encoders"]
        if self.labels == "concepts":
            del found["labels"]
        return found

    @property
    def trained_elsewhere(self) -> bool:
        """Whether its weights are an official checkpoint or a model of two towers: no training of here."""
        return self.variant in TRAINED_ELSEWHERE

    def prompts_on(self, dataset: str) -> tuple[PromptParams, ...]:
        """The cell's own prompts first, then those of the prompt ablation where it covers the dataset."""
        return (self.prompts, *(self.more_prompts if dataset in self.more_prompts_on else ()))


def main_cell(params: Params, method: str) -> Cell:
    """The row of `method` in the main table: its recipe, then `training`, then what `method.<name>` changes.
    Trained on CT volumes it is named METHOD-ct.

    Raises UnknownName where there is no such method.
    """
    kind = declared(method)
    own = params.method.get(method) or MethodChanges(method=method)
    official = params.recipe == "official"
    recipe: Recipe = kind.recipe("official") if official else EQUAL_BUDGET
    cell = Cell(
        name=main_name(params, method),
        method=method,
        variant="main",
        options=configure(method, {**kind.settings(params.recipe), **set_fields(own.options)}),
        training=train_config({**set_fields(params.training), **set_fields(own.training)}, recipe),
        texts=params.texts,
        prompts=params.prompts,
        more_prompts=params.prompt_ablation.prompts if method in params.prompt_ablation.methods else (),
        more_prompts_on=params.prompt_ablation.datasets,
        evaluate=params.data.evaluate,
        tasks=tuple(params.tasks),
        encoders=own.encoders,
        labels=own.labels,
    )
    return _consumed(params, cell)


def _consumed(params: Params, cell: Cell) -> Cell:
    """Raises ParamsError for settings of a training that act on encoders which the cell does not train."""
    for name in FINE_TUNING if not encoders_of(params, cell).train.trains else ():
        if getattr(cell.training, name) is not None:
            raise ParamsError(
                f"training.{name}: acts on encoders that are fine-tuned; those of {cell.name} are frozen. "
                "Leave it out, or set encoders.train."
            )
    return cell


def with_frozen_encoders(params: Params) -> Params:
    """Methods without encoders of their own; settings that act on these fall away with them."""

    def frozen(own: MethodChanges) -> MethodChanges:
        if own.encoders == EncoderChanges():
            return own
        training = {k: v for k, v in set_fields(own.training).items() if k not in FINE_TUNING}
        update = {"encoders": EncoderChanges(), "training": TrainConfig.model_validate(training)}
        return own.model_copy(update=update)

    return params.model_copy(update={"method": {name: frozen(own) for name, own in params.method.items()}})


def encoders_of(params: Params, cell: Cell) -> EncoderParams:
    """The encoders of a cell: its own, and the shared ones where it names none."""
    own = {name: value for name, value in set_fields(cell.encoders).items() if value is not None}
    return params.encoders.model_copy(update=own)


def on_ct(params: Params) -> bool:
    """Whether these are the parameters of CT volumes (`grid.modality.on_volumes`)."""
    return _modality(params.data.train, os.environ.get(CARDS, "")) == "ct"


@lru_cache(maxsize=64)
def _modality(dataset: str, _folders: str) -> str:
    """Of a card, which is asked for hundreds of times while parameters are read, and looked for each time."""
    return load_card(dataset).modality


def main_name(params: Params, method: str) -> str:
    """METHOD-main, or METHOD-ct where volumes are trained on."""
    return f"{method}-{'ct' if on_ct(params) else 'main'}"


def command_for(params: Params, cell: Cell | None = None) -> str:
    """The command that trains and evaluates a cell; without one, the main cells with their references. All
    cells on CT volumes are made by one command."""
    if on_ct(params):
        return "bench stage cells ct"
    return f"bench stage cell {cell.name}" if cell else "bench stage cells main"


def ablation_cell(params: Params, name: str) -> Cell:
    """The cell `cells.<name>`: its method's main cell with the stated changes. Cells of tables of encoders
    say themselves which they have and train; the others have those of their method."""
    if name not in params.cells:
        near = closest(name, params.cells)
        hint = f" Did you mean '{near}'?" if near else ""
        raise ParamsError(f"params.yaml: no cell '{name}' under cells.{hint}")
    change = params.cells[name]
    base = main_cell(with_frozen_encoders(params) if change.table in OF_ENCODERS else params, change.method)
    cell = Cell(
        name=name,
        method=change.method,
        variant=name.removeprefix(f"{change.method}-"),
        options=configure(change.method, {**set_fields(base.options), **set_fields(change.options)}),
        training=base.training.model_copy(update=set_fields(change.training)),
        texts=TextParams.model_validate({**set_fields(base.texts), **set_fields(change.texts)}),
        prompts=base.prompts,
        more_prompts=tuple(p for p in base.more_prompts if change.covers(p)),
        more_prompts_on=base.more_prompts_on,
        evaluate=change.evaluate or (change.table != FLOOR and params.data.ablate_on) or base.evaluate,
        tasks=change.tasks,
        seeds=change.seeds,
        table=change.table,
        label=change.label,
        encoders=base.encoders.model_copy(update=set_fields(change.encoders)),
        labels=set_fields(change).get("labels", base.labels),
    )
    return _consumed(params, cell)


def cell_named(params: Params, name: str) -> Cell:
    """A method's main cell (`carzero`, `carzero-main`) or a cell of params.yaml."""
    if name in params.cells:
        return ablation_cell(params, name)
    for method in (*params.methods, *params.method):
        if name in (method, main_name(params, method)):
            return main_cell(params, method)
    return ablation_cell(params, name)
