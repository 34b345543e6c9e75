"""Gap between the best and the worst level of a subgroup.

Which level is best is read off the same data, so the plain interval of that difference would be too hopeful:
limits are Bonferroni over the k(k-1)/2 pairs of levels, which covers whichever pair is picked; a gap is >= 0.
A patient with images in several levels enters once, through the difference of influences.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from benchmark.evaluation.statistics.intervals import Interval, join, linear_interval, spread_df
from benchmark.evaluation.statistics.panel import Column, Panel


def gaps(panel: Panel, subgroups: Iterable[str], level: float) -> list[tuple[Column, Interval]]:
    """One gap a subgroup, from the panel's columns `name=level`."""
    found = []
    for name in subgroups:
        ks = [k for k, c in enumerate(panel.columns) if c.stratum.startswith(f"{name}=")]
        known = [k for k in ks if not np.isnan(panel.values[k])]
        if len(known) < 2:
            if ks:
                blank = replace(panel.columns[ks[0]], stratum=name)
                why = "undefined: fewer than two levels share a class with enough positives"
                found.append((blank, Interval(np.nan, np.nan, np.nan, why)))
            continue
        best = max(known, key=lambda k: panel.values[k])
        worst = min(known, key=lambda k: panel.values[k])
        pairs = len(known) * (len(known) - 1) // 2
        difference = panel.influence[:, best] - panel.influence[:, worst]
        variance = float(np.square(difference, dtype=np.float64).sum())
        variance += max(float(panel.extra[best] + panel.extra[worst]), 0.0)
        value = float(panel.values[best] - panel.values[worst])
        low, high = linear_interval(value, variance, spread_df(difference), 1 - (1 - level) / pairs)
        ends = [panel.columns[k] for k in (best, worst)]
        names = [c.stratum.removeprefix(f"{name}=") for c in ends]
        counts = {
            f: sum(getattr(c, f) for c in (panel.columns[k] for k in known))
            for f in ("n_pos", "n_neg", "n_ignored")
        }
        patients = max(panel.columns[k].n_patients for k in known)
        column = replace(ends[0], stratum=name, n_patients=patients, **counts)
        note = join(f"best {names[0]}, worst {names[1]}, {len(known)} levels", ends[0].note)
        found.append((column, Interval(value, max(low, 0.0), high, note)))
    return found
