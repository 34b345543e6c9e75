"""From the scores of prompts to the scores of classes: ensembles and negative prompts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.core.errors import BenchError
from benchmark.core.features import TextFeatures
from benchmark.prompts.class_prompts import PromptSet


def class_scores(scores: NDArray[Any], prompts: PromptSet) -> NDArray[np.float64]:
    """(N, T) scores of images against prompts → (N, C) scores of classes.

    Prompts of one class and polarity are averaged, or their maximum taken (`aggregation: max`). With
    negative prompts the result is positive minus negative, the log-odds of the softmax over the two: the
    ranking of CheXzero's and CT-CLIP's probability without its saturation at 0 and 1.
    Raises BenchError where the number of columns is not that of the prompts.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(prompts.texts):
        raise BenchError(f"scores of shape {values.shape} do not fit {len(prompts.texts)} prompts.")
    reduce = np.max if prompts.aggregation == "max" else np.mean
    owner, sign = np.asarray(prompts.class_of_text), np.asarray(prompts.polarity)

    def side(polarity: int) -> NDArray[np.float64]:
        columns = [values[:, (owner == c) & (sign == polarity)] for c in range(len(prompts.classes))]
        return np.stack([reduce(block, axis=1) for block in columns], axis=1)

    return side(1) - side(-1) if prompts.contrastive else side(1)


def pooled_prompts(features: TextFeatures, prompts: PromptSet) -> tuple[TextFeatures, PromptSet]:
    """One text per class and polarity, for `aggregation: mean-embedding`; other sets come back unchanged.

    features: T texts of `prompts`. The pooled vector is the mean of its group, and the group's word tokens
    stand side by side, so that methods with local similarity see the words of every wording.
    """
    if len(features) != len(prompts.texts):
        raise BenchError(f"features of {len(features)} texts do not fit {len(prompts.texts)} prompts.")
    if prompts.aggregation != "mean-embedding":
        return features, prompts
    owner, sign = np.asarray(prompts.class_of_text), np.asarray(prompts.polarity)
    sides: tuple[Literal[1, -1], ...] = (1, -1) if prompts.contrastive else (1,)
    keys = [(c, s) for c in range(len(prompts.classes)) for s in sides]
    groups = [np.flatnonzero((owner == c) & (sign == s)) for c, s in keys]
    pooled = torch.stack([features.pooled[group].mean(0) for group in groups])
    tokens = [features.local[group][features.mask[group]] for group in groups]
    longest = max(len(t) for t in tokens)
    local = features.local.new_zeros(len(groups), longest, features.local.shape[2])
    mask = torch.zeros(len(groups), longest, dtype=torch.bool, device=features.mask.device)
    for row, words in enumerate(tokens):
        local[row, : len(words)] = words
        mask[row, : len(words)] = True
    kept = replace(
        prompts,
        texts=tuple(" | ".join(prompts.texts[i] for i in group) for group in groups),
        class_of_text=tuple(c for c, _ in keys),
        polarity=tuple(s for _, s in keys),
    )
    return TextFeatures(pooled, local, mask, _words(features, groups, longest)), kept


def _words(
    features: TextFeatures, groups: list[NDArray[np.int64]], length: int
) -> tuple[tuple[str, ...], ...] | None:
    if features.words is None:
        return None
    rows = []
    for group in groups:
        said = [
            word
            for i in group
            for word, real in zip(features.words[i], features.mask[i].tolist(), strict=False)
            if real
        ]
        rows.append(tuple(said + [""] * (length - len(said))))
    return tuple(rows)


def prompt_label(prompts: PromptSet) -> str:
    """How the `prompts` column names a prompt set."""
    return (
        prompts.style if prompts.aggregation == "mean-score" else f"{prompts.style} ({prompts.aggregation})"
    )
