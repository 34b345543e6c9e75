"""Whether methods are above the floor: paired tests against every reference that a method must exceed.

A method is above the floor of a set where it exceeds each reference of it. That is an intersection-union test
(Berger 1982): its p is the largest of the references' p, without a correction for their number. The family
is declared: all methods of params.yaml on one set, whether or not they were run. So p is multiplied by their
number (Bonferroni), as the steps of Holm would make the answer of one method depend on which others were run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmark.core.settings import StatisticsConfig
from benchmark.evaluation.comparison import PLACE, Comparison
from benchmark.evaluation.statistics.metric_values import RowIdentity
from benchmark.evaluation.statistics.paired import difference

FLOOR_COLUMNS = (
    *PLACE,
    "method",
    "reference",
    "delta",
    "low",
    "high",
    "p",
    "p_corrected",
    "above",
    "undefined",
)


def against_floor(
    comparison: Comparison,
    methods: Sequence[str],
    references: Sequence[str],
    *,
    identity: RowIdentity,
    declared: int,
    config: StatisticsConfig,
) -> pd.DataFrame:
    """FLOOR_COLUMNS, one row a method: its macro AUROC minus that of the reference which it exceeds least
    surely, or that it was not tested against. `undefined` says why there is no such test; above: whether the
    corrected test finds it above the floor, False without a test. declared: methods of params.yaml, the
    family of this set."""
    rows = []
    for method in methods:
        tested = [(name, _macro(comparison, method, name, config)) for name in references if name != method]
        if not tested:
            continue
        known = [(name, d) for name, d in tested if not d.undefined]
        name, found = max(known or tested[:1], key=lambda item: (_chance(item[1]), -item[1].value))
        if len(known) < len(tested) and not (known and _chance(found) == 1):
            name, found = next(item for item in tested if item[1].undefined)
        rows.append(
            {
                **identity.place(),
                "method": method,
                "reference": name,
                "delta": found.value,
                "low": found.low,
                "high": found.high,
                "p": np.nan if found.undefined else _chance(found),
                "undefined": found.undefined,
            }
        )
    found = pd.DataFrame(rows, columns=list(FLOOR_COLUMNS))
    found["p_corrected"] = np.minimum(found["p"].astype(float) * max(declared, len(found)), 1.0)
    found["above"] = (found["p_corrected"] < 1 - config.level).astype(bool)
    return found


def _macro(comparison: Comparison, method: str, reference: str, config: StatisticsConfig) -> Any:
    a, b = (comparison.summaries[name]["auroc"] for name in (method, reference))
    (k,) = [k for k, c in enumerate(a.columns) if (c.name, c.stratum) == ("macro", "all")]
    return difference(a, b, k, config.level, config.power)


def _chance(found: Any) -> float:
    """p that the method exceeds the reference: 1 where it does not."""
    return float(found.p) if found.value > 0 else 1.0
