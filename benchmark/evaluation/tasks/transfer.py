"""Transfer: what a share of the labels is worth, beside zero-shot classification of the same images.

For each share, draws of labelled patients (none of them evaluated) give a linear probe of the frozen image
encoder's pooled vector (`auroc_probe_<percent>`; the same for all methods that share it) and the method's
alignment with its weights tuned, encoders frozen (`auroc_tuned_<percent>`). `auroc_zero_shot` stands beside
them. Values are means over the draws; `images_<percent>` and `classes_<percent>` say how many labelled
images a draw has and how many classes it can fit at all: of the others the probe knows nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from benchmark.core.hashing import derive_seed
from benchmark.core.tasks import TASKS, Task, TaskContext, TaskResult, TaskSettings
from benchmark.evaluation.evaluate import evaluate, finish
from benchmark.evaluation.operating_point import every_label, held_out_data
from benchmark.evaluation.prompt_scores import class_scores, pooled_prompts, prompt_label
from benchmark.evaluation.scoring import score
from benchmark.evaluation.statistics.effects import mean_over_seeds
from benchmark.evaluation.statistics.influence import patient_codes
from benchmark.evaluation.statistics.metric_values import VALUE, MetricValue, values_of
from benchmark.evaluation.tasks.classification import predict
from benchmark.evaluation.transfer import (
    LabelDraw,
    has_weights,
    label_draws,
    learnable,
    linear_probe,
    pooled_inputs,
    tuned,
)

if TYPE_CHECKING:
    from benchmark.core.settings import StatisticsConfig
    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.evaluation.trial_rows import Rows
    from benchmark.prompts.class_prompts import PromptSet
    from methods.base import Method

Share = Annotated[float, Field(gt=0, le=1)]


class TransferSettings(TaskSettings, frozen=True):
    labelled: tuple[str, ...] = Field(
        default=("train", "validate"), min_length=1, description="splits whose labels are drawn"
    )
    shares: tuple[Share, ...] = Field(default=(0.01, 0.1, 1.0), min_length=1, description="of the labels")
    draws: int = Field(default=3, ge=1, description="of each share below 1")
    epochs: int = Field(default=20, ge=1, description="of fine-tuning; held-out patients choose one")
    learning_rate: float = Field(default=3e-4, gt=0, description="of fine-tuning")
    batch_size: int = Field(default=32, ge=1, description="of fine-tuning")


@TASKS.register("transfer")
class Transfer(Task):
    name = "transfer"
    title = "Transfer: linear probe and fine-tuning with shares of the labels, beside zero-shot"
    headlines = ("auroc_zero_shot",)
    shown = ("auroc_zero_shot",)
    needs = frozenset({"labels"})
    lacking = "no labelled images of two other patients"
    order = 7
    own_protocol = False
    Settings = TransferSettings

    def evaluate(
        self, method: Method, data: EvaluationData, prompts: PromptSet, given: TaskContext
    ) -> TaskResult | None:
        how = given.settings
        assert isinstance(how, TransferSettings)
        other = held_out_data(data, how.labelled)
        if other is None or not label_draws(other.chosen.patients, 1.0, 1):  # type: ignore[arg-type]
            return None
        zero = predict(method, data, prompts, given)
        if given.helper:
            return None
        labels = other.chosen.labels
        x, shown = (pooled_inputs(data.images, own.rows) for own in (other, data))
        rows = averaged([_rows(zero, data, given)], "auroc_zero_shot", given.statistics.level)
        for share in how.shares:
            draws = label_draws(other.chosen.patients, share, how.draws)  # type: ignore[arg-type]
            percent = f"{100 * share:g}"
            scores = {"probe": [linear_probe(x, labels, draw)(shown) for draw in draws]}
            if has_weights(method):
                scores["tuned"] = [
                    self._tuned(method, data, other, prompts, given, draw, number)
                    for number, draw in enumerate(draws)
                ]
            for kind, found in scores.items():
                own = [_rows(one, data, given) for one in found]
                rows += averaged(own, f"auroc_{kind}_{percent}", given.statistics.level)
            rows += [
                _plain(f"images_{percent}", [len(draw.rows) for draw in draws]),
                _plain(f"classes_{percent}", [int(learnable(labels[draw.rows]).sum()) for draw in draws]),
            ]
        _, _, grouped = patient_codes(data.chosen.patients, len(data))
        return TaskResult(finish(rows, grouped), prompt_label(prompts))

    def _tuned(
        self, method: Method, data: EvaluationData, other: EvaluationData, prompts: PromptSet,
        given: TaskContext, draw: LabelDraw, number: int,
    ) -> np.ndarray:  # fmt: skip
        """(N, C) scores of the evaluation set by the alignment tuned on one draw."""
        how = given.settings
        assert isinstance(how, TransferSettings)
        store = data.encode(prompts.texts)
        text, reduced = pooled_prompts(store.get(store.rows(prompts.texts)), prompts)
        own = tuned(
            method, data.images, other.rows, other.chosen.labels, text, reduced, draw,
            epochs=how.epochs, learning_rate=how.learning_rate, batch=how.batch_size, device=given.device,
            seed=derive_seed(number, "transfer", f"{len(draw.rows)}"),
        )  # fmt: skip
        return class_scores(score(own, data.images, text, rows=data.rows, device=given.device), reduced)

    def reads(self, data: EvaluationData, statistics: StatisticsConfig) -> dict[str, str]:
        """The labels of every split, of which some are drawn, too."""
        return {**super().reads(data, statistics), "labelled": every_label(data)}

    def is_share(self, metric: str) -> bool:
        """Counts of images and classes are none."""
        return metric.startswith("auroc")


def averaged(draws: Sequence[pd.DataFrame], metric: str, level: float) -> Rows:
    """Mean over draws by class and stratum; the interval joins patients with the spread of the draws.

    draws: metric rows of the same classes, one frame a draw.
    """
    values, low, high = (np.array([own[k] for own in draws], dtype=float) for k in ("value", "low", "high"))
    rows: Rows = []
    for k, first in enumerate(values_of(draws[0])):
        mean = mean_over_seeds(values[:, k], low[:, k], high[:, k], level, share=True)
        rows.append(replace(first, metric=metric, value=mean.value, low=mean.low, high=mean.high))
    return rows


def _rows(scores: np.ndarray, data: EvaluationData, given: TaskContext) -> pd.DataFrame:
    """AUROC by class, macro and stratum."""
    plain = given.statistics.model_copy(update={"thresholded": False})
    found = evaluate(
        scores, data.chosen.labels, data.chosen.patients, data.chosen.classes, strata=data.strata,
        config=plain,
    )  # fmt: skip
    kept = found[(found["metric"] == "auroc") & ~found["class"].isin(["micro", "weighted"])]
    return kept[list(VALUE)].reset_index(drop=True)


def _plain(metric: str, values: Sequence[int]) -> MetricValue:
    """A count, mean over draws, without an interval."""
    mean = float(np.mean(values))
    return MetricValue("macro", "all", metric, mean, np.nan, np.nan, 0, 0, 0, 0, note="")
