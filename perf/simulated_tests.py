"""Do tests hold their level and find what they promise, in designs that occur? Scores with a known truth.

A design fixes the positives of every class, the images a patient, the seeds, how much trainings of a method
differ, and whether two methods err on the same images. Its replicates go through the code that makes the
tables and `bench score`: `build_panels`, `summarise`, `contrasts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import special

from benchmark.core.settings import StatisticsConfig
from benchmark.evaluation.statistics.intervals import Interval
from benchmark.evaluation.statistics.paired import Difference, contrasts
from benchmark.evaluation.statistics.panel import Panel, build_panels, resolve_strata, strata_contrast
from benchmark.evaluation.statistics.seeds import SeedSummary, summarise

NOISE = (0.6, 0.6, 0.5)
"""Standard deviation of what a patient, an image, and an image under one training add to a score."""
COMMON = 0.3
"""Share of each of these variances that all classes of an image have in common."""
LABELS = 10
"""Replicates that share their labels."""
LEVELS = (0.05, 0.01)

TAIL = (
    [1] * 17 + [2] * 16 + [3] * 19 + [4] * 19 + [5] * 13 + [6] * 11 + [7] * 8 + [8] * 7 + [9] * 4 + [10] * 3
)
HEAD = (
    [11] * 6 + [12] * 4 + [13] * 4 + [14] + [16] * 3 + [18] * 2 + [19] + [21] * 2 + [22] * 3
    + [23, 24, 25, 27, 28, 32, 35, 36, 37, 38, 41, 42, 42, 43, 49, 50, 53, 61, 65, 74, 76, 81, 83, 91, 93, 95]
    + [102, 105, 107, 108, 116, 134, 136, 185, 191, 229]
)  # fmt: skip
SETS: dict[str, tuple[int, tuple[int, ...]]] = {
    "PadChest, 179 classes": (1000, tuple(TAIL + HEAD)),
    "PadChest20": (1000, (1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 7)),
    "ChestX-ray14": (1180, (1, 3, 7, 7, 10, 10, 12, 12, 14, 20, 20, 25, 32, 79)),
    "ChestX-Det10": (512, (9, 9, 13, 13, 20, 21, 25, 68, 68, 148)),
    "4 classes of 36 to 240": (1200, (36, 60, 120, 240)),
    "3 classes of one": (400, (1, 1, 1)),
    "6 classes of one": (400, (1,) * 6),
    "9 classes of one": (400, (1,) * 9),
    "Open-I": (800, (2, 4, 8, 12, 12, 13, 14, 19, 20, 25, 25, 26, 29, 38, 42, 56, 69)),
    "CheXpert": (588, (20, 44, 53, 62, 67)),
}


@dataclass(frozen=True)
class Design:
    """One row of the simulation. spread: standard deviation of a training's skill; the skill of a class runs
    from 0.7 (rarest) to 1.7 (AUROC 0.69 to 0.89). crowd: share of the patients who have the rare findings.
    uneven: the second method's trainings do not differ."""

    counts: str
    seeds: int
    spread: float
    per_patient: int
    correlated: bool
    crowd: float = 0.3
    uneven: bool = False

    @property
    def images(self) -> int:
        return SETS[self.counts][0]

    @property
    def positives(self) -> np.ndarray:
        return np.array(SETS[self.counts][1])

    @property
    def skill(self) -> np.ndarray:
        return np.linspace(0.7, 1.7, len(self.positives))

    @property
    def strata(self) -> dict[str, list[str]]:
        """Classes 0, 3, 6, … are those that no training report names."""
        return {"never-named": [str(j) for j in range(0, len(self.positives), 3)]}


CROSS = (
    (1, 0.0, 1, True), (3, 0.05, 1, False), (5, 0.0, 4, False), (3, 0.0, 4, True), (1, 0.05, 4, True),
    (5, 0.05, 1, True), (1, 0.0, 4, False), (3, 0.05, 4, True), (5, 0.05, 4, True),
)  # fmt: skip
"""Seeds, spread, images a patient, correlated: of these each set has some, so that levels of any two meet."""
CROSSED = {
    "PadChest20": (0, 1, 2, 3, 4),
    "ChestX-ray14": (0, 6, 5, 7),
    "ChestX-Det10": (6, 3, 1, 5),
    "4 classes of 36 to 240": (0, 1, 2, 8, 4),
    "3 classes of one": (0, 1, 7, 2),
    "6 classes of one": (6, 3, 5),
    "9 classes of one": (0, 1, 8),
    "PadChest, 179 classes": (0, 1, 8),
}


def designs() -> tuple[Design, ...]:
    """For the size of tests; the last two: rare findings in the same few patients, one erratic method."""
    crossed = [Design(counts, *CROSS[i]) for counts, chosen in CROSSED.items() for i in chosen]
    return (
        *crossed,
        Design("PadChest, 179 classes", 1, 0.0, 1, True, crowd=0.1),
        Design("4 classes of 36 to 240", 3, 0.2, 1, True, uneven=True),
    )


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
    made = Replicates(design, np.random.default_rng([seed, *key(design)]))
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
    return [{**identity(design), "average": what, **own.row()} for what, own in seen.items()]


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


def key(design: Design) -> list[int]:
    return [list(SETS).index(design.counts), design.seeds, int(1000 * design.spread), design.per_patient,
            int(design.correlated), int(100 * design.crowd), int(design.uneven)]  # fmt: skip


def identity(design: Design) -> dict[str, Any]:
    return {k: getattr(design, k) for k in Design.__dataclass_fields__}
