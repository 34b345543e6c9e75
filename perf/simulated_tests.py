"""Do tests hold their level and find what they promise, in designs that occur? Scores with a known truth.

A design (`perf.designs`) fixes the positives of every class, the images a patient, the seeds, how much
trainings of a method differ, and whether two methods err on the same images. Its replicates go through the
code that makes the tables and `bench score`: `build_panels`, `summarise`, `contrasts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from benchmark.core.settings import StatisticsConfig
from benchmark.evaluation.statistics.intervals import Interval
from benchmark.evaluation.statistics.paired import Difference, contrasts
from benchmark.evaluation.statistics.panel import Panel, build_panels, resolve_strata, strata_contrast
from benchmark.evaluation.statistics.seeds import SeedSummary, summarise

if TYPE_CHECKING:
    from perf.designs import Design

NOISE = (0.6, 0.6, 0.5)
"""Standard deviation of what a patient, an image, and an image under one training add to a score."""
COMMON = 0.3
"""Share of each of these variances that all classes of an image have in common."""
LABELS = 10
"""Replicates that share their labels."""
LEVELS = (0.05, 0.01)


@dataclass
class Replicates:
    """Labels and patients of a design, renewed every `LABELS` replicates, and scores upon them.

    truth: (C,) AUROC of each method that the last scores estimate: over all trainings, or with one seed of
    that training, since one training says nothing of others.
    """

    design: Design
    rng: np.random.Generator
    made: int = 0
    labels: np.ndarray = field(default_factory=lambda: np.empty(0))
    truth: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        per = self.design.per_patient
        self.clusters = self.design.images // per
        self.codes = np.repeat(np.arange(self.clusters), per)
        self.names = [str(j) for j in range(len(self.design.positives))]

    def trained(self, effects: Sequence[float]) -> list[list[Panel]]:
        """One panel a seed of each method, whose skills are raised by its effect; all see the same images."""
        if self.made % LABELS == 0:
            self.labels = self._draw_labels()
            groups = self.design.strata
            self.groups = resolve_strata(self.labels.sum(axis=0), self.names, groups)
        self.made += 1
        self.truth = []
        design, rng = self.design, self.rng
        shared = self._noise(NOISE[0], NOISE[1]) if design.correlated else None
        found = []
        for number, effect in enumerate(effects):
            base = self._noise(NOISE[0], NOISE[1]) if shared is None else shared
            spread = 0.0 if design.uneven and number else design.spread
            panels, truths = [], []
            for _ in range(design.seeds):
                skill = design.skill + effect + spread * rng.standard_normal()
                truths.append(true_auroc(skill, 0.0))
                scores = base + self._noise(0.0, NOISE[2]) + skill.astype(np.float32) * self.labels
                panels.append(self.panel(scores))
            found.append(panels)
            several = design.seeds > 1
            self.truth.append(true_auroc(design.skill + effect, spread) if several else truths[0])
        return found

    def panel(self, scores: np.ndarray) -> Panel:
        return build_panels(
            scores, self.labels, self.codes, self.clusters, self.names, self.groups,
            metrics=("auroc",), micro=False, dtype=np.float32,
        )["auroc"]  # fmt: skip

    def _noise(self, patient: float, image: float) -> np.ndarray:
        classes = len(self.names)

        def part(rows: int, size: float) -> np.ndarray:
            own = self.rng.standard_normal((rows, classes), dtype=np.float32)
            common = self.rng.standard_normal((rows, 1), dtype=np.float32)
            return np.float32(size) * (
                np.float32(np.sqrt(1 - COMMON)) * own + np.float32(np.sqrt(COMMON)) * common
            )

        noise = part(self.clusters * self.design.per_patient, image)
        if patient:
            noise = noise + np.repeat(part(self.clusters, patient), self.design.per_patient, axis=0)
        return noise

    def _draw_labels(self) -> np.ndarray:
        """Exactly the design's positives. A patient shows a finding in one image and in each other with
        probability one half; rare findings meet in the same patients."""
        per, rng = self.design.per_patient, self.rng
        labels = np.zeros((self.clusters * per, len(self.names)), dtype=np.int8)
        crowd = rng.permutation(self.clusters)[: int(self.clusters * self.design.crowd)]
        for column, wanted in zip(labels.T, self.design.positives, strict=True):
            pool = crowd if wanted <= len(crowd) // 2 else np.arange(self.clusters)
            left = int(wanted)
            for patient in rng.permutation(pool):
                shown = min(left, 1 + rng.binomial(per - 1, 0.5))
                column[patient * per : patient * per + shown] = 1
                left -= shown
                if left == 0:
                    break
        return labels


def true_auroc(skill: float | np.ndarray, spread: float) -> Any:
    """Expected AUROC where a training's skill is normal around `skill` with this spread."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    total = np.sqrt(2 * np.square(NOISE).sum())
    at = (np.asarray(skill)[..., None] + spread * nodes) / total
    return special.ndtr(at) @ weights / weights.sum()


INTERACTION = ("tail", "head")
BINS = ((3, 5), (6, 10), (11, 20), (21, 10**6))
"""Positive patients of the classes that are counted together."""


@dataclass(frozen=True)
class Average:
    """A column of several summaries; weights: (C,) of its classes."""

    summaries: list[SeedSummary]
    column: int
    weights: np.ndarray


def averages(panels: Sequence[Sequence[Panel]]) -> dict[str, Average]:
    """Macro means, the mean weighted by positives, and what rare classes gain over frequent ones."""
    summaries = [summarise(own) for own in panels]
    found = {}
    for k, c in enumerate(summaries[0].columns):
        if not c.single and c.weights is not None and not np.isnan(summaries[0].mean[k]):
            found[c.stratum if c.name == "macro" else c.name] = Average(summaries, k, c.weights)
    if set(INTERACTION) <= set(found):
        gains = [[g for p in own if (g := strata_contrast(p, *INTERACTION)) is not None] for own in panels]
        weights = found[INTERACTION[0]].weights - found[INTERACTION[1]].weights
        found[" - ".join(INTERACTION)] = Average([summarise(own) for own in gains], 0, weights)
    return found


def size(design: Design, experiments: int, seed: int) -> list[dict[str, Any]]:
    """Two equal methods: how often their difference is called another than it is, and how often the first
    one's interval covers; a row an average, and one for all classes with so many positive patients.

    With one seed and trainings that differ, the difference is the one of these two trainings; `as_methods`:
    how often it is called different from 0.
    """
    config = StatisticsConfig()
    made = Replicates(design, np.random.default_rng([seed, *design.key]))
    seen: dict[str, _Seen] = {}
    for _ in range(experiments):
        found = averages(made.trained((0.0, 0.0)))
        gap = made.truth[0] - made.truth[1]
        for what, own in found.items():
            test = contrasts(own.summaries, (1.0, -1.0), config.level, config.power, (own.column,))[0]
            interval = None
            if "-" not in what.replace("never-named", ""):
                interval = own.summaries[0].interval(own.column, config.level)
            row = seen.setdefault(what, _Seen())
            row.add(test, float(own.weights @ gap), interval, float(own.weights @ made.truth[0]))
        pair = next(iter(found.values())).summaries
        single = [k for k, c in enumerate(pair[0].columns) if c.single]
        tests = contrasts(pair, (1.0, -1.0), config.level, config.power, single)
        for k, test in zip(single, tests, strict=True):
            patients = pair[0].columns[k].pos_patients
            for low, high in BINS:
                if low <= patients <= high:
                    upper = f"to {high}" if high < 10**6 else "or more"
                    name = f"classes of {low} {upper} patients"
                    seen.setdefault(name, _Seen()).add(test, float(gap[k]))
    return [{**design.identity, "average": what, **own.row()} for what, own in seen.items()]


@dataclass
class _Seen:
    p: list[float] = field(default_factory=list)
    as_methods: list[float] = field(default_factory=list)
    covered: list[bool] = field(default_factory=list)
    undefined: int = 0
    few: int = 0
    all: int = 0

    def add(
        self, test: Difference, gap: float, interval: Interval | None = None, truth: float = np.nan
    ) -> None:
        self.all += 1
        self.few += test.few
        self.undefined += bool(test.undefined)
        if not np.isnan(test.p):
            self.as_methods.append(test.p)
            moved = abs(test.value - gap)
            self.p.append(float(2 * special.stdtr(test.df, -moved / test.se)) if test.se > 0 else test.p)
        if interval is not None:
            self.covered.append(bool(interval.low <= truth <= interval.high))

    def row(self) -> dict[str, Any]:
        p, methods = np.array(self.p), np.array(self.as_methods)
        return {
            "experiments": len(p),
            "undefined": self.undefined / self.all,
            **{f"rejected_{100 * a:.0f}": float((p < a).mean()) if len(p) else None for a in LEVELS},
            "as_methods": float((methods < LEVELS[0]).mean()) if len(p) else None,
            "covered": float(np.mean(self.covered)) if self.covered else None,
            "marked": self.few / self.all,
        }
