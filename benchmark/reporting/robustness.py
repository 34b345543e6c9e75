"""Whether the ranking of the methods survives other encoders, widths and training sets: ranks under every
setting, Kendall's τ to the default, and which pairs change places.

Under each setting every pair of methods on every set is tested, by default and in the setting. The setting
has one seed as a rule, whose variance between trainings is taken from the main cells. Holm's correction is
over all of these tests of one setting, so that with the nominal level every separable sign is the true one.
Pairs that are separable in both with one sign agree, those separable with opposite signs do not, and of all
others either may be true: the limits of the count and of τ = (C - D) / P within the sets are those of
`reporting.predictions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from benchmark.core.settings import StatisticsConfig
from benchmark.evaluation.statistics.multiplicity import holm
from benchmark.evaluation.statistics.paired import Difference, contrasts
from benchmark.evaluation.statistics.seeds import SeedSummary, summarise
from benchmark.reporting.factor_effects import MACRO
from benchmark.reporting.joint import Scores, panels_of
from benchmark.reporting.numbers import missing
from benchmark.reporting.predictions import Count
from benchmark.stages.robustness import Ranked, Study

ONE_SEED = "one seed"
"""The default with its first seed alone: what another training alone does to the ranks."""


@dataclass(frozen=True)
class Pair:
    """Two methods on one set: the first minus the second by default and under a setting. separable: whether
    both signs are, after the correction."""

    dataset: str
    methods: tuple[str, str]
    default: Difference
    here: Difference
    separable: bool

    @property
    def agrees(self) -> bool:
        """Neither this nor `swapped` where a difference is undefined or zero."""
        return self.default.value * self.here.value > 0

    @property
    def swapped(self) -> bool:
        return self.default.value * self.here.value < 0


@dataclass(frozen=True)
class Standing:
    """One setting. values: (method, dataset) → macro AUROC with its limits. pairs: against the default.
    commits: of its trainings."""

    setting: str
    seeds: int
    values: Mapping[tuple[str, str], tuple[float, float, float]]
    rising: tuple[str, ...]
    pairs: tuple[Pair, ...] = ()
    commits: tuple[str, ...] = ()

    def rank(self, method: str, dataset: str) -> int | None:
        """1 for the best; None where its AUROC is undefined."""
        own = self.values[method, dataset][0]
        if missing(own):
            return None
        return 1 + sum(value[0] > own for (_, at), value in self.values.items() if at == dataset)

    def count(self, dataset: str | None = None) -> Count:
        """Pairs in the same order as by default, on one set or on all."""
        own = [p for p in self.pairs if dataset in (None, p.dataset)]
        agree, swapped = [p for p in own if p.agrees], [p for p in own if p.swapped]
        surely, never = (sum(p.separable for p in pairs) for pairs in (agree, swapped))
        return Count(len(own), len(agree), len(swapped), surely, len(own) - never)


def standings(study: Study) -> list[Standing]:
    """The default, the default with its first seed alone, and every setting with results."""
    config = study.params.statistics
    first = study.ranked[0]
    default = _summaries(study, first)
    found = [Standing("", _seeds(first), _values(default, config), _rising(first), commits=first.commits)]
    if _seeds(first) > 1:
        alone = {key: own[:1] for key, own in first.scores.items()}
        lone = _summaries(study, replace(first, scores=alone))
        pairs = _pairs(default, lone, study.params.methods, config)
        found.append(Standing(ONE_SEED, 1, _values(lone, config), _rising(first, 1), pairs))
    for own in study.ranked[1:]:
        here = _summaries(study, own)
        pairs = _pairs(default, here, study.params.methods, config)
        values = _values(here, config)
        found.append(Standing(own.setting, _seeds(own), values, _rising(own), pairs, own.commits))
    return found


def _seeds(own: Ranked) -> int:
    return min(len(scores) for scores in own.scores.values())


def _rising(own: Ranked, seeds: int | None = None) -> tuple[str, ...]:
    """Methods of which any of the first `seeds` runs (None: of all) still gained at its end."""
    return tuple(dict.fromkeys(method for method, k in own.rising if seeds is None or k < seeds))


Summaries = dict[tuple[str, str], SeedSummary]
"""(method, dataset) → AUROC over its seeds."""


def _summaries(study: Study, own: Ranked) -> Summaries:
    found: Summaries = {}
    for (method, dataset), scores in own.scores.items():
        at = study.sets[dataset].chosen
        seeds = tuple(range(len(scores)))
        labels, patients = np.asarray(at.labels), np.asarray(at.patients)
        found[method, dataset] = summarise(
            panels_of(Scores(tuple(at.classes), labels, patients, scores, seeds, {}))
        )
    return found


def _column(summary: SeedSummary) -> int:
    return [(c.name, c.stratum) for c in summary.columns].index(MACRO)


def _values(
    summaries: Summaries, config: StatisticsConfig
) -> dict[tuple[str, str], tuple[float, float, float]]:
    found = {}
    for key, summary in summaries.items():
        own = summary.interval(_column(summary), config.level)
        found[key] = (own.value, own.low, own.high)
    return found


def _pairs(
    default: Summaries, here: Summaries, methods: Sequence[str], config: StatisticsConfig
) -> tuple[Pair, ...]:
    """Every pair of methods on every set, tested by default and here, corrected together."""
    sets = dict.fromkeys(dataset for _, dataset in default)
    pairs = []
    for dataset in sets:
        for a, b in combinations(methods, 2):
            one, other = default[a, dataset], default[b, dataset]
            both = (here[a, dataset], here[b, dataset], one, other)
            k = (_column(one),)
            usual = contrasts((one, other), (1.0, -1.0), config.level, config.power, columns=k)[0]
            # The main cells have no weight: they lend their variance between trainings to one that has none.
            now = contrasts(both, (1.0, -1.0, 0.0, 0.0), config.level, config.power, columns=k)[0]
            pairs.append(Pair(dataset, (a, b), usual, now, False))
    chances = np.nan_to_num(np.array([d.p for p in pairs for d in (p.default, p.here)]), nan=1.0)
    corrected = holm(chances, len(chances)).reshape(-1, 2).max(axis=1)
    return tuple(
        replace(pair, separable=bool(p < 1 - config.level)) for pair, p in zip(pairs, corrected, strict=True)
    )
