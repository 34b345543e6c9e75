"""Every number of the statistics that one may change."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

RANK_METRICS = ("auroc", "average_precision", "auprc_trapezoid")
"""Metrics of a ranking: they need no threshold and no scale."""


class StatisticsConfig(BaseModel, frozen=True, extra="forbid"):
    """How values get their intervals and comparisons their tests.

    level: nominal coverage. interval: `analytic` (influence functions, seconds) or the clustered bootstrap
    (`percentile`, `bca`). draws: bootstrap draws. power: of the minimum detectable effect.
    thresholded: also report F1, MCC, sensitivity at `specificity`, top-k and calibration error.
    bins: equal-width bins of the calibration error. subgroup_positives: a class enters the macro mean of a
    subgroup where each level has at least that many positives and negatives.
    """

    level: float = Field(default=0.95, gt=0.5, lt=1)
    interval: Literal["analytic", "percentile", "bca"] = "analytic"
    draws: int = Field(default=2000, ge=100)
    power: float = Field(default=0.8, gt=0, lt=1)
    thresholded: bool = False
    specificity: float = Field(default=0.9, gt=0, lt=1)
    top_k: tuple[int, ...] = (1, 5)
    bins: int = Field(default=15, ge=2)
    subgroup_positives: int = Field(default=5, ge=1)
