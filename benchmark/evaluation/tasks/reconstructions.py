"""A scan of several reconstructions: its first one, the mean of their scores, or each volume as a row.

Reconstructions of a scan share patient, report and labels. CT-RATE's published tables count each one (3,039
volumes of 1,564 scans) as if it were independent; here patients are resampled whole under every rule, so that
the three have comparable intervals.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmark.core.hashing import derive_seed
from benchmark.core.settings import StatisticsConfig
from benchmark.core.tasks import TASKS, Task, TaskContext, TaskResult
from benchmark.data.dataset import evaluation_set
from benchmark.evaluation.evaluate import evaluate
from benchmark.evaluation.prompt_scores import prompt_label
from benchmark.evaluation.tasks.classification import predict

if TYPE_CHECKING:
    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.prompts.class_prompts import PromptSet
    from methods.base import Method

FIRST = "list:first_reconstruction"
"""Column of a manifest: whether a volume is the reconstruction of its scan with the lowest number."""
METRICS = ("auroc", "average_precision")


@TASKS.register("reconstructions")
class Reconstructions(Task):
    name = "reconstructions"
    title = "Several reconstructions of a scan: the first, the mean of their scores, or each"
    headlines = ("auroc_mean_of_scan", "auroc_every_volume")
    shown = ("auroc_first_of_scan", "auroc_mean_of_scan", "auroc_every_volume")
    needs = frozenset({"labels"})
    lacking = "no scan with several reconstructions"
    order = 6
    own_protocol = False

    def evaluate(
        self, method: Method, data: EvaluationData, prompts: PromptSet, given: TaskContext
    ) -> TaskResult | None:
        every = every_reconstruction(data)
        frame = every.chosen.frame
        if FIRST not in frame or frame["study_id"].is_unique:
            return None
        scores = predict(method, every, prompts, given)
        if given.helper:
            return None
        scans = frame["study_id"].to_numpy()
        known = ScanScores(scores.astype(np.float64), every.chosen.labels, every.chosen.patients, scans)
        first = frame[FIRST].fillna(False).to_numpy(dtype=bool)
        found = []
        for rule, own in (
            ("first_of_scan", known.at(first)),
            ("mean_of_scan", mean_of_scan(known, first)),
            ("every_volume", known),
        ):
            rows = evaluate(
                own.scores,
                own.labels,
                own.patients,
                every.chosen.classes,
                config=given.statistics,
                seed=derive_seed(0, "bootstrap", data.manifest.dataset),
            )
            macro = (rows["class"] == "macro") & (rows["stratum"] == "all") & rows["metric"].isin(METRICS)
            rows = rows[macro]
            found.append(rows.assign(metric=rows["metric"] + f"_{rule}"))
        return TaskResult(pd.concat(found, ignore_index=True), prompt_label(prompts))

    def reads(self, data: EvaluationData, statistics: StatisticsConfig) -> dict[str, str]:
        """Every reconstruction with its labels too."""
        every = every_reconstruction(data)
        return {**super().reads(data, statistics), "every": every.identity + every.content("labels")}


@dataclass(frozen=True)
class ScanScores:
    """scores: (N, C). labels: (N, C). patients, scans: (N,) ids of each row."""

    scores: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    scans: np.ndarray

    def at(self, rows: np.ndarray) -> ScanScores:
        return ScanScores(self.scores[rows], self.labels[rows], self.patients[rows], self.scans[rows])


def mean_of_scan(known: ScanScores, first: np.ndarray) -> ScanScores:
    """One row a scan: the mean score of its reconstructions, with labels and patient of the first.

    first: (N,) bool, true in one row of each scan.
    """
    scans, place = np.unique(known.scans.astype(str), return_inverse=True)
    total = np.zeros((len(scans), known.scores.shape[1]))
    np.add.at(total, place, known.scores)
    mean = total / np.bincount(place)[:, None]
    return replace(known.at(first), scores=mean[place[first]])


def every_reconstruction(data: EvaluationData) -> EvaluationData:
    """The evaluation set with every reconstruction of its scans. Scoring it needs no new features, as the
    store holds every volume."""
    protocol, name = data.chosen.protocol, data.chosen.info.protocol
    if protocol.image_list is None:
        return data
    other = protocol.model_copy(update={"image_list": None, "images": None})
    card = data.card.model_copy(update={"protocols": {**data.card.protocols, name: other}})
    chosen = evaluation_set(data.manifest, card, name)
    place = {image: row for row, image in enumerate(data.manifest.frame["image_id"])}
    rows = np.array([place[image] for image in chosen.frame["image_id"]], dtype=np.int64)
    return replace(data, chosen=chosen, rows=rows)
