"""A supervised linear probe on frozen features: what the pictures give away to these encoders without texts.

It is trained on the training images with their true labels, which only a twin has, and read beside zero-shot
results of methods that saw the reports of the same images. It is no row of a table of methods.
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
from sklearn.preprocessing import StandardScaler

LEAST = 15


@dataclass(frozen=True)
class Ceiling:
    """auroc: on the evaluation set. trained_on: positive training images."""

    name: str
    auroc: float
    trained_on: int


def linear_probe(
    train: NDArray[np.floating],
    train_labels: NDArray[np.integer],
    test: NDArray[np.floating],
    test_labels: NDArray[np.integer],
    classes: Sequence[str],
    *,
    report: Callable[[int, int], None] | None = None,
) -> list[Ceiling]:
    """Logistic regression, one class at a time, standardised inputs, both kinds weighted equally.

    train (M, D), test (N, D): features. train_labels (M, C), test_labels (N, C): 1, 0 and -1 (left out).
    Classes with fewer than 15 positive (or negative) training images, or without both kinds to be tested on,
    are left out.
    """
    scale = StandardScaler().fit(train)
    train, test = scale.transform(train), scale.transform(test)
    found = []
    for column, name in enumerate(classes):
        seen, kept = train_labels[:, column] >= 0, test_labels[:, column] >= 0
        known, truth = train_labels[seen, column], test_labels[kept, column]
        positives = int(known.sum())
        if LEAST <= positives <= len(known) - LEAST and 0 < truth.sum() < len(truth):
            model = LogisticRegression(C=0.003, class_weight="balanced", max_iter=100)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(train[seen], known)
            value = float(roc_auc_score(truth, model.decision_function(test[kept])))
            found.append(Ceiling(name, value, positives))
        if report is not None:
            report(column + 1, len(classes))
    return found
