"""Do the intervals of classes and of macro means cover? Synthetic scores with a known truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from benchmark.evaluation.statistics.bootstrap import bca_interval, bootstrap, percentile_interval
from benchmark.evaluation.statistics.intervals import linear_interval, logit_interval
from benchmark.evaluation.statistics.panel import Panel, build_panels

POSITIVES = (200, 50, 20, 10, 5)
PER_PATIENT = (1, 4)
NEGATIVES = 1200
ICC = 0.5
LEVEL = 0.95
METHODS = ("moderated", "logit DeLong", "Wald DeLong", "percentile", "BCa")


@dataclass(frozen=True)
class Shape:
    """How positives' scores relate to negatives'. transform: standard normal (and positive?) → score."""

    name: str
    aurocs: tuple[float, ...]
    positive: Callable[[np.ndarray, float], np.ndarray]
    negative: Callable[[np.ndarray], np.ndarray]
    survival: Callable[[np.ndarray], np.ndarray]
    blind: float = 0.0


def _exponential(z: np.ndarray) -> np.ndarray:
    return np.asarray(-special.log_ndtr(-z))


def _same(z: np.ndarray) -> np.ndarray:
    return z


def _normal_survival(s: np.ndarray) -> np.ndarray:
    return np.asarray(special.ndtr(-s))


def _shifted(spread: float) -> Callable[[np.ndarray, float], np.ndarray]:
    return lambda z, auc: spread * z + np.sqrt(1 + spread**2) * special.ndtri(auc)


BLIND = 0.25
"""Share of positives that the score cannot see at all, in the shape `partly blind`."""

SHAPES = (
    Shape("equal normals", (0.65, 0.8, 0.92), _shifted(1.0), _same, _normal_survival),
    Shape("wide positives", (0.65, 0.8, 0.92), _shifted(1.5), _same, _normal_survival),
    Shape("narrow positives", (0.65, 0.8, 0.92), _shifted(0.6), _same, _normal_survival),
    Shape(
        "exponential",
        (0.65, 0.8, 0.92),
        lambda z, auc: auc / (1 - auc) * _exponential(z),
        _exponential,
        lambda s: np.exp(-s),
    ),
    Shape(
        "partly blind",
        (0.65, 0.8),
        lambda z, auc: z + np.sqrt(2) * special.ndtri((auc - BLIND / 2) / (1 - BLIND)),
        _same,
        _normal_survival,
        BLIND,
    ),
)


def true_average_precision(shape: Shape, auc: float, prevalence: float) -> float:
    """Average precision of an endless sample with this prevalence."""
    z = special.ndtri((np.arange(40000) + 0.5) / 40000)
    groups = [(1 - shape.blind, shape.positive(z, auc)), (shape.blind, shape.negative(z))]
    found = 0.0
    sorted_groups = [(w, np.sort(s)) for w, s in groups if w > 0]
    for weight, s in sorted_groups:
        above = sum(w * (1 - np.searchsorted(g, s, "left") / len(g)) for w, g in sorted_groups)
        hit = prevalence * above
        found += weight * float(np.mean(hit / (hit + (1 - prevalence) * shape.survival(s))))
    return found


def replicates(
    shape: Shape, auc: float, positives: int, per_patient: int, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Scores and labels (N, count), one data set a column, with patient codes (N,) and P.

    Images of a patient correlate by ICC. A patient who has the finding shows it in one image and in each
    other with probability one half, until `positives` images are reached.
    """
    clusters = -(-(NEGATIVES + positives) // per_patient)
    n = clusters * per_patient
    codes = np.repeat(np.arange(clusters), per_patient)
    labels = np.zeros((n, count), dtype=np.int8)
    for column in labels.T:
        left = positives
        for patient in rng.permutation(clusters):
            shown = min(left, 1 + rng.binomial(per_patient - 1, 0.5))
            column[patient * per_patient : patient * per_patient + shown] = 1
            left -= shown
            if left == 0:
                break
    z = _correlated(clusters, per_patient, count, rng)
    seen = np.repeat(rng.random((clusters, count)) >= shape.blind, per_patient, axis=0)
    scores = np.where((labels == 1) & seen, shape.positive(z, auc), shape.negative(z))
    return scores, labels, codes, clusters


def _correlated(clusters: int, per_patient: int, count: int, rng: np.random.Generator) -> np.ndarray:
    own = rng.standard_normal((clusters * per_patient, count))
    if per_patient == 1:
        return own
    shared = np.repeat(rng.standard_normal((clusters, count)), per_patient, axis=0)
    return np.asarray(np.sqrt(ICC) * shared + np.sqrt(1 - ICC) * own)


def coverage(count: int, resampled: int, draws: int, seed: int) -> Iterator[dict[str, Any]]:
    """Per shape, AUROC, positives and images a patient: share of intervals that hold the truth, mean width.

    The bootstrap is run on the first `resampled` of `count` data sets.
    """
    rng = np.random.default_rng(seed)
    for per_patient in PER_PATIENT:
        for positives in POSITIVES:
            for shape in SHAPES:
                for auc in shape.aurocs:
                    data = replicates(shape, auc, positives, per_patient, count, rng)
                    cell = {
                        "shape": shape.name,
                        "auroc": auc,
                        "positives": positives,
                        "per_patient": per_patient,
                    }
                    for method, limits in _auroc_limits(data, resampled, draws, seed).items():
                        yield {**cell, "metric": "auroc", "method": method, **_score(limits, auc)}
                    n = len(data[0])
                    truth = true_average_precision(shape, auc, positives / n)
                    for method, limits in _precision_limits(data, resampled, draws, seed).items():
                        yield {
                            **cell,
                            "metric": "average_precision",
                            "method": method,
                            **_score(limits, truth),
                        }


Data = tuple[np.ndarray, np.ndarray, np.ndarray, int]


def _panel(data: Data, metric: str) -> Panel:
    scores, labels, codes, clusters = data
    names = [str(i) for i in range(scores.shape[1])]
    return build_panels(scores, labels, codes, clusters, names, {}, metrics=(metric,), micro=False)[metric]


def _auroc_limits(data: Data, resampled: int, draws: int, seed: int) -> dict[str, np.ndarray]:
    panel, columns = _panel(data, "auroc"), data[0].shape[1]
    own = np.square(panel.influence[:, :columns]).sum(axis=0)
    limits: dict[str, list[tuple[float, float]]] = {m: [] for m in METHODS}
    for k in range(columns):
        ours = panel.interval(k, LEVEL)
        value = float(panel.values[k])
        limits["moderated"].append((ours.low, ours.high))
        limits["logit DeLong"].append(logit_interval(value, own[k], 1e9, LEVEL))
        limits["Wald DeLong"].append(linear_interval(value, own[k], 1e9, LEVEL))
    return {**_arrays(limits), **_bootstrap_limits(data, panel, resampled, draws, seed)}


def _precision_limits(data: Data, resampled: int, draws: int, seed: int) -> dict[str, np.ndarray]:
    panel = _panel(data, "average_precision")
    found = [panel.interval(k, LEVEL) for k in range(data[0].shape[1])]
    limits = {"logit t": np.array([(i.low, i.high) for i in found])}
    return {**limits, **_bootstrap_limits(data, panel, resampled, draws, seed)}


def _bootstrap_limits(
    data: Data, panel: Panel, resampled: int, draws: int, seed: int
) -> dict[str, np.ndarray]:
    scores, labels, codes, clusters = data
    part = slice(0, resampled)
    sample = bootstrap(
        scores[:, part],
        labels[:, part],
        codes,
        clusters,
        draws=draws,
        seed=seed,
        metrics=(panel.metric,),
    ).values[0]
    limits: dict[str, list[tuple[float, float]]] = {"percentile": [], "BCa": []}
    for k in range(resampled):
        limits["percentile"].append(percentile_interval(sample[:, k], LEVEL))
        limits["BCa"].append(bca_interval(sample[:, k], float(panel.values[k]), panel.influence[:, k], LEVEL))
    return _arrays(limits)


def _arrays(limits: dict[str, list[tuple[float, float]]]) -> dict[str, np.ndarray]:
    return {name: np.array(pairs) for name, pairs in limits.items() if pairs}


def _score(limits: np.ndarray, truth: float) -> dict[str, Any]:
    """An interval that the method could not give counts as a miss."""
    low, high = limits.T
    inside = (low <= truth) & (truth <= high)
    width = np.minimum(high, 1) - np.maximum(low, 0)
    return {
        "covered": float(inside.mean()),
        "width": float(np.nanmean(width)) if not np.isnan(width).all() else None,
        "missing": float(np.isnan(low).mean()),
        "data_sets": len(low),
    }


def macro_coverage(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Macro means: 20 tail classes of 1 to 10 positives, and 14 classes of 20 to 400.

    Images share an effect across classes, so that classes correlate.
    """
    groups = {"tail: 20 classes, 1-10 positives": 1 + np.arange(20) // 2}
    groups["14 classes, 20-400 positives"] = np.geomspace(20, 400, 14).astype(int)
    for number, (name, counts) in enumerate(groups.items()):
        for per_patient in PER_PATIENT:
            rng = np.random.default_rng([seed, number, per_patient])
            truth = np.linspace(0.6, 0.9, len(counts))
            limits = []
            for _ in range(count):
                data = _multi_label(counts, truth, per_patient, rng)
                panel = _panel(data, "auroc")
                macro = panel.interval(len(counts), LEVEL)
                limits.append((macro.low, macro.high))
            yield {"group": name, "per_patient": per_patient, **_score(np.array(limits), truth.mean())}


def _multi_label(counts: np.ndarray, truth: np.ndarray, per_patient: int, rng: np.random.Generator) -> Data:
    clusters = NEGATIVES // per_patient
    n = clusters * per_patient
    labels = np.zeros((n, len(counts)), dtype=np.int8)
    for j, wanted in enumerate(counts):
        labels[rng.choice(n, wanted, replace=False), j] = 1
    own = _correlated(clusters, per_patient, len(counts), rng)
    common = _correlated(clusters, per_patient, 1, rng)
    scores = np.sqrt(0.7) * own + np.sqrt(0.3) * common + labels * np.sqrt(2) * special.ndtri(truth)
    return scores, labels, np.repeat(np.arange(clusters), per_patient), clusters
