"""Macro AUROC per level of sex, age band, view and site, and the gap between best and worst level."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchmark.reporting import columns as common
from benchmark.reporting.effects import seed_mean
from benchmark.reporting.evidence import Evidence
from benchmark.reporting.numbers import interval_text, missing
from benchmark.reporting.rows import MetricRow, is_few
from benchmark.reporting.table import Measured, Row, Table, change, estimate, words
from benchmark.reporting.tables import Material

PLACE = 80


def tables(material: Material) -> Iterable[Table | None]:
    return [subgroups(material.evidence)]


def subgroups(evidence: Evidence) -> Table:
    """One row a dataset, division and method."""
    rows: list[Row] = []
    known: dict[str, None] = {}
    for dataset in evidence.datasets:
        for group, levels in _divisions(evidence, dataset).items():
            for name in evidence.mains:
                values = {v: evidence.value(name, dataset, f"{group}={v}") for v in levels}
                own = {v: row for v, row in values.items() if row is not None}
                if not own:
                    continue
                known |= dict.fromkeys(own)
                gap = _gap(evidence, name, dataset, group)
                rows.append(
                    {
                        **{level: common.measured(row) for level, row in own.items()},
                        "dataset": dataset,
                        "method": evidence.cell(name).title,
                        "cell": name,
                        "seen": evidence.seen(name, dataset),
                        "subgroup": group,
                        "levels": _in_words(own),
                        "gap": None if gap is None else Measured(gap["value"], gap["low"], gap["high"]),
                        "note": "" if gap is None or missing(gap["note"]) else str(gap["note"]),
                        "origin": evidence.origin(dataset),
                    }
                )
    return Table(
        name="subgroups",
        title="Subgroups: macro AUROC by sex, age, view and site",
        columns=(
            common.DATASET, common.METHOD, words("cell"), common.SEEN, words("subgroup", "Subgroup"),
            words("levels", "Levels", csv=False),
            *[estimate(level, prefix=f"{level} ") for level in known],
            change("gap", "Gap best − worst", ("gap_value", "gap_low", "gap_high")),
            words("note", "Levels of the gap (first seed)", csv=False), common.ORIGIN,
        ),
        rows=tuple(rows),
        notes=(
            "A class enters where every level has enough positives. The gap's interval is Bonferroni over "
            "the pairs of levels, because the best and the worst are picked on the same data.",
        ),
        synthetic=evidence.synthetic(),
    )  # fmt: skip


def _divisions(evidence: Evidence, dataset: str) -> dict[str, list[str]]:
    """What the patients of a set are divided by → its levels, those below a limit first."""
    frame = evidence.metrics
    here = frame[(frame["dataset"] == dataset) & (frame["class"] == "macro")]
    pairs = [str(s).partition("=") for s in dict.fromkeys(here["stratum"]) if "=" in str(s)]
    found: dict[str, list[str]] = {}
    for group, _, level in sorted(pairs, key=lambda p: (p[0], not p[2].startswith("<"), p[2])):
        found.setdefault(group, []).append(level)
    return found


def _in_words(levels: Mapping[str, MetricRow]) -> str:
    return "; ".join(
        f"{level}: {interval_text(row['value'], row['low'], row['high'])}"
        + (f" ({row['note']})" if is_few(row) else "")
        for level, row in levels.items()
    )


def _gap(evidence: Evidence, name: str, dataset: str, group: str) -> MetricRow | None:
    frame = evidence.seeds
    own = frame[
        (frame["name"] == name)
        & (frame["dataset"] == dataset)
        & (frame["stratum"] == group)
        & (frame["metric"] == "auroc_gap")
    ]
    if own.empty:
        return None
    mean = seed_mean(own.to_dict("records"), evidence.level, share=False)
    return mean if missing(mean["low"]) else {**mean, "low": max(mean["low"], 0.0)}
