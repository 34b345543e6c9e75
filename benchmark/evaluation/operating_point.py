"""Decisions at a threshold that images outside the evaluation set fix."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from benchmark.core.errors import DataError
from benchmark.core.tasks import Task, TaskContext, TaskResult, TaskSettings
from benchmark.data.dataset import evaluation_set
from benchmark.evaluation.evaluation_data import hash_frame

if TYPE_CHECKING:
    from benchmark.core.settings import StatisticsConfig
    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.prompts.class_prompts import PromptSet
    from methods.base import Method

LEAST_NEGATIVES = 20
"""Held-out images without a finding that a threshold needs."""
HELD_OUT = "splits that fix the threshold, without patients of the evaluation set; none that trained a method"


class OperatingSettings(TaskSettings, frozen=True):
    """Of a task that decides at a held-out threshold."""

    held_out: tuple[str, ...] = Field(default=("validate",), min_length=1, description=HELD_OUT)


class OperatingTask(Task):
    """A task that decides at thresholds of held-out images; it has no result where there are none."""

    needs = frozenset({"labels"})
    lacking = "no held-out image fixes an operating point"
    own_protocol = False
    Settings = OperatingSettings

    def evaluate(
        self, method: Method, data: EvaluationData, prompts: PromptSet, given: TaskContext
    ) -> TaskResult | None:
        assert isinstance(given.settings, OperatingSettings)
        other = held_out_data(data, given.settings.held_out)
        return None if other is None else self.decide(method, data, other, prompts, given)

    @abstractmethod
    def decide(
        self,
        method: Method,
        data: EvaluationData,
        other: EvaluationData,
        prompts: PromptSet,
        given: TaskContext,
    ) -> TaskResult | None:
        """`evaluate`, with the held-out images in `other`."""

    def reads(self, data: EvaluationData, statistics: StatisticsConfig) -> dict[str, str]:
        """The labels of every split, one of which fixes the thresholds, too."""
        return {**super().reads(data, statistics), "held out": every_label(data)}


def held_out_data(data: EvaluationData, splits: Sequence[str]) -> EvaluationData | None:
    """Images of these splits under the same protocol, of patients that the evaluation set does not have; None
    where there are none. Scoring them needs no new features, as the store holds every image."""
    protocol, name = data.chosen.protocol, data.chosen.info.protocol
    other = protocol.model_copy(update={"split": tuple(splits), "image_list": None, "images": None})
    card = data.card.model_copy(update={"protocols": {**data.card.protocols, name: other}})
    try:
        found = evaluation_set(data.manifest, card, name)
    except DataError:
        return None
    apart = ~np.isin(found.patients.astype(str), data.chosen.patients.astype(str))
    if not apart.any():
        return None
    frame = found.frame[apart].reset_index(drop=True)
    chosen = replace(found, frame=frame, labels=found.labels[apart], patients=found.patients[apart])
    place = {image: row for row, image in enumerate(data.manifest.frame["image_id"])}
    rows = np.array([place[image] for image in frame["image_id"]], dtype=np.int64)
    return replace(data, chosen=chosen, rows=rows)


def every_label(data: EvaluationData) -> str:
    """Hash of the labels of all images of the manifest, whatever the protocol evaluates."""
    frame = data.manifest.frame
    return hash_frame(frame[["image_id", "patient_id", "split", *data.manifest.classes]])


def operating_points(scores: np.ndarray, labels: np.ndarray, specificity: float) -> np.ndarray:
    """(C,) the lowest thresholds above which at most 1 - specificity of the held-out negatives lie; NaN for a
    class with fewer than LEAST_NEGATIVES. scores, labels: (N, C); a score above its threshold is a call."""
    points = np.full(scores.shape[1], np.nan)
    for c in range(scores.shape[1]):
        negatives = scores[labels[:, c] == 0, c]
        if len(negatives) >= LEAST_NEGATIVES:
            points[c] = np.quantile(negatives, specificity, method="inverted_cdf")
    return points
