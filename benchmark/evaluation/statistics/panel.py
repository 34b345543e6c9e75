"""One run's values with the influence of every patient on each: classes, averages, strata and subgroups
alike.

A macro mean is linear in its classes, so its influence is the mean of their columns, with rare classes
centred together (`pooling`). Intervals, means over seeds, paired comparisons and gaps all start from panels,
and differ only in what they combine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmark.core.errors import UnknownName
from benchmark.evaluation.statistics.influence import InfluenceTable, influence_table, pooled
from benchmark.evaluation.statistics.intervals import NO_SPREAD, Interval, join, logit_interval, spread_df
from benchmark.evaluation.statistics.metrics import METRICS, RANK_METRICS, metric_of
from benchmark.evaluation.statistics.pooling import LEAST_PATIENTS, averaged, support
from benchmark.evaluation.statistics.rare import effective_positives, moderated_variance, score_interval
from benchmark.evaluation.statistics.strata import long_tail

RARE_PATIENTS = 20
"""Below that many positive patients no method keeps 93-97% for every shape of scores (docs/statistics.md)."""


@dataclass(frozen=True)
class Column:
    """What a value is about. Counts of a macro column are sums over its classes (n_patients: the largest).

    pos_patients: distinct patients with a positive in any of its classes.

    weights: (C,) shares of the classes, None for the pooled and the subgroup columns. effective: independent
    positives (a class only). freedom, worth: most degrees of freedom of a test and weight of the positive
    patients, see `pooling.Support`. note: why the value is undefined or partial.
    """

    name: str
    stratum: str
    n_pos: int
    n_neg: int
    n_ignored: int
    n_patients: int
    pos_patients: int
    effective: float = np.nan
    note: str = ""
    weights: np.ndarray | None = None
    freedom: float = np.inf
    worth: float = np.inf

    @property
    def single(self) -> bool:
        """A class of its own, not an average."""
        return not np.isnan(self.effective)

    @property
    def few(self) -> bool:
        """Whether so few positive patients carry the value that its interval may not cover."""
        return self.worth < RARE_PATIENTS

    @property
    def few_note(self) -> str:
        """Empty, or what to distrust."""
        if not self.few:
            return ""
        worth = round(self.worth)
        count = f"{self.pos_patients}" + ("" if worth == self.pos_patients else f", worth {worth}")
        return f"few positive patients ({count}): coverage not assured"

    @property
    def untested(self) -> str:
        """Why differences between methods are not tested; empty where they are."""
        least = LEAST_PATIENTS - 1
        if self.freedom >= least:
            return ""
        return f"test undefined: positives of fewer than {least + 1} patients ({self.freedom + 1:.0f})"


@dataclass(frozen=True)
class Panel:
    """One metric of one run. values (K,), influence (P, K), extra (K,): what the moderated variance adds to
    the sum of squared influences, df (K,)."""

    metric: str
    columns: tuple[Column, ...]
    values: np.ndarray
    influence: np.ndarray
    extra: np.ndarray
    df: np.ndarray

    def variance(self, k: int) -> float:
        own = float(np.square(self.influence[:, k], dtype=np.float64).sum())
        return max(own + float(self.extra[k]), own / 2)

    def interval(self, k: int, level: float) -> Interval:
        """Analytic interval of column k."""
        return column_interval(
            self.metric, self.columns[k], float(self.values[k]), self.variance(k), self.df[k], level
        )


def column_interval(
    metric: str, column: Column, value: float, variance: float, df: float, level: float
) -> Interval:
    """Logit interval; the score interval for a class's AUROC near 0 or 1; notes where to distrust it."""
    if np.isnan(value):
        return Interval(np.nan, np.nan, np.nan, column.note)
    rare = column.few_note
    if metric in METRICS and METRICS[metric].moderated and column.single:
        edge = 1 / (4 * max(column.effective, 1.0))
        if value < edge or value > 1 - edge:
            return Interval(value, *score_interval(value, column.effective, column.n_neg, df, level), rare)
    elif metric in METRICS and column.pos_patients < 2:
        return Interval(value, np.nan, np.nan, "interval undefined: positives of one patient")
    low, high = logit_interval(value, variance, df, level)
    if np.isnan(low):
        return Interval(value, low, high, join(column.note, NO_SPREAD))
    return Interval(value, low, high, join(column.note, rare))


def resolve_strata(
    n_pos: np.ndarray, classes: Sequence[str], strata: Mapping[str, Sequence[str]] | None
) -> dict[str, np.ndarray]:
    """Stratum → columns; head, medium and tail are added where the caller has not frozen them.

    Raises UnknownName where a stratum names an unknown class.
    """
    known = {name: i for i, name in enumerate(classes)}
    columns = {}
    for stratum, members in {**long_tail(n_pos, classes), **(strata or {})}.items():
        for member in members:
            if member not in known:
                raise UnknownName("class", member, classes, f"Stratum '{stratum}' names it.")
        columns[stratum] = np.array([known[m] for m in members], dtype=int)
    return columns


def build_panels(
    scores: np.ndarray,
    labels: np.ndarray,
    codes: np.ndarray,
    clusters: int,
    classes: Sequence[str],
    strata: Mapping[str, np.ndarray],
    subgroups: Mapping[str, np.ndarray] | None = None,
    *,
    minimum: int = 5,
    metrics: tuple[str, ...] = RANK_METRICS,
    micro: bool = True,
    dtype: type = np.float64,
) -> dict[str, Panel]:
    """Metric → panel. Columns: classes, macro of each stratum (`all` first), weighted, micro, subgroup
    levels.

    scores (N, C), labels (N, C) in {1, 0, -1}, codes (N,) in 0..P-1; strata: name → class indices;
    subgroups: name → (N,) levels. minimum: see `StatisticsConfig.subgroup_positives`.
    """
    table = influence_table(scores, labels, codes, clusters, metrics, dtype)
    everything = np.arange(len(classes))
    averages = [("macro", s, _equal(table, c)) for s, c in {"all": everything, **strata}.items()]
    averages.append(("weighted", "all", table.n_pos.astype(float)))

    columns = [_class_column(table, j, name) for j, name in enumerate(classes)]
    columns += [_average_column(table, *average) for average in averages]
    parts = {m: _parts(table, m, [c.weights for c in columns[len(classes) :]]) for m in metrics}
    if micro:
        pool = pooled(scores, labels, codes, clusters, metrics, dtype)
        columns.append(_average_column(pool, "micro", "all", np.ones(1), keep=False))
        _append(parts, pool, np.ones(1))
    for name, levels in (subgroups or {}).items():
        for level, sub, weights in _levels(scores, labels, codes, clusters, levels, minimum, metrics, dtype):
            columns.append(_average_column(sub, "macro", f"{name}={level}", weights, keep=False))
            _append(parts, sub, weights)
    return {m: Panel(m, tuple(columns), *_stack(parts[m])) for m in metrics}


def strata_contrast(panel: Panel, stratum: str, against: str) -> Panel | None:
    """One column: the macro mean of `stratum` minus that of `against`; None where a stratum is missing."""
    where = {c.stratum: k for k, c in enumerate(panel.columns) if c.name == "macro"}
    if stratum not in where or against not in where:
        return None
    i, j = where[stratum], where[against]
    first, second = panel.columns[i], panel.columns[j]
    column = replace(
        first,
        stratum=f"{stratum} - {against}",
        freedom=min(first.freedom, second.freedom),
        worth=min(first.worth, second.worth),
        note=first.note or second.note,
    )
    return Panel(
        panel.metric,
        (column,),
        panel.values[[i]] - panel.values[[j]],
        panel.influence[:, [i]] - panel.influence[:, [j]],
        panel.extra[[i]] + panel.extra[[j]],
        np.minimum(panel.df[[i]], panel.df[[j]]),
    )


Parts = tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray], list[np.ndarray]]


def _stack(parts: Parts) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    values, influence, extra, df = parts
    return np.concatenate(values), np.hstack(influence), np.concatenate(extra), np.concatenate(df)


def _parts(table: InfluenceTable, metric: str, averages: Sequence[np.ndarray | None]) -> Parts:
    values, influence = table.of(metric)
    moderated, df = _moderation(table, metric)
    result: Parts = ([values], [influence], [moderated], [df])
    for weights in averages:
        _append_one(result, table, metric, weights)
    return result


def _moderation(table: InfluenceTable, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """What a moderated variance adds to the squared influences of each class, and its df, (C,) each."""
    if not metric_of(metric).moderated:
        return np.zeros(len(table.n_pos)), np.maximum(table.pos_patients - 1.0, 1.0)
    _, influence = table.of(metric)
    own = np.square(influence, dtype=np.float64).sum(axis=0)
    variance, df = moderated_variance(table)
    return np.where(table.defined, variance - own, 0.0), df


def _append(parts: Mapping[str, Parts], table: InfluenceTable, weights: np.ndarray) -> None:
    for metric, part in parts.items():
        _append_one(part, table, metric, weights)


def _append_one(result: Parts, table: InfluenceTable, metric: str, weights: np.ndarray | None) -> None:
    """The average's value, influence, moderation and df. Where rare classes are centred together, the
    moderated variance stands in place of what they then add on their own, never beside it."""
    values, influence = table.of(metric)
    share = np.zeros(len(values)) if weights is None else weights
    picked = np.flatnonzero(share)
    patients, group, squares = averaged(table, metric, share)
    extra, _ = _moderation(table, metric)
    if metric_of(metric).moderated and len(group):
        own = np.square(influence[:, group], dtype=np.float64).sum(axis=0)
        extra[group] += own - squares
    result[0].append(np.array([share[picked] @ values[picked] if len(picked) else np.nan]))
    result[1].append(patients[:, None])
    result[2].append(np.array([np.square(share[picked]) @ extra[picked]]))
    result[3].append(np.array([spread_df(patients)]))


def _equal(table: InfluenceTable, columns: np.ndarray) -> np.ndarray:
    weights = np.zeros(len(table.n_pos))
    weights[columns] = 1.0
    return weights


def _class_column(table: InfluenceTable, j: int, name: str) -> Column:
    effective = float(effective_positives(table)[j])
    patients = int(table.pos_patients[j])
    return Column(
        name,
        "all",
        *_counts(table, np.array([j])),
        patients,
        effective,
        table.reason(j),
        freedom=patients - 1.0,
        worth=min(float(patients), float(table.n_pos[j] / max(table.weight_pos[j], 1.0))),
    )


def _counts(table: InfluenceTable, columns: np.ndarray) -> tuple[int, int, int, int]:
    pos, neg, ignored = (int(x[columns].sum()) for x in (table.n_pos, table.n_neg, table.n_ignored))
    return pos, neg, ignored, int(table.n_patients[columns].max(initial=0))


def _average_column(
    table: InfluenceTable, name: str, stratum: str, weights: np.ndarray, keep: bool = True
) -> Column:
    """An average over the defined classes of `weights`, which are rescaled to sum to 1 over those."""
    asked = np.flatnonzero(weights)
    used = asked[table.defined[asked]]
    share = np.zeros(len(weights))
    note = ""
    if len(used):
        share[used] = weights[used] / weights[used].sum()
        if len(used) < len(asked):
            note = f"mean of {len(used)} of {len(asked)} classes; the others lack positives or negatives"
    elif len(asked) == 1:
        note = table.reason(int(asked[0]))
    else:
        note = "undefined: no class" + (" has both positives and negatives" if len(asked) else "")
    by = support(table, share)
    return Column(
        name,
        stratum,
        *_counts(table, asked),
        by.patients,
        note=note,
        weights=share if keep else None,
        freedom=by.freedom,
        worth=by.worth,
    )


def _levels(
    scores: np.ndarray,
    labels: np.ndarray,
    codes: np.ndarray,
    clusters: int,
    levels: np.ndarray,
    minimum: int,
    metrics: tuple[str, ...],
    dtype: type,
) -> list[tuple[str, InfluenceTable, np.ndarray]]:
    """Level → table on its images, and equal weights on the classes that every level can show."""
    text = np.array(["" if v is None or v != v else str(v) for v in levels], dtype=object)
    names = sorted(set(text) - {""})
    tables = {}
    for name in names:
        rows = np.flatnonzero(text == name)
        tables[name] = influence_table(scores[rows], labels[rows], codes[rows], clusters, metrics, dtype)
    if not tables:
        return []
    shared = np.all([np.minimum(t.n_pos, t.n_neg) >= minimum for t in tables.values()], axis=0)
    share = shared / max(int(shared.sum()), 1)
    return [(name, table, share) for name, table in tables.items()]
