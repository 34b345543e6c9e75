"""`method` and `cells` of params.yaml: what is changed of a method, for its main cell and for others."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializeAsAny, ValidationInfo, field_validator

from benchmark.core.errors import UnknownName
from benchmark.core.files import names_a_folder
from benchmark.core.settings import MethodConfig, TrainConfig, set_fields
from benchmark.core.tasks import check_task
from benchmark.core.validation import complaint_at
from benchmark.grid.declared import declared
from benchmark.grid.encoder_params import EncoderChanges
from benchmark.grid.strict import Strict
from benchmark.prompts.settings import PromptParams, Style, TextChanges

Labels = Literal["concepts", "chexpert14"]
LARGEST_SEED = 2**32 - 1
"""What NumPy's legacy generator takes, the smallest bound of all that are seeded."""
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]


def registered(method: str) -> str:
    """The name of a registered method. Raises ValidationError with the nearest name."""
    try:
        declared(method)
    except UnknownName as error:
        raise complaint_at((), str(error), method) from None
    return method


def refuse_names(place: tuple[str, ...], names: Iterable[str], taken: Container[str]) -> None:
    """Raises ValidationError for a name below `place` that is taken, or that no folder can have."""
    for name in names:
        why = "" if names_a_folder(name) else "no folder can have this name"
        if name in taken:
            why = "this is the name of a method's own row, and both would be written to one folder"
        if why:
            text = f"{'.'.join((*place, name))}: {why}. Give it another one."
            raise complaint_at((*place, name), text, name)


def check_training(training: TrainConfig) -> TrainConfig:
    """Raises ValidationError for what no optimiser or loop takes; `core.settings` is in the key of every
    training, so that these bounds are held here."""
    held = {
        "patience": (training.patience is None or training.patience >= 1, "a whole number from 1, or null"),
        "batch_schedule": (
            all(first >= 0 and size >= 1 for first, size in training.batch_schedule),
            "pairs of a first epoch from 0 and a batch size from 1",
        ),
        "betas": (all(0 <= beta < 1 for beta in training.betas), "two numbers from 0 to below 1"),
        "eps": (training.eps > 0, "a number above 0"),
        "momentum": (0 <= training.momentum < 1, "a number from 0 to below 1"),
    }
    for name, (holds, wanted) in held.items():
        if not holds:
            value = getattr(training, name)
            raise complaint_at((name,), f"training.{name}: expected {wanted} (got {value}).", value)
    return training


Training = Annotated[TrainConfig, AfterValidator(check_training)]


class MethodChanges(Strict):
    """What is changed of a method: options of its own Config, fields of the training recipe, its encoders,
    which on CT volumes are the shared ones all the same."""

    method: str = Field(description="a registered method; under `method` it is the key")
    options: SerializeAsAny[MethodConfig] = Field(default={}, validate_default=True)
    training: Training = TrainConfig()
    encoders: EncoderChanges = EncoderChanges()
    labels: Labels = Field(
        default="concepts",
        description="what MedCLIP's targets compare: every finding that the training texts state, or the 14 "
        "columns of CheXpert, as upstream",
    )

    @field_validator("labels")
    @classmethod
    def _are_compared(cls, labels: Labels, info: ValidationInfo) -> Labels:
        method = info.data.get("method")
        if labels == "concepts" or method in (None, "medclip"):
            return labels
        from methods.base import METHODS
        from methods.medclip import MedCLIP

        if not issubclass(METHODS.get(method), MedCLIP):
            raise ValueError(f"acts on MedCLIP's targets; {method} compares no labels. Leave it out")
        return labels

    @field_validator("method")
    @classmethod
    def _known(cls, name: str) -> str:
        return registered(name)

    @field_validator("options", mode="before")
    @classmethod
    def _of_the_method(cls, options: Any, info: ValidationInfo) -> Any:
        if "method" not in info.data:
            return MethodConfig()
        given = set_fields(options) if isinstance(options, MethodConfig) else options
        return declared(info.data["method"]).Config.model_validate(given)


class CellParams(MethodChanges):
    """One ablation cell: a method with something changed. Unset fields are those of its main cell."""

    table: str = Field(description="the ablation table this cell belongs to")
    label: str = Field(description="how the table names the row")
    texts: TextChanges = TextChanges()
    evaluate: tuple[str, ...] | None = None
    tasks: tuple[str, ...] = Field(
        (), description="tasks of `tasks` it is evaluated on beside classification"
    )
    seeds: tuple[Seed, ...] | None = Field(None, min_length=1, description="unset: those of the grid")
    more_prompts: tuple[Style, ...] | None = Field(
        None,
        description="styles of prompt_ablation it is evaluated with; unset: all in prompt_alignment, or none",
    )

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            check_task(name)
        return names

    def covers(self, prompts: PromptParams) -> bool:
        """Whether the cell is evaluated with these prompts of the prompt ablation too."""
        if self.more_prompts is None:
            return self.table == "prompt_alignment"
        return prompts.style in self.more_prompts
