"""Means of trials → metric rows, with the intervals of the other metrics."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.evaluation.statistics.intervals import join
from benchmark.evaluation.statistics.metric_values import MetricValue, metric_value
from benchmark.evaluation.statistics.trials import Trials, smooth_interval, trial_panel

Rows = list[MetricValue]


def trial_rows(
    metric: str, groups: Sequence[Trials], clusters: int, level: float, note: str, *, share: bool = True
) -> Rows:
    """One row a group, where there are several, and `macro`. clusters: patients of the evaluation set.
    note: of the macro row. share: values lie in [0, 1]; else their interval is symmetric."""
    panel = trial_panel(metric, groups, clusters, note)
    if share:
        return [metric_value(c, metric, panel.interval(k, level)) for k, c in enumerate(panel.columns)]
    return [
        metric_value(
            c,
            metric,
            smooth_interval(float(panel.values[k]), panel.influence[:, k], level, join(c.note, c.few_note)),
        )
        for k, c in enumerate(panel.columns)
    ]
