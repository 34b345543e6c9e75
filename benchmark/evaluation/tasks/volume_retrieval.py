"""Retrieval on CT as CT-CLIP defines it: reports find their volume, and volumes find volumes of like labels.

Source: ibrahimethemhamamci/CT-CLIP `scripts/` (report to volume: recall at 5, 10, 50, 100 among all volumes;
volume to volume: mean overlap |A ∩ B| / |A ∪ B| of the labels with the k nearest volumes that carry one). The
released volume-to-volume script keeps the query among its candidates and does not empty its list between
values of k, as `…_as_released` does; `label_overlap_at_K` leaves out the query's patient and counts each k
alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.errors import DataError
from benchmark.core.tasks import TASKS, Task, TaskContext, TaskResult
from benchmark.evaluation.evaluate import finish
from benchmark.evaluation.retrieval import recall_by_chance, text_ranks
from benchmark.evaluation.statistics.influence import patient_codes
from benchmark.evaluation.statistics.trials import Trials
from benchmark.evaluation.tasks.retrieval import pairs_of
from benchmark.evaluation.trial_rows import Rows, trial_rows

if TYPE_CHECKING:
    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.prompts.class_prompts import PromptSet
    from methods.base import Method

RECALL_AT = (5, 10, 50, 100)
OVERLAP_AT = (1, 5, 10, 50)
EVERY = 1_000_000


@TASKS.register("volume_retrieval")
class VolumeRetrieval(Task):
    name = "volume_retrieval"
    title = "Retrieval as CT-CLIP defines it: report to volume, volume to volume"
    headlines = ("recall_at_10_report_to_volume", "label_overlap_at_5")
    shown = ("recall_at_10_report_to_volume", "label_overlap_at_5", "label_overlap_at_5_as_released")
    needs = frozenset({"reports", "labels"})
    order = 4
    own_protocol = False

    def evaluate(
        self, method: Method, data: EvaluationData, prompts: PromptSet, given: TaskContext
    ) -> TaskResult | None:
        import torch

        pairs = pairs_of(data, EVERY)
        if len(pairs.texts) < 2:
            raise DataError(f"{data.manifest.dataset}: fewer than two reports; retrieval needs more.")
        store = data.encode(pairs.texts)
        features = store.get(store.rows(pairs.texts))
        volumes = data.rows[pairs.images]
        scores = given.score(method, data.images, volumes, features)
        if given.helper:
            return None
        patients = data.chosen.patients[pairs.images]
        codes, clusters, grouped = patient_codes(patients, len(patients))
        _, first = np.unique(pairs.partner, return_index=True)
        level = given.statistics.level
        rows: Rows = []
        ranks = text_ranks(scores, pairs.partner)
        for k in RECALL_AT:
            chance = recall_by_chance(pairs.partner, k)
            note = f"among {len(volumes)} volumes, of which chance finds {chance:.3f}"
            found = [Trials("all", (ranks <= k).astype(float), codes[first])]
            rows += trial_rows(f"recall_at_{k}_report_to_volume", found, clusters, level, note)
        with torch.no_grad():
            images = method.prepare_image(data.images.get(volumes).to(given.device))
            spaces = method.embeddings(images, method.prepare_text(features[:1].to(given.device)))
        if "direct" in spaces:
            vectors = spaces["direct"][0].cpu().numpy().astype(np.float64)
            rows += overlap_rows(vectors, data.chosen.labels[pairs.images], codes, clusters, level)
        return TaskResult(finish(rows, grouped), "report")


def overlap_rows(
    vectors: np.ndarray, labels: np.ndarray, patients: np.ndarray, clusters: int, level: float
) -> Rows:
    """`label_overlap_at_K` and `label_overlap_at_K_as_released` of the volumes that carry a label.

    vectors: (N, d). labels: (N, C) in {1, 0, -1 ignored}; volumes with an ignored label are left out, as
    their overlap with others is unknown. patients: (N,) 0..clusters-1.
    """
    told = (labels >= 0).all(axis=1)
    vectors, labels, patients = vectors[told], labels[told] == 1, patients[told]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near, overlap = unit @ unit.T, label_overlap(labels)
    carries = labels.any(axis=1)
    left_out = "" if told.all() else f", {np.count_nonzero(~told)} with an ignored label left out"
    near[:, ~carries] = -np.inf
    apart = np.where(patients[:, None] == patients[None, :], -np.inf, near)
    own = np.flatnonzero(carries)
    rows: Rows = []
    before: list[np.ndarray] = []
    for k in OVERLAP_AT:
        before.append(nearest(near, overlap, k)[own])
        for end, values, note in (
            ("", nearest(apart, overlap, k)[own], "volumes of the query's patient are no candidates"),
            (
                "_as_released",
                np.mean(before, axis=0),
                "the query is a candidate; the mean runs over smaller k too",
            ),
        ):
            there = ~np.isnan(values)
            trials = [Trials("all", values[there], patients[own][there])]
            alone = "" if there.all() else f", {np.count_nonzero(~there)} without a candidate left out"
            said = f"{np.count_nonzero(there)} volumes with a label{left_out}{alone}; {note}"
            rows += trial_rows(f"label_overlap_at_{k}{end}", trials, clusters, level, said)
    return rows


def nearest(near: np.ndarray, overlap: np.ndarray, k: int) -> np.ndarray:
    """(N,) mean overlap with the k nearest, of fewer candidates with all; NaN without any. near: (N, N),
    -inf for what is no candidate; the first among equal ones."""
    best = np.argsort(-near, axis=1, kind="stable")[:, :k]
    there = np.isfinite(np.take_along_axis(near, best, axis=1))
    found = np.take_along_axis(overlap, best, axis=1) * there
    count = there.sum(axis=1)
    return np.where(count > 0, found.sum(axis=1) / np.maximum(count, 1), np.nan)


def label_overlap(labels: np.ndarray) -> np.ndarray:
    """(N, N) |A ∩ B| / |A ∪ B| of the labels of two volumes, 0 where both have none. labels: (N, C) bool."""
    count = labels.sum(axis=1)
    both = (labels.astype(np.int64) @ labels.T.astype(np.int64)).astype(float)
    union = count[:, None] + count[None, :] - both
    return np.asarray(np.divide(both, union, out=np.zeros_like(both), where=union > 0))
