"""Means of trials → metric rows, with the intervals of the other metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmark.evaluation.evaluate import metric_row
from benchmark.evaluation.statistics.trials import Trials, smooth_interval, trial_panel

Rows = list[dict[str, Any]]


def trial_rows(
    metric: str, groups: Sequence[Trials], clusters: int, level: float, note: str, *, share: bool = True
) -> Rows:
    """One row a group, where there are several, and `macro`. clusters: patients of the evaluation set.
    note: of the macro row. share: values lie in [0, 1]; else their interval is symmetric."""
    panel = trial_panel(metric, groups, clusters, note)
    if share:
        return [metric_row(c, metric, panel.interval(k, level)) for k, c in enumerate(panel.columns)]
    return [
        metric_row(c, metric, smooth_interval(float(panel.values[k]), panel.influence[:, k], level, c.note))
        for k, c in enumerate(panel.columns)
    ]
