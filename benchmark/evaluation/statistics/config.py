"""Which metrics need a ranking only."""

from __future__ import annotations

from benchmark.core.settings import StatisticsConfig as StatisticsConfig

RANK_METRICS = ("auroc", "average_precision", "auprc_trapezoid")
"""Metrics of a ranking: they need no threshold and no scale."""
