"""What a task is: one way to evaluate a method, told by one class in one file of benchmark/evaluation/tasks/.

Cards and params.yaml name tasks, stages carry them out and tables show them; all of them ask this class, so
that a new task touches no other file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ValidationError

from benchmark.core.errors import closest
from benchmark.core.registry import Registry
from benchmark.core.settings import StatisticsConfig
from benchmark.core.validation import complaint_at, first_complaint

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from benchmark.core.features import TextFeatures
    from benchmark.encoders.store import FeatureStore
    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.prompts.class_prompts import PromptSet
    from methods.base import Method

Need = Literal["labels", "maps", "boxes", "masks", "reports"]
CLASSIFICATION = "classification"
"""The task whose datasets are `data.evaluate` and `evaluate` of a cell; all others stand under `tasks`."""

TASKS: Registry[type[Task]] = Registry(
    "task",
    hint="A task is a file of benchmark/evaluation/tasks/ (docs/add-a-task.md).",
    package="benchmark.evaluation.tasks",
)
"""Tasks by name. Plug-ins: group `cxr_alignbench.tasks`."""


class TaskSettings(BaseModel, frozen=True, extra="forbid"):
    """What params.yaml says of a task under `tasks.<name>`; a task with more to say subclasses it. A plain
    list stands for its datasets."""

    datasets: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskContext:
    """What an evaluation is given beside method, evaluation set and prompts.

    score(method, images, rows, texts) → (N, T) float32 scores of these rows of the features with the texts;
    the processes of a distributed run share the rows. helper: this process only helps another one to score
    and may return None after it. own_prompts: whether the prompts are the cell's own, not further ones of the
    prompt ablation.
    """

    statistics: StatisticsConfig
    settings: TaskSettings
    score: Callable[[Method, FeatureStore, np.ndarray, TextFeatures], np.ndarray]
    device: str
    helper: bool = False
    own_prompts: bool = True


@dataclass(frozen=True)
class TaskResult:
    """rows: METRIC_COLUMNS, those before `class` empty. prompts: how the `prompts` column names the texts.
    scores: (N, C) of the images and classes of the evaluation set, of a task that keeps predictions."""

    rows: pd.DataFrame
    prompts: str
    scores: np.ndarray | None = None


class Task(ABC):
    """One way to evaluate a trained method.

    title: of its table. headlines: metrics whose macro value stands for the task in results/index, the first
    of them in `bench run`. shown: metrics that `bench run` prints. needs: what is read of the evaluation set
    beside features and identifiers; a change of it is a change of the result. lacking: what `bench run` says
    of a method that the task does not apply to. order: place among the tasks, by name where it is equal.
    file: stem of the table of metric rows. own_protocol: the task evaluates protocols whose card says
    `task: <name>`; else whatever protocol the run evaluates. every_prompt: evaluated with the prompts of the
    prompt ablation too. keeps_scores: results hold scores, which are written as predictions.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    headlines: ClassVar[tuple[str, ...]]
    shown: ClassVar[tuple[str, ...]]
    needs: ClassVar[frozenset[Need]]
    lacking: ClassVar[str] = "not offered by this method"
    order: ClassVar[int] = 100
    file: ClassVar[str]
    own_protocol: ClassVar[bool] = True
    every_prompt: ClassVar[bool] = False
    keeps_scores: ClassVar[bool] = False
    Settings: ClassVar[type[TaskSettings]] = TaskSettings

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" in cls.__dict__ and "file" not in cls.__dict__:
            cls.file = cls.name

    @abstractmethod
    def evaluate(
        self, method: Method, data: EvaluationData, prompts: PromptSet, given: TaskContext
    ) -> TaskResult | None:
        """Metric rows of one method on one evaluation set, None where the method lacks what the task reads.

        Raises DataError where the evaluation set does. The method is in evaluation mode on `given.device`.
        """

    def reads(self, data: EvaluationData, statistics: StatisticsConfig) -> dict[str, str]:
        """Name → hash of the content that `evaluate` reads: a part of the key of its rows."""
        return {need: data.content(need) for need in sorted(self.needs)}

    def is_share(self, metric: str) -> bool:
        """Whether values lie in [0, 1], so that an interval over seeds is cut there."""
        return True

    def headline(self, rows: pd.DataFrame) -> dict[str, float | None]:
        """Name → headline number of one seed."""
        own = rows[(rows["class"] == "macro") & rows["metric"].isin(list(self.headlines))]
        return {str(m): rounded(v) for m, v in own[["metric", "value"]].itertuples(index=False)}


def rounded(value: float) -> float | None:
    """A headline number: six places, None where it is undefined."""
    return None if value != value else round(float(value), 6)


def task_named(name: str) -> Task:
    """Raises UnknownName, with the nearest known name."""
    return TASKS.get(name)()


def ordered(names: Iterable[str]) -> list[str]:
    """Names of tasks by their place; what no registry knows is left out."""
    known = set(TASKS.names())
    return sorted((n for n in names if n in known), key=lambda n: (TASKS.get(n).order, n))


def check_task(name: str) -> None:
    """Raises ValueError, with the nearest name, where there is no such task."""
    known = TASKS.names()
    if name not in known:
        near = closest(str(name), known)
        guess = f" Did you mean '{near}'?" if near else ""
        raise ValueError(f"unknown task '{name}'.{guess} {TASKS.hint}")


def task_settings(given: object) -> dict[str, TaskSettings]:
    """`tasks` of params.yaml, validated by each task. Raises ValidationError with the nearest name."""
    if not isinstance(given, Mapping):
        raise ValueError("expected the datasets of each task")
    found = {}
    for name, value in given.items():
        try:
            check_task(name)
        except ValueError as error:
            raise complaint_at((str(name),), f"tasks: {error}", name) from None
        if name == CLASSIFICATION:
            text = f"tasks.{name}: is no entry here: its datasets are data.evaluate."
            raise complaint_at((name,), text, name)
        found[name] = value if isinstance(value, TaskSettings) else _settings(name, value)
    return found


def _settings(name: str, value: object) -> TaskSettings:
    kind = TASKS.get(name).Settings
    try:
        return kind.model_validate({"datasets": value} if isinstance(value, list) else value)
    except ValidationError as error:
        first = first_complaint(error, lambda _: kind.model_fields)
        why = f"unknown key.{first.guess}" if first.unknown else f"{first.reason}, got {first.got!r:.80}."
        key = ".".join(("tasks", name, *first.keys))
        raise complaint_at((name, *first.keys), f"{key}: {why}", first.got) from None
