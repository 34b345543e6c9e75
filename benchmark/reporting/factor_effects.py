"""Effects of what a training text is made of, from the saved predictions of the cells that differ in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

from benchmark.core.settings import StatisticsConfig
from benchmark.evaluation.statistics.paired import contrasts as tested
from benchmark.evaluation.statistics.panel import Panel
from benchmark.evaluation.statistics.seeds import summarise
from benchmark.reporting.evidence import Evidence, FactorEffect
from benchmark.reporting.factors import SCORINGS, contrasts, datasets_of, designs, scored

MACRO = ("macro", "all")


def factor_effects(
    evidence: Evidence, panels: Callable[[str, str], Sequence[Panel]], config: StatisticsConfig
) -> Iterator[FactorEffect]:
    """Every contrast of `reporting.factors` that the results allow, per method, dataset and scoring.

    panels: (name, dataset) → one AUROC panel a seed, none where there are no predictions.
    """
    for method, cells in designs(evidence).items():
        for dataset, scoring in product(datasets_of(evidence), SCORINGS):
            names = {levels: scored(evidence, cell, scoring) for levels, cell in cells.items()}
            found = {levels: panels(name, dataset) for levels, name in names.items() if name is not None}
            there = {levels: summarise(own) for levels, own in found.items() if own}
            for wanted in contrasts(there):
                own = [there[levels] for levels in wanted.weights]
                k = next(i for i, c in enumerate(own[0].columns) if (c.name, c.stratum) == MACRO)
                weights = list(wanted.weights.values())
                effect = tested(own, weights, config.level, config.power, columns=(k,))[0]
                yield FactorEffect(
                    method, dataset, scoring, wanted.name, wanted.kind,
                    effect.value, effect.low, effect.high, effect.p, wanted.over, effect.note,
                )  # fmt: skip
