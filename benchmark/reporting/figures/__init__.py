"""The figures: one function each, from evidence to a drawing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmark.evaluation.statistics.bands import Band
from benchmark.reporting.evidence import Evidence
from benchmark.reporting.figures.attribution import attribution
from benchmark.reporting.figures.factors import text_factor_effects, text_factors
from benchmark.reporting.figures.results import ablation_bars, forest, heatmap, prompt_sensitivity
from benchmark.reporting.figures.style import Drawing
from benchmark.reporting.figures.training import cost_accuracy, frequency, roc_pr, training_curves
from benchmark.reporting.tables.ablation import kinds

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["all_figures"]


def all_figures(
    evidence: Evidence, histories: pd.DataFrame, bands: Callable[[str, str], tuple[Band, Band] | None]
) -> list[Drawing]:
    """Every figure that the evidence has rows for. bands: (name, dataset) → its ROC and precision-recall."""
    found = [
        forest(evidence),
        *[ablation_bars(evidence, kind) for kind in kinds(evidence)],
        prompt_sensitivity(evidence),
        text_factors(evidence),
        text_factor_effects(evidence),
        attribution(evidence),
    ]
    for dataset in evidence.datasets:
        own = {n: b for n in evidence.mains if (b := bands(n, dataset)) is not None}
        found += [frequency(evidence, dataset), heatmap(evidence, dataset), roc_pr(evidence, dataset, own)]
    found += [training_curves(evidence, histories), cost_accuracy(evidence)]
    return [drawing for drawing in found if drawing is not None]
