"""Zero-shot classification: the score of an image with the prompts of a class (CARZero, RadZero, CheXzero).

Thresholds of F1, MCC and sensitivity at a specificity are fitted on the dataset's validation split, scored
with the same model and prompts; where there is none the values are undefined and the note says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.hashing import derive_seed
from benchmark.core.tasks import TASKS, Task, TaskContext, TaskResult, rounded
from benchmark.evaluation.evaluate import NO_THRESHOLDS, evaluate
from benchmark.evaluation.evaluation_data import validation_data
from benchmark.evaluation.prompt_scores import class_scores, pooled_prompts, prompt_label
from benchmark.evaluation.statistics.thresholds import Thresholds, fit_thresholds

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.core.settings import StatisticsConfig
    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.prompts.class_prompts import PromptSet
    from methods.base import Method

STRATA = ("all", "head", "medium", "tail", "never-named")


@TASKS.register("classification")
class Classification(Task):
    name = "classification"
    title = "Zero-shot classification"
    headlines = ("auroc",)
    shown = ("auroc", "average_precision")
    needs = frozenset({"labels"})
    order = 0
    file = "metrics"
    own_protocol = False
    every_prompt = True
    keeps_scores = True

    def evaluate(
        self, method: Method, data: EvaluationData, prompts: PromptSet, given: TaskContext
    ) -> TaskResult | None:
        scores = predict(method, data, prompts, given)
        thresholds = thresholds_of(method, data, prompts, given) if given.statistics.thresholded else None
        if given.helper:
            return None
        rows = evaluate(
            scores,
            data.chosen.labels,
            data.chosen.patients,
            data.chosen.classes,
            strata=data.strata,
            subgroups=data.subgroups if given.own_prompts else {},
            config=given.statistics,
            thresholds=thresholds or NO_THRESHOLDS,
            seed=derive_seed(0, "bootstrap", data.manifest.dataset),
        )
        return TaskResult(rows, prompt_label(prompts), scores)

    def reads(self, data: EvaluationData, statistics: StatisticsConfig) -> dict[str, str]:
        """Of the validation split too, where thresholds are fitted on it."""
        found = super().reads(data, statistics)
        if statistics.thresholded:
            other, missing = validation_data(data)
            found["validation"] = missing if other is None else other.identity + other.content("labels")
        return found

    def headline(self, rows: pd.DataFrame) -> dict[str, float | None]:
        """`<metric>_<stratum>` of the cell's own prompts: macro values of all classes and of each stratum."""
        own = rows[(rows["class"] == "macro") & rows["stratum"].isin(list(STRATA))]
        own = own[own["prompts"] == own["prompts"].iloc[0]]
        named = own[["stratum", "metric", "value"]].itertuples(index=False)
        return {f"{metric}_{stratum}": rounded(value) for stratum, metric, value in named}


def predict(method: Method, data: EvaluationData, prompts: PromptSet, given: TaskContext) -> np.ndarray:
    """(N, C) scores of the chosen images against the classes."""
    store = data.encode(prompts.texts)
    features, reduced = pooled_prompts(store.get(store.rows(prompts.texts)), prompts)
    return class_scores(given.score(method, data.images, data.rows, features), reduced)


def thresholds_of(method: Method, data: EvaluationData, prompts: PromptSet, given: TaskContext) -> Thresholds:
    """Fitted on the validation split, scored by the same model with the same prompts."""
    other, missing = validation_data(data)
    if other is None:
        return Thresholds({}, missing)
    scores = predict(method, other, prompts, given)
    return fit_thresholds(scores, other.chosen.labels, other.chosen.classes, given.statistics.specificity)
