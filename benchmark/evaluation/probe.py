"""A supervised linear probe on frozen features: what a dataset's pixels give away to these encoders at all.

Zero-shot results are read against it. The probe sees labels of the evaluation set (of other patients), so it
is a yardstick for the dataset and never a row of a table of methods.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDS = 5
LEAST = 15


@dataclass(frozen=True)
class Ceiling:
    """auroc: of held-out patients, mean over folds. positives: images with the class."""

    name: str
    auroc: float
    positives: int


def linear_probe(
    features: NDArray[np.floating],
    labels: NDArray[np.integer],
    patients: Sequence[str] | NDArray[np.object_],
    classes: Sequence[str],
    *,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> list[Ceiling]:
    """Cross-validated logistic regression, one class at a time.

    features: (N, D), one row an image. labels: (N, C) of 1, 0 and -1 (left out). patients: (N,), never split
    over folds. Classes with fewer than 15 positives, or with a fold without one of both kinds, are left out:
    their probe would measure the sample more than the picture.
    """
    found = []
    groups = np.asarray(patients)
    for column, name in enumerate(classes):
        kept = labels[:, column] >= 0
        truth = labels[kept, column]
        positives = int(truth.sum())
        if LEAST <= positives <= len(truth) - LEAST:
            values = _folds(features[kept], truth, groups[kept], seed)
            if values:
                found.append(Ceiling(name, float(np.mean(values)), positives))
        if report is not None:
            report(column + 1, len(classes))
    return found


def _folds(
    features: NDArray[np.floating], truth: NDArray[np.integer], groups: NDArray[np.object_], seed: int
) -> list[float]:
    values = []
    for train, test in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(
        features, truth, groups
    ):
        if min(len(set(truth[train])), len(set(truth[test]))) < 2:
            return []
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=200)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features[train], truth[train])
        values.append(float(roc_auc_score(truth[test], model.decision_function(features[test]))))
    return values
