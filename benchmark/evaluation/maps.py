"""Similarity maps of chosen image-text pairs, a few images at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.prompts.class_prompts import PromptSet
    from methods.base import Method

IMAGES_AT_ONCE = 32


def similarity_maps(
    method: Method,
    data: EvaluationData,
    texts: Sequence[str] | PromptSet,
    wanted: Sequence[tuple[int, int]],
    device: str,
    *,
    axes: int = 2,
) -> Tensor | None:
    """(n, *grid) maps of (image, text) pairs; with a prompt set, of (image, class), the mean of the positive
    texts of the class. None where the method has no maps, or the encoder none of so many axes.

    wanted: (n,) rows of the evaluation set with indices of `texts`, or of the prompt set's classes.
    """
    import torch

    from benchmark.prompts.class_prompts import PromptSet

    if len(data.images.grid) != axes:
        return None
    prompts = texts if isinstance(texts, PromptSet) else None
    said = list(texts) if prompts is None else list(prompts.texts)  # type: ignore[arg-type]
    store = data.encode(said)
    features = store.get(store.rows(said))
    images = np.array([i for i, _ in wanted])
    order = np.argsort(images, kind="stable")
    out: list[Tensor | None] = [None] * len(wanted)
    unique = list(dict.fromkeys(images[order].tolist()))
    of_image: dict[int, list[int]] = {}
    for number in order.tolist():
        of_image.setdefault(int(images[number]), []).append(number)
    for first in range(0, len(unique), IMAGES_AT_ONCE):
        group = unique[first : first + IMAGES_AT_ONCE]
        asked = sorted({wanted[n][1] for i in group for n in of_image[i]})
        columns = _columns(prompts, asked)
        used = sorted({c for own in columns.values() for c in own})
        with torch.no_grad():
            maps = method.similarity_map(
                data.images.get(data.rows[group]).to(device), features[used].to(device)
            )
        if maps is None:
            return None
        maps = maps.detach().float().cpu()
        for row, image in enumerate(group):
            for number in of_image[image]:
                own = [used.index(c) for c in columns[wanted[number][1]]]
                out[number] = maps[row, own].mean(0)
    return torch.stack([m for m in out if m is not None])


def _columns(prompts: PromptSet | None, asked: Sequence[int]) -> dict[int, list[int]]:
    """Text or class → the columns of its texts."""
    if prompts is None:
        return {k: [k] for k in asked}
    sides = list(zip(prompts.class_of_text, prompts.polarity, strict=True))
    return {k: [c for c, (owner, sign) in enumerate(sides) if owner == k and sign == 1] for k in asked}
