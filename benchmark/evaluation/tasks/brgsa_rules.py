"""Accuracy, weighted F1, precision and recall by BrgSA's threshold rule, and its strict recall and precision.

Source: laihaoran/BrgSA `bootstrap_evaluation/`. The threshold of a class is the score nearest to the corner
of the ROC curve of the evaluated set, so that these values are optimistic; they stand beside printed ones and
rank nothing. Intervals resample patients with the thresholds kept, as rows of a patient are not independent.
The rules compare the classes of one image, so that an image with an ignored label is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.errors import DataError
from benchmark.core.hashing import derive_seed
from benchmark.core.tasks import TASKS, Task, TaskContext, TaskResult
from benchmark.evaluation.brgsa_rules import (
    binary_measures,
    corner_threshold,
    precision_at,
    strict_recall_at,
)
from benchmark.evaluation.evaluate import finish
from benchmark.evaluation.prompt_scores import prompt_label
from benchmark.evaluation.statistics.decision_intervals import few_positives
from benchmark.evaluation.statistics.influence import patient_codes
from benchmark.evaluation.statistics.intervals import Interval, join
from benchmark.evaluation.statistics.metric_values import metric_value
from benchmark.evaluation.statistics.panel import Column
from benchmark.evaluation.tasks.classification import predict

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.prompts.class_prompts import PromptSet
    from methods.base import Method

DRAWS = 500


@TASKS.register("brgsa_rules")
class BrgSARules(Task):
    name = "brgsa_rules"
    title = "Accuracy, F1 and precision by BrgSA's threshold rule"
    headlines = ("accuracy_brgsa",)
    shown = ("accuracy_brgsa", "weighted_f1_brgsa", "precision_brgsa", "strict_recall_at_1")
    needs = frozenset({"labels"})
    order = 5
    own_protocol = False

    def evaluate(
        self, method: Method, data: EvaluationData, prompts: PromptSet, given: TaskContext
    ) -> TaskResult | None:
        scores = predict(method, data, prompts, given)
        if given.helper:
            return None
        dataset, level = data.manifest.dataset, given.statistics.level
        return TaskResult(
            rule_rows(scores, data.chosen.labels, data.chosen.patients, dataset, level), prompt_label(prompts)
        )


def rule_rows(
    scores: np.ndarray, labels: np.ndarray, patients: np.ndarray, dataset: str, level: float
) -> pd.DataFrame:
    """Metric rows of scores and labels (N, C) in {1, 0, -1 ignored}; patients: (N,) ids.

    Raises DataError where no image has all labels, or no class has both outcomes.
    """
    told = np.asarray((labels >= 0).all(axis=1))
    known = np.flatnonzero((labels[told] == 1).any(axis=0) & (labels[told] == 0).any(axis=0))
    if not len(known):
        raise DataError(
            f"{dataset}: BrgSA's rules need a class with both outcomes among the images without an ignored "
            f"label, which are {np.count_nonzero(told)} of {len(told)}; leave the task brgsa_rules out."
        )
    note = "thresholds fitted on the evaluated images"
    if len(known) < labels.shape[1]:
        note += f"; {labels.shape[1] - len(known)} classes without both outcomes are left out"
    if not told.all():
        note += f"; {np.count_nonzero(~told)} images with an ignored label are left out"
    labels = labels[told][:, known].astype(int)
    scores = scores[told][:, known].astype(np.float64)
    cuts = np.array([corner_threshold(y, s, np.unique(s)) for y, s in zip(labels.T, scores.T, strict=True)])
    codes, clusters, grouped = patient_codes(patients[told], len(labels))
    rng = np.random.default_rng(derive_seed(0, "bootstrap", dataset, BrgSARules.name))
    drawn = [rule_values(labels[rows], scores[rows], cuts) for rows in draws(codes, clusters, rng)]
    tail = (1 - level) / 2
    note = join(note, few_positives([np.bincount(codes[own == 1], minlength=clusters) for own in labels.T]))
    column = Column("macro", "all", int(labels.sum()), int((1 - labels).sum()), 0, clusters, clusters)
    rows = []
    for name, value in rule_values(labels, scores, cuts).items():
        own = np.array([d[name] for d in drawn])
        low, high = np.nanquantile(own, [tail, 1 - tail])  # a draw without a positive has no recall
        rows.append(metric_value(column, name, Interval(value, float(low), float(high), note)))
    return finish(rows, grouped)


def draws(codes: np.ndarray, clusters: int, rng: np.random.Generator) -> list[np.ndarray]:
    """DRAWS arrays of rows: as many patients as there are, with replacement, each with all rows."""
    order = np.argsort(codes, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(codes, minlength=clusters))[:-1])
    return [np.concatenate([members[k] for k in rng.integers(clusters, size=clusters)]) for _ in range(DRAWS)]


def rule_values(labels: np.ndarray, scores: np.ndarray, cuts: np.ndarray) -> dict[str, float]:
    """Means over classes of accuracy, precision, recall and F1 weighted over both outcomes at the thresholds
    (C,), and strict recall at 1 and precision at 3. labels, scores: (N, C). Classes without a positive, as in
    a draw of patients, have no recall."""
    found = binary_measures(labels, (scores > cuts).astype(int))
    there = labels.any(axis=0)
    values = {
        "accuracy_brgsa": float(found["acc"].mean()),
        "precision_brgsa": float(found["precision"].mean()),
        "recall_brgsa": float(found["recall"][there].mean()) if there.any() else np.nan,
        "weighted_f1_brgsa": float(found["f1"].mean()),
        "strict_recall_at_1": strict_recall_at(labels, scores, 1),
    }
    if labels.shape[1] >= 3:  # of fewer classes it would be another precision
        values["precision_at_3"] = precision_at(labels, scores, 3)
    return values
