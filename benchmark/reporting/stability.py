"""How often a verdict stays the same with other sets of seeds, and with what rounding alone changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmark.evaluation.statistics.effects import Effect
from benchmark.evaluation.statistics.stability import Trainings, resampled, share_kept
from benchmark.reporting.findings import ClaimFinding

SIGNS = (1.0, -1.0)
"""Of the first and second method of a part."""


def verdict_stability(found: ClaimFinding, answer: Callable[[ClaimFinding], str]) -> float | None:
    """Share of drawn sets of seeds in which `answer` is what it is of `found`; 1 where nothing was trained.

    None where there is no verdict, the seeds of its rows are not known, or there is one seed of each.
    """
    if found.effect is None:
        return None
    if found.again is None:
        return 1.0
    moved = _moved(found.parts)
    if moved is None:
        return None
    shifts, chance = moved
    given = answer(found)
    kept = []
    for draw in shifts:
        parts = tuple(replace(e, value=e.value + float(s)) for e, s in zip(found.parts, draw, strict=True))
        kept.append(answer(found.again(parts)) == given)
    return share_kept(kept, chance)


def _moved(parts: tuple[Effect, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    """By how much each part moves in every draw, (D, parts), and the chance of the draws, (D,)."""
    lengths = {tuple(len(v) for v in e.seeds) for e in parts}
    variants = max((len(r) for e in parts for r in e.rounding), default=0)
    if len(lengths) != 1 or max(max(lengths), default=0) < 2:
        return None
    shifts = []
    chance = np.empty(0)
    for e in parts:
        rounding = e.rounding or tuple(np.zeros(0) for _ in e.seeds)
        trainings = [
            Trainings(v, r if len(r) else np.zeros(variants)) for v, r in zip(e.seeds, rounding, strict=True)
        ]
        means, chance = resampled(trainings)
        away = means - np.array([v.mean() for v in e.seeds])
        shifts.append(away @ np.array(SIGNS[: len(e.seeds)]))
    return np.stack(shifts, axis=1), chance
