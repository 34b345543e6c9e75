"""A validation score that is comparable over methods and hyper-parameters, without any test label.

Validation losses are not comparable: a temperature or a margin changes their scale. Here every held-out
image is scored with every held-out sentence, and each sentence gets the AUROC of telling the images of
which it is true from those of which it is false, as in zero-shot evaluation with the sentence as prompt.

What is true comes from the reports alone. A sentence is true of its own images; where findings were
extracted, also of every image whose report states all its findings. It is false of an image where a
finding that it affirms is denied or not mentioned, or one that it denies is affirmed. Other pairs are left
out. Sentences that state the same findings count as one group; the score is the mean over groups.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from benchmark.core.errors import BenchError, MetricUndefined
from benchmark.encoders.store import FeatureStore, TextStore
from benchmark.evaluation.scoring import score
from benchmark.training.data import TrainingData
from methods.base import Method


@dataclass(frozen=True)
class SentenceMatch:
    """auroc: macro over groups. groups, sentences: how many were scored."""

    auroc: float
    groups: int
    sentences: int


class HeldOut:
    """Held-out sentences that can tell images apart, ready to score a method again and again.

    A sentence takes part where it is true of `least` images and false of `least`; of those that state the
    same findings, the first `per_group`. Raises MetricUndefined where there is none, BenchError where the
    encoders are fine-tuned, so that no features are cached.
    """

    def __init__(self, data: TrainingData, *, least: int = 5, per_group: int | None = None) -> None:
        if not (isinstance(data.images, FeatureStore) and isinstance(data.text, TextStore)):
            raise BenchError("validation by sentences reads cached features; encode images and texts first.")
        rows = np.unique(np.concatenate([data.sentences(n) for n in data.val]))
        labels, groups = truth(data, rows)
        kept = _kept(labels, groups, least, per_group)
        kept = kept[np.argsort(data.text.lengths(rows[kept]), kind="stable")]  # tiles of texts of one length
        self.images, self.texts, self.least = data.images, data.text.get(rows[kept]), least
        self.held = data.image_rows[data.val]
        self.labels, self.groups = labels[:, kept], groups[kept]

    def match(
        self, method: Method, tile: tuple[int, int] = (64, 64), device: str | torch.device = "cpu"
    ) -> SentenceMatch:
        """Macro AUROC of these sentences. The method is left in evaluation mode."""
        scores = score(method, self.images, self.texts, tile, rows=self.held, device=device)
        return match(scores, self.labels, self.groups, least=self.least)


def _kept(
    labels: NDArray[np.int8], groups: NDArray[np.int64], least: int, per_group: int | None
) -> NDArray[np.int64]:
    """Columns with `least` true and `least` false images, at most `per_group` of each group."""
    enough = ((labels == 1).sum(0) >= least) & ((labels == 0).sum(0) >= least)
    taken: Counter[int] = Counter()
    kept = []
    for column in np.flatnonzero(enough):
        if per_group is None or taken[int(groups[column])] < per_group:
            taken[int(groups[column])] += 1
            kept.append(column)
    if not kept:
        raise MetricUndefined(
            f"no held-out sentence is true of {least} and false of {least} images; hold out more patients."
        )
    return np.array(kept, dtype=np.int64)


def truth(data: TrainingData, rows: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """labels: (V, T) of the held-out images and these text rows: 1 true, 0 false, -1 left out.
    groups: (T,) number of the group of each text."""
    place = {int(row): column for column, row in enumerate(rows)}
    own = np.zeros((len(data.val), len(rows)), dtype=bool)
    for number, example in enumerate(data.val):
        own[number, [place[int(row)] for row in data.sentences(example)]] = True
    if data.image_findings is None or data.text_findings is None:
        return own.astype(np.int8), np.arange(len(rows))
    image = data.image_findings[data.val].astype(np.int32)  # (V, K)
    text = data.text_findings[rows].astype(np.int32)  # (T, K)
    stated = np.abs(text).sum(1)
    agree = (image[:, None] * text[None] == 1).sum(2)  # (V, T)
    false = ((text[None] == 1) & (image[:, None] <= 0)) | ((text[None] == -1) & (image[:, None] == 1))
    labels = np.full(own.shape, -1, dtype=np.int8)
    labels[false.any(2)] = 0
    labels[(stated > 0) & (agree == stated)] = 1
    labels[:, stated == 0] = 0
    labels[own] = 1
    _, groups = np.unique(np.where(stated[:, None] > 0, text, rows[:, None] + 2), axis=0, return_inverse=True)
    return labels, groups.reshape(-1)


def match(
    scores: NDArray[Any], labels: NDArray[np.int8], groups: NDArray[np.int64], *, least: int = 5
) -> SentenceMatch:
    """Mean over groups of the mean AUROC of their sentences. scores, labels: (V, T)."""
    found: dict[int, list[float]] = {}
    for column in range(scores.shape[1]):
        kept = labels[:, column] >= 0
        truth = labels[kept, column] == 1
        positives, negatives = int(truth.sum()), int((~truth).sum())
        if min(positives, negatives) < least:
            continue
        ranks = rankdata(scores[kept, column])
        auroc = (ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives)
        found.setdefault(int(groups[column]), []).append(float(auroc))
    if not found:
        raise MetricUndefined(
            f"no held-out sentence is true of {least} and false of {least} images; hold out more patients."
        )
    return SentenceMatch(
        float(np.mean([np.mean(values) for values in found.values()])),
        len(found),
        sum(map(len, found.values())),
    )
