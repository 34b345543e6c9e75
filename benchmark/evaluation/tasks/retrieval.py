"""Image-text retrieval among reports, and the modality gap of shared embedding spaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from benchmark.core.errors import DataError
from benchmark.core.hashing import derive_seed
from benchmark.core.tasks import TASKS, Task, TaskContext, TaskResult, TaskSettings
from benchmark.evaluation.evaluate import finish
from benchmark.evaluation.retrieval import image_ranks, modality_gap, recall_by_chance, text_ranks
from benchmark.evaluation.statistics.influence import patient_codes
from benchmark.evaluation.statistics.metric_values import metric_value
from benchmark.evaluation.statistics.panel import Column
from benchmark.evaluation.statistics.trials import Trials, smooth_interval
from benchmark.evaluation.trial_rows import Rows, trial_rows

if TYPE_CHECKING:
    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.prompts.class_prompts import PromptSet
    from methods.base import Method

RECALL_AT = (1, 5, 10)


class RetrievalSettings(TaskSettings, frozen=True):
    pairs: int = Field(default=200, ge=2, description="at most so many image-report pairs")


@TASKS.register("retrieval")
class Retrieval(Task):
    name = "retrieval"
    title = "Image-text retrieval and modality gap"
    headlines = ("recall_at_5_image_to_text", "modality_gap")
    shown = ("recall_at_1_image_to_text", "recall_at_5_image_to_text", "modality_gap")
    needs = frozenset({"reports"})
    order = 3
    own_protocol = False
    Settings = RetrievalSettings

    def evaluate(
        self, method: Method, data: EvaluationData, prompts: PromptSet, given: TaskContext
    ) -> TaskResult | None:
        import torch

        assert isinstance(given.settings, RetrievalSettings)
        pairs = pairs_of(data, given.settings.pairs)
        if len(pairs.texts) < 2:
            raise DataError(f"{data.manifest.dataset}: fewer than two reports; retrieval needs more.")
        store = data.encode(pairs.texts)
        features = store.get(store.rows(pairs.texts))
        images = data.rows[pairs.images]
        scores = given.score(method, data.images, images, features)
        if given.helper:
            return None
        patients = data.chosen.patients[pairs.images]
        rows = recall_rows(scores, pairs.partner, patients, given.statistics.level)
        with torch.no_grad():
            prepared = method.prepare_image(data.images.get(images).to(given.device))
            spaces = method.embeddings(prepared, method.prepare_text(features.to(given.device)))
        for name, (image, text) in spaces.items():
            of_pair = text.cpu().numpy()[pairs.partner]
            both = image.cpu().numpy(), of_pair
            rows += gap_rows(name, *both, pairs.partner, patients, given.statistics.level)
        grouped = patient_codes(data.chosen.patients, len(data))[2]
        return TaskResult(finish(rows, grouped), "report")

    def is_share(self, metric: str) -> bool:
        """Gaps are lengths and cosines lie in [-1, 1]."""
        return "gap" not in metric and "cosine" not in metric


@dataclass(frozen=True)
class ImageTextPairs:
    """images: (I,) rows of the evaluation set. partner: (I,) index of each one's text. texts: distinct
    reports."""

    images: np.ndarray
    partner: np.ndarray
    texts: tuple[str, ...]


def pairs_of(data: EvaluationData, most: int) -> ImageTextPairs:
    """One image and its report of each study, frontal where there is one; at most `most` studies, chosen by a
    hash of their id. Studies without a report are left out."""
    frame, texts = data.chosen.frame, data.reports
    frontal = frame["view"].isin(["PA", "AP"]).to_numpy()
    studies = frame["study_id"].fillna(frame["image_id"]).astype(str).tolist()
    first: dict[str, int] = {}
    for row in np.argsort(~frontal, kind="stable").tolist():
        if texts[row]:
            first.setdefault(studies[row], row)
    chosen = sorted(first, key=lambda study: (derive_seed(0, "retrieval", study), study))[:most]
    rows = np.array(sorted(first[study] for study in chosen), dtype=np.int64)
    distinct = list(dict.fromkeys(texts[row][0] for row in rows))
    place = {text: k for k, text in enumerate(distinct)}
    return ImageTextPairs(
        rows, np.array([place[texts[row][0]] for row in rows], dtype=np.int64), tuple(distinct)
    )


def recall_rows(scores: np.ndarray, partner: np.ndarray, patients: np.ndarray, level: float) -> Rows:
    """`recall_at_K_image_to_text` and back, intervals over the patients of the queries.

    scores: (I, T). partner: (I,) text of each image. A text of several images counts for its first patient.
    """
    codes, clusters, _ = patient_codes(patients, len(patients))
    _, first = np.unique(partner, return_index=True)
    rows: Rows = []
    for direction, ranks, owner, drawn in (
        ("image_to_text", image_ranks(scores, partner), codes, np.arange(scores.shape[1])),
        ("text_to_image", text_ranks(scores, partner), codes[first], partner),
    ):
        for k in RECALL_AT:
            hits = (ranks <= k).astype(float)
            chance = recall_by_chance(drawn, k)
            note = f"among {len(drawn)} candidates, of which chance finds {chance:.3f}"
            found = [Trials("all", hits, owner)]
            rows += trial_rows(f"recall_at_{k}_{direction}", found, clusters, level, note)
    return rows


def gap_rows(
    name: str, image: np.ndarray, text: np.ndarray, partner: np.ndarray, patients: np.ndarray, level: float
) -> Rows:
    """`modality_gap`, `paired_cosine`, `unpaired_cosine` of N pairs; other spaces than `direct` are named."""
    codes, clusters, _ = patient_codes(patients, len(patients))
    column = Column("macro", "all", len(image), 0, 0, clusters, clusters)
    end = "" if name == "direct" else f"_{name}"
    return [
        metric_value(column, metric + end, smooth_interval(q.value, q.influence, level))
        for metric, q in modality_gap(image, text, partner, codes, clusters).items()
    ]
