"""What a reference is, and how one is fitted without a patient on both sides.

scikit-learn is imported where something is fitted: a finished run only looks for scores.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from benchmark.core.registry import Registry

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.encoders.store import FeatureStore

Floats = NDArray[np.floating]
Labels = NDArray[np.int8]
Kind = Literal["floor", "ceiling"]
FOLDS = 5
HELD_OUT = 0.2
AT_ONCE = 256

REFERENCES: Registry[type[Reference]] = Registry(
    "reference",
    hint="A reference is a file of benchmark/evaluation/references/.",
    package="benchmark.evaluation.references",
)
"""References by name. Plug-ins: group `cxr_alignbench.references`."""


@dataclass(frozen=True)
class Images:
    """N images of one dataset. frame: their rows of the manifest. features, rows: the store of their features
    and the (N,) rows of it. pixels: (M,) rows of the store → (M, S, S) uint8. patients: (N,) ids."""

    frame: pd.DataFrame
    features: FeatureStore
    rows: NDArray[np.int64]
    pixels: Callable[[NDArray[np.int64]], NDArray[np.uint8]]
    patients: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self) -> Iterator[NDArray[np.int64]]:
        """Rows of the store, AT_ONCE images at a time, so that not all are in memory."""
        for start in range(0, len(self), AT_ONCE):
            yield self.rows[start : start + AT_ONCE]

    def take(self, chosen: NDArray[np.int64]) -> Images:
        """These images of them, in this order."""
        return replace(
            self,
            frame=self.frame.iloc[chosen],
            rows=self.rows[chosen],
            patients=self.patients[chosen],
        )


class Reference(ABC):
    """One reference of the tables.

    title: of its row. kind: floor, which a method must exceed, or ceiling. order: place among those of a
    kind. reads: what it is shown of an image, for the notes of the tables. joint: the classes of all
    evaluation sets are fitted at once, as they share what is learnt.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    kind: ClassVar[Kind]
    order: ClassVar[int] = 100
    reads: ClassVar[str]
    joint: ClassVar[bool] = False

    def applies(self, test: Images) -> bool:
        """Whether the images carry what the reference reads."""
        return True

    def shared(self, train: Images, test: Images) -> bool:
        """Whether the training images carry what the reference reads of the evaluated ones."""
        return True

    @abstractmethod
    def fit(self, train: Images, labels: Labels, seed: int) -> Callable[[Images], Floats]:
        """(N) images → (N, C) finite scores, higher = more positive, by a model fitted on `train` with labels
        (M, C) in {1, 0, -1 unknown}."""


def enough(images: Images) -> bool:
    """Whether there are patients enough to part: two a fold."""
    return len(np.unique(images.patients.astype(str))) >= 2 * FOLDS


def crossed(reference: Reference, images: Images, labels: Labels, seed: int) -> Floats:
    """(N, C) scores of every image by a model fitted on other patients.

    labels: (N, C) of these images, which are `enough`.
    """
    from sklearn.model_selection import GroupKFold

    groups = np.unique(images.patients.astype(str), return_inverse=True)[1]
    scores = np.zeros(labels.shape)
    for rest, held in GroupKFold(FOLDS, shuffle=True, random_state=seed).split(scores, groups=groups):
        scores[held] = reference.fit(images.take(rest), labels[rest], seed)(images.take(held))
    return scores


def held_out(images: Images, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(fit, check) rows of the fitted images, by patient, for what a reference must choose."""
    from sklearn.model_selection import GroupShuffleSplit

    groups = np.unique(images.patients.astype(str), return_inverse=True)[1]
    splitter = GroupShuffleSplit(1, test_size=HELD_OUT, random_state=seed)
    fit, check = next(splitter.split(groups, groups=groups))
    return fit, check


def mean_auroc(labels: Labels, scores: Floats) -> float:
    """Mean over the classes with both kinds of known labels; NaN without any."""
    from sklearn.metrics import roc_auc_score

    found = []
    for truth, own in zip(labels.T, scores.T, strict=True):
        known = truth >= 0
        if 0 < (truth[known] == 1).sum() < known.sum():
            found.append(roc_auc_score(truth[known], own[known]))
    return float(np.mean(found)) if found else float("nan")
