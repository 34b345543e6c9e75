"""Groups of classes by frequency. A rule is applied once, to the whole evaluation set, and then frozen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TAIL_POSITIVES = 10
HEAD_PERCENTILE = 65.0


def long_tail(n_pos: np.ndarray, classes: Sequence[str]) -> dict[str, list[str]]:
    """head, medium and tail by CARZero's rule on the positives per class of the evaluation set.

    θ = 65th percentile (linear interpolation). head: n > θ; medium: 10 < n <= θ; tail: n <= 10.
    Where θ < 10 a class can be both head and tail. A group may be empty.
    Source: laihaoran/CARZero utils.py `obtaion_LT_multi_label_distribution`.
    """
    counts = np.asarray(n_pos)
    if len(counts) == 0:
        return {"head": [], "medium": [], "tail": []}
    theta = np.percentile(counts, HEAD_PERCENTILE)
    masks = {
        "head": counts > theta,
        "medium": (counts > TAIL_POSITIVES) & (counts <= theta),
        "tail": counts <= TAIL_POSITIVES,
    }
    return {name: [classes[int(i)] for i in np.flatnonzero(mask)] for name, mask in masks.items()}


def frequency_deciles(n_pos: np.ndarray, classes: Sequence[str]) -> dict[str, list[str]]:
    """Ten groups of nearly equal size by positives per class, rarest first; ties keep the class order."""
    order = np.argsort(np.asarray(n_pos), kind="stable")
    parts = np.array_split(order, 10)
    return {f"decile-{i + 1:02d}": [classes[j] for j in sorted(part)] for i, part in enumerate(parts)}
