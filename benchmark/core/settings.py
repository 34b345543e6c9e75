"""The typed settings of methods, training and statistics: what params.yaml may change of each.

Where settings stand for a change (`method.clip.training`, `cells.x.options`), `set_fields` tells what the
file sets from what stands at its default; fields that are not set stay as they are in what is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from benchmark.core.errors import ParamsError
from benchmark.core.validation import first_complaint

Precision = Literal["float32", "float16"]
"""Of features in the cache."""
TrainsOn = Literal["one", "all"]
"""`one` random sentence per image and step, or `all` sentences as multiple positives."""
Duplicates = Literal["keep", "merge"]


class MethodConfig(BaseModel, frozen=True, extra="forbid"):
    """Hyper-parameters every method has. A method subclasses it; each field's description gives the
    official value and its source, and `bench ls methods` prints them.
    """

    width: int = Field(default=128, gt=0, description="dimension of the shared embedding space")
    project: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Linear from the encoder's width to `width`: only where the two differ, always, or never",
    )
    normalise_inputs: Literal["none", "layer", "standard"] = Field(
        default="standard",
        description="frozen features before the projection: as they come (official), LayerNorm without "
        "weights, or each channel standardised over training features (one rule for all methods)",
    )
    multi_positive: bool = Field(
        default=False,
        description="train on all sentences of an image as positives; off: one random sentence a step",
    )


class Recipe(BaseModel, frozen=True, extra="forbid"):
    """How a method is optimised. `source` says where the values come from."""

    optimiser: Literal["adam", "adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = Field(default=0.01, ge=0)
    decay_exempt: Literal["none", "norms and biases", "at most one axis"] = "at most one axis"
    batch_size: int = Field(default=64, gt=0)
    batch_schedule: tuple[tuple[int, int], ...] = ()
    """(first epoch, batch size) steps that override `batch_size`."""
    epochs: int | None = Field(default=None, gt=0)
    clip_norm: float | None = Field(default=None, gt=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_steps: int = Field(default=0, ge=0)
    warmup_fraction: float = Field(default=0.0, ge=0, le=1)
    patience: int | None = None
    """Epochs without a better validation loss before stopping; None: never stop early."""
    precision: Literal["float32", "float16 mixed", "bfloat16"] = "float32"
    source: str


EQUAL_BUDGET = Recipe(
    optimiser="adamw",
    learning_rate=1e-3,
    weight_decay=0.01,
    batch_size=64,
    epochs=10,
    clip_norm=1.0,
    schedule="cosine",
    warmup_fraction=0.05,
    source="this project: one optimiser family, steps, batch size and number of tuning trials for all",
)

ENGINE = (
    "tile", "memory_gib", "compile", "prefetch", "encoder_chunk", "checkpoint_seconds", "device",
    "deterministic", "threads",
)  # fmt: skip
"""Fields that say how a run is computed, not what: another recipe keeps them."""
TIME_AND_MEMORY = ("prefetch", "checkpoint_seconds", "device")
"""Fields that are no part of a run's identity: the first two change no bit, and the device is that of the
machine at hand, so that what a cluster trained is found where its table is printed. run.json names it."""
FINE_TUNING = ("encoder_learning_rate", "encoder_chunk")
"""Fields that act on encoders in the graph only."""


class TrainConfig(Recipe, frozen=True, extra="forbid"):
    """The recipe of a run and the switches of its engine. The defaults are those of EQUAL_BUDGET.

    duplicates: of equal sentences in a batch. `merge` makes one text of them that is positive for each of
    its images; `keep` leaves them apart, as the official implementations do.
    tile: (images, texts) of one recomputed tile of pairs; None computes all pairs at once, unless
    `memory_gib`, a bound on what the pairs of one tile keep for the backward pass, asks for tiles.
    encoder_chunk: images (or texts) an encoder sees at once when it is fine-tuned; None, the whole batch.
    device: a torch device, or `auto`, the accelerator if this machine has one.
    looks: how often a run is validated, evenly spread, at most once an epoch; the last epoch is always one.
    average: the weights that are validated and kept are an exponential average whose horizon is this share of
    all steps; None keeps those of the step itself.
    """

    source: str = EQUAL_BUDGET.source
    epochs: int | None = Field(default=EQUAL_BUDGET.epochs, gt=0)
    clip_norm: float | None = Field(default=EQUAL_BUDGET.clip_norm, gt=0)
    warmup_fraction: float = Field(default=EQUAL_BUDGET.warmup_fraction, ge=0, le=1)
    duplicates: Duplicates = "merge"
    max_texts: int | None = Field(default=None, gt=0, description="at most so many sentences of an image")
    encoder_learning_rate: float | None = Field(default=None, gt=0, description="fine-tuning only")
    tile: tuple[int, int] | None = None
    memory_gib: float | None = Field(default=None, gt=0)
    encoder_chunk: int | None = Field(default=None, gt=0)
    compile: bool = False
    prefetch: bool = False
    checkpoint_seconds: float = Field(default=60.0, ge=0)
    device: str = "auto"
    deterministic: bool = True
    threads: int | None = Field(default=None, gt=0, description="of the CPU; None, as many as torch takes")
    looks: int = Field(default=20, gt=0, description="validations of a run, evenly spread over its epochs")
    average: float | None = Field(
        default=None, gt=0, lt=1, description="horizon of the average of the weights, a share of all steps"
    )

    def identity(self) -> dict[str, Any]:
        """The fields that decide the trained numbers."""
        return self.model_dump(mode="json", exclude={*TIME_AND_MEMORY, "source"})


def train_config(options: Mapping[str, Any] | None = None, recipe: Recipe = EQUAL_BUDGET) -> TrainConfig:
    """A recipe with some fields replaced. Raises ParamsError naming the option and the nearest known one."""
    try:
        return TrainConfig.model_validate({**recipe.model_dump(), **(options or {})})
    except ValidationError as error:
        first = first_complaint(error, lambda _: TrainConfig.model_fields)
        if first.unknown:
            raise ParamsError(f"training: unknown option '{first.key}'.{first.guess}") from None
        raise ParamsError(f"training.{first.key}: {first.reason}, got {first.got!r:.80}.") from None


class StatisticsConfig(BaseModel, frozen=True, extra="forbid"):
    """How values get their intervals and comparisons their tests.

    level: nominal coverage. interval: `analytic` (influence functions, seconds) or the clustered bootstrap
    (`percentile`, `bca`). draws: bootstrap draws. power: of the minimum detectable effect.
    thresholded: also report F1, MCC, sensitivity at `specificity`, top-k and calibration error.
    bins: equal-width bins of the calibration error. subgroup_positives: a class enters the macro mean of a
    subgroup where each level has at least that many positives and negatives.
    """

    level: float = Field(default=0.95, gt=0.5, lt=1)
    interval: Literal["analytic", "percentile", "bca"] = "analytic"
    draws: int = Field(default=2000, ge=100)
    power: float = Field(default=0.8, gt=0, lt=1)
    thresholded: bool = False
    specificity: float = Field(default=0.9, gt=0, lt=1)
    top_k: tuple[int, ...] = (1, 5)
    bins: int = Field(default=15, ge=2)
    subgroup_positives: int = Field(default=5, ge=1)


def set_fields(settings: BaseModel) -> dict[str, Any]:
    """The fields that were given, without those that stand at their default for want of a value."""
    return {
        name: getattr(settings, name)
        for name in type(settings).model_fields
        if name in settings.model_fields_set
    }
