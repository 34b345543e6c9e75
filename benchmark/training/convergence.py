"""When a run is validated, and whether its curve was flat at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmark.core.settings import TrainConfig

FLAT = 0.005
"""Validation AUROC that the last quarter of a converged run gains less than."""


def looks(epochs: int, config: TrainConfig) -> frozenset[int]:
    """Epochs, counted from 1, after which a run is validated; all of them where it may stop early."""
    if config.patience is not None or epochs <= config.looks:
        return frozenset(range(1, epochs + 1))
    return frozenset(math.ceil(epochs * (n + 1) / config.looks) for n in range(config.looks))


def gain_last_quarter(steps: Sequence[int], curve: Sequence[float]) -> float | None:
    """Best AUROC of all looks less the best of those in the first three quarters of the steps.

    steps, curve: of each look, in order. None with fewer than 4 looks, which show no curve.
    """
    if len(curve) < 4:
        return None
    early = [value for step, value in zip(steps, curve, strict=True) if step <= 0.75 * steps[-1]]
    return max(curve) - max(early)
