"""Metric definitions of the official evaluation scripts, for numbers that stand beside published ones.

CARZero: laihaoran/CARZero `utils.py`, `inference.py` (ROC AUC, trapezoidal PR area, long-tail groups,
CheXpert 5x200). BrgSA: laihaoran/BrgSA `bootstrap_evaluation/` (thresholds, Recall@k, row bootstrap).
What the benchmark itself reports (patient bootstrap, frozen groups, average precision) lives elsewhere.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import auc, precision_recall_curve, roc_auc_score

from benchmark.core.errors import MetricUndefined
from benchmark.evaluation.brgsa_rules import binary_measures
from benchmark.evaluation.brgsa_rules import corner_threshold as corner_threshold
from benchmark.evaluation.brgsa_rules import precision_at as precision_at
from benchmark.evaluation.brgsa_rules import strict_recall_at as strict_recall_at

_OPENI_CLASSES = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia", "Fracture", "Opacity", "Lesion",
    "Calcified Granuloma", "Granuloma",
)  # fmt: skip
_OPENI_SYNONYMS = {
    "Atelectasis": "atelectases",
    "Infiltration": "infiltrate",
    "Pleural_Thickening": "pleural thickening",
}
OPENI_TERMS: dict[str, tuple[str, ...]] = {
    name: (name.lower(), *([_OPENI_SYNONYMS[name]] if name in _OPENI_SYNONYMS else []))
    for name in _OPENI_CLASSES
}
"""CARZero's Open-I classes in column order, with the substrings that mark them in `labels_automatic`."""


@dataclass(frozen=True)
class RocAreas:
    """Macro, micro (all entries pooled), weighted (by positives) and per-class ROC areas; per class (C,)."""

    macro: float
    micro: float
    weighted: float
    per_class: np.ndarray


def roc_areas(labels: np.ndarray, scores: np.ndarray) -> RocAreas:
    """labels (N, C) in {0, 1}, scores (N, C). Raises MetricUndefined where a class has one value only."""
    positives = labels.sum(axis=0)
    if ((positives == 0) | (positives == len(labels))).any():
        raise MetricUndefined("ROC area: a class has no positive or no negative image.")
    per_class = np.array([roc_auc_score(labels[:, c], scores[:, c]) for c in range(labels.shape[1])])
    return RocAreas(
        macro=float(per_class.mean()),
        micro=float(roc_auc_score(labels.ravel(), scores.ravel())),
        weighted=float(np.average(per_class, weights=positives)),
        per_class=per_class,
    )


def trapezoidal_pr_area(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the linearly interpolated precision-recall curve of one class (N,).

    Not average precision: a single positive at rank r > 1 gives 1/(2r) instead of 1/r.
    """
    precision, recall, _ = precision_recall_curve(labels, scores)
    return float(auc(recall, precision))


def trapezoidal_pr_areas(labels: np.ndarray, scores: np.ndarray) -> tuple[float, float, np.ndarray]:
    """(micro, macro, per class (C,)) trapezoidal PR areas of labels and scores (N, C)."""
    per_class = np.array([trapezoidal_pr_area(labels[:, c], scores[:, c]) for c in range(labels.shape[1])])
    return trapezoidal_pr_area(labels.ravel(), scores.ravel()), float(per_class.mean()), per_class


def head_threshold(positives: np.ndarray) -> float:
    """65th percentile of the positives per class, linear interpolation."""
    return float(np.percentile(positives, 65))


def long_tail_groups(positives: np.ndarray, tail: int = 10) -> dict[str, np.ndarray]:
    """Class indices of head (> 65th percentile), medium and tail (<= `tail` positives).

    positives: (C,) counts in the test set. Where the percentile lies below `tail`, head and tail overlap.
    """
    theta = head_threshold(positives)
    return {
        "head": np.flatnonzero(positives > theta),
        "medium": np.flatnonzero((positives <= theta) & (positives > tail)),
        "tail": np.flatnonzero(positives <= tail),
    }


def rarest_classes(positives: np.ndarray, count: int = 100) -> np.ndarray:
    """Indices of the `count` classes with the fewest positives."""
    return np.argsort(positives, kind="stable")[:count]


def padchest_labels(
    labels: Mapping[str, Sequence[str]], drop: str = "normal"
) -> tuple[list[str], np.ndarray]:
    """(classes, labels (N, C)) of CARZero's PadChest protocol.

    Classes are the sorted strings that occur, without `drop`; images labelled only `drop` stay as rows
    without a positive.
    """
    classes = sorted({name for names in labels.values() for name in names} - {drop})
    column = {name: i for i, name in enumerate(classes)}
    matrix = np.zeros((len(labels), len(classes)), dtype=np.int64)
    for row, names in enumerate(labels.values()):
        for name in names:
            if name != drop:
                matrix[row, column[name]] = 1
    return classes, matrix


def substring_labels(texts: Sequence[str | None], terms: Sequence[Sequence[str]]) -> np.ndarray:
    """(N, C) labels: class c is positive where any of `terms[c]` is a substring of the text.

    So for Open-I "calcified granuloma" is also "granuloma", and "bronchopneumonia" is "pneumonia".
    """
    rows = [[int(any(term in (text or "") for term in names)) for names in terms] for text in texts]
    return np.array(rows, dtype=np.int64).reshape(len(texts), len(terms))


def five_by_200(labels: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """CheXpert 5x200: argmax accuracy, and per class the accuracy of softmax > 0.5 (C,).

    labels (N, C) one-hot, scores (N, C).
    """
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    probability = shifted / shifted.sum(axis=1, keepdims=True)
    accuracy = float((probability.argmax(axis=1) == labels.argmax(axis=1)).mean())
    return accuracy, (np.round(probability).astype(int) == labels).mean(axis=0)


def weighted_f1_threshold(labels: np.ndarray, scores: np.ndarray, candidates: np.ndarray) -> float:
    """Candidate with the best weighted F1, the first among ties. labels, scores: (N,)."""
    predicted = (scores[:, None] > candidates[None, :]).astype(int)
    values = binary_measures(np.broadcast_to(labels[:, None], predicted.shape), predicted)["f1"]
    return float(candidates[int(np.argmax(values))])


BOOTSTRAP_METRICS = ("auroc", "f1", "acc", "precision", "recall", "auprc")
"""Per class, as scikit-learn defines them; f1 is weighted over both outcomes. Without a positive the PR area
is 0 and the ROC area NaN."""


@dataclass(frozen=True)
class RowBootstrap:
    """indices (draws, N); per_class: metric → (draws, C); overall: metric → (draws,)."""

    indices: np.ndarray
    per_class: dict[str, np.ndarray]
    overall: dict[str, np.ndarray]


def row_bootstrap(
    labels: np.ndarray, scores: np.ndarray, thresholds: np.ndarray, draws: int = 5000
) -> RowBootstrap:
    """BrgSA's bootstrap: draw i resamples rows with the legacy generator seeded with i.

    labels, scores: (N, C); thresholds: (C,), fixed over draws. Undefined values are NaN.
    """
    count, classes = labels.shape
    indices = np.stack(
        [np.random.RandomState(i).choice(count, size=count, replace=True) for i in range(draws)]
    )
    predicted = (scores > thresholds).astype(int)
    per_class = {name: np.full((draws, classes), np.nan) for name in BOOTSTRAP_METRICS}
    overall = {name: np.full(draws, np.nan) for name in ("recall_at1", "precision_at3")}
    for i, rows in enumerate(indices):
        y, s, p = labels[rows], scores[rows], predicted[rows]
        per_class["auroc"][i] = _roc_areas_by_rank(y, s)
        per_class["auprc"][i] = [_average_precision(y[:, c], s[:, c]) for c in range(classes)]
        for name, values in binary_measures(y, p).items():
            per_class[name][i] = values
        overall["recall_at1"][i] = strict_recall_at(y, s, 1)
        overall["precision_at3"][i] = precision_at(y, s, 3)
    return RowBootstrap(indices, per_class, overall)


def summarise_draws(values: np.ndarray) -> dict[str, np.ndarray]:
    """mean, std (ddof 1), 2.5 and 97.5 percentiles over draws (draws, C) or (draws,).

    `overall` averages those four over classes, so its interval is a mean of intervals. The mean and std
    skip NaN draws, the percentiles do not (pandas and NumPy, as officially).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = {
            "mean": np.nanmean(values, axis=0),
            "std": np.nanstd(values, axis=0, ddof=1),
            "p2.5": np.percentile(values, 2.5, axis=0),
            "p97.5": np.percentile(values, 97.5, axis=0),
        }
    found["overall"] = np.array([np.mean(value) for value in found.values()])
    return found


def _roc_areas_by_rank(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(C,) ROC areas from mid-ranks; NaN where a class has one value only."""
    positive, count = labels.sum(axis=0), len(labels)
    ranks = (rankdata(scores, axis=0) * labels).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        area: np.ndarray = (ranks - positive * (positive + 1) / 2) / (positive * (count - positive))
    return area


def _average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Precision times the step in recall, summed over distinct scores (scikit-learn's definition).

    0 without positives.
    """
    order = np.argsort(-scores, kind="stable")
    falling, hits = scores[order], np.cumsum(labels[order])
    if hits[-1] == 0:
        return 0.0
    last = np.append(falling[1:] != falling[:-1], True)  # of each group of ties
    found, called = hits[last], np.flatnonzero(last) + 1
    return float((np.diff(found, prepend=0) / hits[-1] * (found / called)).sum())
