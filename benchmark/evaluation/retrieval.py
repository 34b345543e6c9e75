"""Image-text retrieval and the modality gap of shared embedding spaces.

Recall@k counts a query whose own partner is among the k best. Gap: ‖mean v̄ - mean t̄‖ of unit vectors
(Liang et al. 2022, "Mind the gap"), beside the mean cosine of pairs and of non-pairs, so that a collapse of
both sides is not mistaken for a closed gap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.core.errors import DataError
from benchmark.evaluation.statistics.trials import patient_influence


def image_ranks(scores: np.ndarray, own: np.ndarray) -> np.ndarray:
    """(I,) rank of each image's own text among T distinct texts, 1 = best; texts that tie with it come first.

    scores: (I, T). own: (I,) column of its text.
    """
    best = scores[np.arange(len(scores)), own]
    return np.asarray((scores >= best[:, None]).sum(axis=1))


def text_ranks(scores: np.ndarray, own: np.ndarray) -> np.ndarray:
    """(T,) rank of the best image that has this text among all images of other texts; ties rank before.

    Raises DataError where a text belongs to no image.
    """
    texts = scores.shape[1]
    if len(np.unique(own)) != texts:
        raise DataError(f"retrieval: {texts} texts, but only {len(np.unique(own))} belong to an image.")
    mine = own[:, None] == np.arange(texts)[None, :]
    best = np.where(mine, scores, -np.inf).max(axis=0)
    return np.asarray(1 + ((scores >= best[None, :]) & ~mine).sum(axis=0))


def recall_by_chance(own: np.ndarray, k: int) -> float:
    """Mean over texts of the probability that one of a text's images is among the k best by chance, of images
    in a random order. own: (I,) text of each image."""
    count, shared = len(own), np.unique(own, return_counts=True)[1]
    missed = np.ones(len(shared))
    for taken in range(min(k, count)):
        missed *= np.maximum(count - shared - taken, 0) / (count - taken)
    return float(1 - missed.mean())


@dataclass(frozen=True)
class Quantity:
    """A value and the influence (P,) of every patient on it."""

    value: float
    influence: np.ndarray


def modality_gap(
    image: np.ndarray, text: np.ndarray, own: np.ndarray, codes: np.ndarray, clusters: int
) -> dict[str, Quantity]:
    """`modality_gap`, `paired_cosine` and `unpaired_cosine` of N pairs.

    image, text: (N, d), row i of both is a pair; they are normalised here. own: (N,) which text each has;
    where several have one, each is a pair with the images of all. codes: (N,) patients 0..P-1.
    Raises DataError for fewer than two pairs, or a vector of length 0 or not finite.
    """
    if image.shape != text.shape or len(image) < 2:
        raise DataError(f"modality gap: {image.shape} image and {text.shape} text vectors form no two pairs.")
    v, t = (_unit(x) for x in (image, text))
    mean_v, mean_t = v.mean(axis=0), t.mean(axis=0)
    apart = mean_v - mean_t
    gap = float(np.linalg.norm(apart))
    towards = apart / gap if gap > 0 else np.zeros_like(apart)
    paired = (v * t).sum(axis=1)
    count, (_, place, shared) = len(v), np.unique(own, return_inverse=True, return_counts=True)
    of_text = np.zeros((2, len(shared), v.shape[1]))
    for side, vectors in zip(of_text, (v, t), strict=True):
        np.add.at(side, place, vectors)
    alike, pairs = (of_text[0] * of_text[1]).sum(axis=1).sum(), count**2 - int(np.square(shared).sum())
    unpaired = float((count**2 * (mean_v @ mean_t) - alike) / pairs) if pairs else np.nan
    parts = {
        "modality_gap": (gap, (v - t) @ towards),
        "paired_cosine": (float(paired.mean()), paired),
        "unpaired_cosine": (unpaired, v @ mean_t + t @ mean_v),
    }
    return {
        name: Quantity(value, patient_influence(each, codes, clusters))
        for name, (value, each) in parts.items()
    }


def _unit(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    if not np.isfinite(x).all() or not (length > 0).all():
        raise DataError("modality gap: an embedding is not finite or has length 0.")
    return np.asarray(x / length)
