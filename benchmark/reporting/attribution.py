"""What each ingredient gives of the difference between two cells, from the saved predictions of the cells
between them (`attribution` in params.yaml)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from benchmark.core.settings import StatisticsConfig
from benchmark.core.shapley import shapley_weights, subsets
from benchmark.evaluation.statistics.paired import contrasts
from benchmark.evaluation.statistics.panel import Panel
from benchmark.evaluation.statistics.seeds import summarise
from benchmark.grid.params import AttributionParams
from benchmark.reporting.evidence import CellInfo, Contribution
from benchmark.reporting.factor_effects import MACRO


def family_size(declared: Mapping[str, AttributionParams], cells: Mapping[str, CellInfo]) -> int:
    """Ingredients and whole differences that params.yaml plans, with or without results, on every set that
    all cells of an attribution share. cells: those of params.yaml."""
    size = 0
    for own in declared.values():
        plans = [set(cells[own.cell(has)].evaluate) for has in subsets(own.factors)]
        size += (len(own.factors) + 1) * len(set.intersection(*plans))
    return size


def lacking(
    declared: Mapping[str, AttributionParams],
    cells: Mapping[str, CellInfo],
    there: Callable[[str, str], bool],
) -> Iterator[str]:
    """What params.yaml plans and cannot be told apart yet, with the cells that lack results.

    there: (cell, dataset) → whether it has predictions.
    """
    for own in declared.values():
        names = dict.fromkeys(own.cells.values())
        plans = [cells[name].evaluate for name in names]
        for dataset in (d for d in plans[0] if all(d in plan for plan in plans)):
            if absent := [name for name in names if not there(name, dataset)]:
                yield f"{own.label} on {dataset}: no results of {', '.join(absent)}"


def contributions(
    declared: Mapping[str, AttributionParams],
    datasets: Sequence[str],
    panels: Callable[[str, str], Sequence[Panel]],
    config: StatisticsConfig,
) -> Iterator[Contribution]:
    """Each factor's order-averaged contribution to macro AUROC, then the whole difference, on every dataset
    where all cells of an attribution were evaluated.

    panels: (name, dataset) → one AUROC panel a seed, none where there are no predictions.
    """
    for name, own in declared.items():
        for dataset in datasets:
            cells = {has: panels(own.cell(has), dataset) for has in subsets(own.factors)}
            if not all(cells.values()):
                continue
            order = list(cells)
            summaries = [summarise(cells[has]) for has in order]
            k = next(i for i, c in enumerate(summaries[0].columns) if (c.name, c.stratum) == MACRO)
            wanted = {factor: shapley_weights(own.factors, factor) for factor in own.factors}
            wanted[""] = {frozenset(own.factors): 1.0, frozenset(): -1.0}
            for factor, weights in wanted.items():
                parts = [(s, weights[has]) for has, s in zip(order, summaries, strict=True) if has in weights]
                found = contrasts(
                    [s for s, _ in parts], [w for _, w in parts], config.level, config.power, columns=(k,)
                )[0]
                yield Contribution(
                    name, own.label, dataset, factor, found.value, found.low, found.high, found.p, found.note,
                    tuple(own.cells.values()),
                )  # fmt: skip
