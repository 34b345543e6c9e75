"""Samples that nobody has yet: labels and scores of two methods from assumptions, through the tables' code.

A patient has class c with probability π_c, shows it in one image and in each other image with probability one
half. Scores are binormal with equal variances; the two methods' scores of an image correlate by `between`,
those of two trainings of one method by `within`, those of two images of a patient by `icc`, those of two
classes by `classes`. The better method's AUROC is higher by the same difference in every class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from benchmark.evaluation.statistics.panel import Panel, build_panels
from benchmark.evaluation.statistics.planning import Parts, parts_of
from benchmark.evaluation.statistics.seeds import SeedSummary, summarise

PAIRS = 1e6
"""Pairs of image and class that one sample has at most."""
SAMPLES = (30, 600)
"""Least and most samples of one size."""
PRECISION = 0.02
"""Relative standard error of the variance at which no more samples are made: less than a point of power."""
EFFORT = 1.5e7
"""Pairs of image and class after which no more samples of one size are made, however precise."""


@dataclass(frozen=True)
class Assumptions:
    """prevalences: (C,) share of patients with each class of the mean. aurocs: (C,) of the method that is
    less good. images: of a patient. training: standard deviation of the true mean AUROC between trainings.
    The correlations are those of the module."""

    prevalences: np.ndarray
    aurocs: np.ndarray
    difference: float
    images: int = 1
    between: float = 0.7
    within: float = 0.9
    icc: float = 0.5
    classes: float = 0.3
    training: float = 0.0

    @property
    def column(self) -> int:
        """Of a panel of these classes: the class itself, or the macro mean."""
        return 0 if len(self.prevalences) == 1 else len(self.prevalences)

    @property
    def largest(self) -> float:
        """Patients of the largest sample that is made."""
        return PAIRS / (len(self.prevalences) * self.images)

    def labels(self, patients: int, rng: np.random.Generator) -> np.ndarray:
        """(P · images, C) in {0, 1}."""
        has = rng.random((patients, 1, len(self.prevalences))) < self.prevalences
        shown = rng.random((patients, self.images, len(self.prevalences))) < 0.5
        shown[:, 0] = True
        return (has & shown).reshape(patients * self.images, -1).astype(np.int8)

    def methods(
        self, labels: np.ndarray, seeds: int, difference: float, rng: np.random.Generator
    ) -> tuple[SeedSummary, SeedSummary]:
        """Two methods, the first better by `difference` (before its trainings differ), on these labels."""
        base = np.sqrt(self.between) * self._field(labels, rng)
        found = []
        for gain in (difference, 0.0):
            own = base + np.sqrt(self.within - self.between) * self._field(labels, rng)
            panels = []
            for _ in range(seeds):
                luck = self.training * rng.standard_normal()
                reached = np.clip(self.aurocs + gain + luck, 0.001, 0.999)
                skill = np.sqrt(2) * special.ndtri(reached)
                noise = np.sqrt(1 - self.within) * self._field(labels, rng)
                panels.append(self._panel(own + noise + labels * skill.astype(np.float32), labels))
            found.append(summarise(panels))
        return found[0], found[1]

    def _panel(self, scores: np.ndarray, labels: np.ndarray) -> Panel:
        names = [str(j) for j in range(labels.shape[1])]
        patients = len(labels) // self.images
        codes = np.repeat(np.arange(patients), self.images)
        return build_panels(
            scores, labels, codes, patients, names, {}, metrics=("auroc",), micro=False, dtype=np.float32
        )["auroc"]

    def _field(self, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(N, C) standard normal, correlated within patients and between classes."""

        def part(rows: int) -> np.ndarray:
            own = rng.standard_normal((rows, labels.shape[1]), dtype=np.float32)
            common = rng.standard_normal((rows, 1), dtype=np.float32)
            return np.float32(np.sqrt(1 - self.classes)) * own + np.float32(np.sqrt(self.classes)) * common

        n = len(labels)
        if self.images == 1:
            return part(n)
        shared = np.repeat(part(n // self.images), self.images, axis=0)
        return np.float32(np.sqrt(self.icc)) * shared + np.float32(np.sqrt(1 - self.icc)) * part(n)


def pilot_of(assumed: Assumptions, seed: int, precision: float = PRECISION) -> Callable[[int], Parts]:
    """Number of patients → mean parts of samples of that size, two trainings of each method."""
    still = Assumptions(**{**vars(assumed), "training": 0.0})

    def pilot(patients: int) -> Parts:
        rng = np.random.default_rng([seed, patients])
        found: list[Parts] = []
        made = 0
        most = min(SAMPLES[1], EFFORT / (patients * assumed.images * len(assumed.prevalences)))
        while made < SAMPLES[0] or (made < most and _error(found) > precision):
            made += 1
            a, b = still.methods(still.labels(patients, rng), 2, assumed.difference, rng)
            column = a.columns[assumed.column]
            if not np.isnan(a.mean[assumed.column]) and not column.untested:
                found.append(parts_of(a, b, assumed.column, training=assumed.training**2))
        if not found:
            return Parts(patients, 0.0, (0.0, 0.0), (0.0, 0.0), 1.0, freedom=0.0, undefined=1.0)
        return Parts(
            patients,
            float(np.mean([p.shared for p in found])),
            (float(np.mean([p.own[0] for p in found])), float(np.mean([p.own[1] for p in found]))),
            (assumed.training**2, assumed.training**2),
            float(np.median([p.df for p in found])),
            undefined=1 - len(found) / made,
        )

    return pilot


def _error(found: list[Parts]) -> float:
    """Relative standard error of the mean variance of the samples so far."""
    if len(found) < 2:
        return np.inf
    variance = np.array([p.test(1)[0] ** 2 for p in found])
    return float(variance.std(ddof=1) / np.sqrt(len(variance)) / variance.mean())
