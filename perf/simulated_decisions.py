"""Do the intervals of decisions at a fixed threshold cover? Normal scores with a known truth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import special

from benchmark.evaluation.evaluate import StatisticsConfig, evaluate
from benchmark.evaluation.statistics.thresholds import F1, MCC, RECALL, SENSITIVITY, Thresholds

IMAGES = 1000
PER_PATIENT = (1, 4)
ICC = 0.5
SHIFT = 1.5
"""Of the positives, in standard deviations."""
AT = (1.0, 2.0, 3.0)
"""Thresholds, in standard deviations of the negatives: 69%, 31% and 7% of the positives lie above them."""
SINGLE = (1, 2, 3, 5, 10, 20, 50, 200)
MEANS = {
    "16 classes of 1": [1] * 16,
    "16 classes of 3": [3] * 16,
    "16 classes of 1 to 300": [1, 1, 1, 2, 2, 3, 4, 6, 9, 13, 20, 40, 80, 120, 200, 300],
    "14 classes of 20 to 400": list(np.geomspace(20, 400, 14).astype(int)),
}
SPECIFICITY = 0.9
METRICS = {"f1": F1, "mcc": MCC, f"{SENSITIVITY}{SPECIFICITY:g}": RECALL}


def decision_coverage(experiments: int, seed: int) -> Iterator[dict[str, Any]]:
    """Per metric, threshold, images a patient and positives of a class, or mean over classes: share of the
    data sets whose interval holds the value of the expected counts. Values that are undefined, where nothing
    is called, are left out; an interval that is undefined counts as a miss."""
    for number, (what, positives) in enumerate([("single", list(SINGLE)), *MEANS.items()]):
        for per_patient in PER_PATIENT:
            for at in AT:
                rng = np.random.default_rng([seed, number, per_patient, int(at)])
                yield from _cell(what, positives, per_patient, at, experiments, rng)


def _cell(
    what: str, positives: list[int], per_patient: int, at: float, count: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    names = [f"class {i}" for i in range(len(positives))] if what == "single" else ["macro"]
    held: dict[tuple[str, str], list[tuple[bool, bool, float]]] = {(m, n): [] for m in METRICS for n in names}
    for _ in range(count):
        labels, scores, codes = _data_set(positives, per_patient, rng)
        classes = [f"class {i}" for i in range(len(positives))]
        frame = evaluate(
            scores, labels, codes.astype(str), classes,
            thresholds=Thresholds({metric: dict.fromkeys(classes, at) for metric in METRICS}),
            config=StatisticsConfig(thresholded=True, draws=100, top_k=(), specificity=SPECIFICITY),
        )  # fmt: skip
        truth = _truth(labels.sum(axis=0), at)
        own = frame[(frame.stratum == "all") & frame.metric.isin(METRICS) & frame.value.notna()]
        for row in own.to_dict("records"):
            name, true = row["class"], truth[row["metric"]]
            if name in names:
                aim = true.mean() if name == "macro" else true[names.index(name)]
                marked = "few positive patients" in row["note"]
                width = row["high"] - row["low"]
                held[row["metric"], name].append((row["low"] <= aim <= row["high"], marked, width))
    for (metric, name), found in held.items():
        inside, few, width = np.array(found, dtype=float).T
        label = f"{positives[names.index(name)]} positives" if what == "single" else what
        yield {
            "metric": metric, "of": label, "per_patient": per_patient, "threshold": at,
            "covered": float(inside.mean()), "marked": float(few.mean()), "width": float(np.nanmean(width)),
            "data_sets": len(found),
        }  # fmt: skip


def _data_set(
    positives: list[int], per_patient: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and scores (N, C) and patients (N,); a patient who has a finding shows it in every image, until
    the positives are reached. Scores of one patient's images correlate by ICC."""
    patients = IMAGES // per_patient
    labels = np.zeros((IMAGES, len(positives)), dtype=np.int8)
    for j, count in enumerate(positives):
        ill = rng.choice(patients, -(-count // per_patient), replace=False)
        images = (ill[:, None] * per_patient + np.arange(per_patient)).ravel()
        labels[images[:count], j] = 1
    codes = np.arange(IMAGES) // per_patient
    own, shared = rng.standard_normal(labels.shape), rng.standard_normal((patients, len(positives)))[codes]
    alike = 0.0 if per_patient == 1 else ICC
    return labels, np.sqrt(1 - alike) * own + np.sqrt(alike) * shared + SHIFT * labels, codes


def _truth(positives: np.ndarray, at: float) -> dict[str, np.ndarray]:
    """Metric → (C,) value of the counts that are expected of these positives (C,)."""
    found, false = special.ndtr(SHIFT - at), special.ndtr(-at)
    negatives = IMAGES - positives
    counts = [positives * found, negatives * false, positives * (1 - found), negatives * (1 - false)]
    return {name: metric.of(np.stack(counts, axis=-1)) for name, metric in METRICS.items()}
