"""Error rates of groups of patients at a fixed operating point (Seyyed-Kalantari et al. 2021, Nat. Med. 27).

Thresholds have the specificity `statistics.specificity` on held-out images. `fnr`, `fpr`: mean over classes
of the false negative and false positive rate; `underdiagnosis`: share of images with a finding on which
nothing is called; `overdiagnosis`: share of images without any finding on which something is. Classes that
are no findings ("No Finding") are neither counted nor called; a finding without a threshold is not called,
but an image that shows it is not without findings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.hashing import hash_array
from benchmark.core.tasks import TASKS, TaskContext, TaskResult
from benchmark.evaluation.evaluate import finish
from benchmark.evaluation.evaluation_data import are_findings
from benchmark.evaluation.operating_point import OperatingTask, operating_points
from benchmark.evaluation.prompt_scores import prompt_label
from benchmark.evaluation.statistics.error_rates import crossed, error_panel, rate_gaps
from benchmark.evaluation.statistics.influence import patient_codes
from benchmark.evaluation.statistics.metric_values import metric_value
from benchmark.evaluation.tasks.classification import predict

if TYPE_CHECKING:
    from benchmark.core.settings import StatisticsConfig
    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.evaluation.trial_rows import Rows
    from benchmark.prompts.class_prompts import PromptSet
    from methods.base import Method


@TASKS.register("underdiagnosis")
class Underdiagnosis(OperatingTask):
    name = "underdiagnosis"
    title = "Underdiagnosis: error rates by sex, age, view and their crossings, at one operating point"
    headlines = ("fnr", "fpr")
    shown = ("fnr", "fpr", "underdiagnosis", "overdiagnosis")
    order = 6

    def decide(
        self,
        method: Method,
        data: EvaluationData,
        other: EvaluationData,
        prompts: PromptSet,
        given: TaskContext,
    ) -> TaskResult | None:
        held_out, scores = (predict(method, own, prompts, given) for own in (other, data))
        if given.helper:
            return None
        points = operating_points(held_out, other.chosen.labels, given.statistics.specificity)
        findings = are_findings(data.card, data.chosen.classes)
        known = ~np.isnan(points) & findings
        if not known.any():
            return None
        labels = data.chosen.labels[:, known]
        called = scores[:, known] > points[known]
        classes = [name for name, own in zip(data.chosen.classes, known, strict=True) if own]
        codes, clusters, grouped = patient_codes(data.chosen.patients, len(data))
        groups = crossed(data.subgroups)
        ill = (labels == 1).any(axis=1)[:, None]
        well = (data.chosen.labels[:, findings] == 0).all(axis=1)[:, None]
        any_call = called.any(axis=1)[:, None]
        rows: Rows = []
        for metric, wrong, counted, names in (
            ("fnr", ~called, labels == 1, classes),
            ("fpr", called, labels == 0, classes),
            ("underdiagnosis", ~any_call, ill, ["any"]),
            ("overdiagnosis", any_call, well, ["any"]),
        ):
            panel, own = error_panel(
                metric, wrong, counted, codes, clusters, names, groups, given.statistics.subgroup_positives
            )
            level = given.statistics.level
            rows += [metric_value(c, metric, panel.interval(k, level)) for k, c in enumerate(panel.columns)]
            rows += [metric_value(c, f"{metric}_gap", i) for c, i in rate_gaps(panel, list(own), level)]
        return TaskResult(finish(rows, grouped), prompt_label(prompts))

    def reads(self, data: EvaluationData, statistics: StatisticsConfig) -> dict[str, str]:
        """Which classes are findings too."""
        findings = are_findings(data.card, data.chosen.classes)
        return {**super().reads(data, statistics), "findings": hash_array(findings)}

    def is_share(self, metric: str) -> bool:
        """Gaps are differences."""
        return not metric.endswith("_gap")
