"""Table 5: frequent, rare and never-named classes, and how accuracy follows training frequency."""

from __future__ import annotations

from typing import Any

from benchmark.reporting.evidence import Evidence, count_text, missing, notice, signed_text
from benchmark.reporting.table import Column, Table
from benchmark.reporting.tables import common

STRATA = ("all", "head", "medium", "tail", "padchest20", "named", "never-named")
TITLES = {
    "all": "All",
    "head": "Head",
    "medium": "Medium",
    "tail": "Tail",
    "padchest20": "PadChest20",
    "named": "Named",
    "never-named": "Never named",
}


def rare_disease(evidence: Evidence) -> Table | None:
    """One row a dataset and method; a column a stratum, then the trend over training frequency."""
    names = evidence.mains
    ranks = evidence.ranking(names)
    rows: list[dict[str, str]] = []
    raws: list[dict[str, Any]] = []
    best: set[tuple[int, str]] = set()
    notes = common.Footnotes()
    used: list[str] = []
    for dataset in evidence.datasets:
        here = set(evidence.metrics.loc[evidence.metrics["dataset"] == dataset, "stratum"])
        if not here & {"tail", "never-named", "padchest20"}:
            continue
        for name in names:
            if evidence.value(name, dataset) is None:
                continue
            cell = evidence.cell(name)
            row = {"dataset": dataset, "method": cell.title}
            raw: dict[str, Any] = {"dataset": dataset, "method": cell.title, "cell": name}
            for stratum in STRATA:
                ours = evidence.value(name, dataset, stratum)
                if ours is None:
                    continue
                if stratum not in used:
                    used.append(stratum)
                rank = ranks.get((name, dataset, stratum))
                letters = "" if rank is None else f" {rank['groups']}"
                row[stratum] = common.value_text(ours) + letters + notes.mark(common.row_notes(ours))
                raw |= common.limits(ours, f"{stratum} ")
                raw |= {
                    f"{stratum} positives": ours["n_pos"],
                    f"{stratum} mde": common.mde(evidence, name, names, dataset, stratum),
                }
                if common.separable(rank):
                    best.add((len(rows), stratum))
            trend = evidence.trends.get((name, dataset))
            row["slope"] = (
                "–" if trend is None else signed_text(trend.slope, trend.slope_low, trend.slope_high)
            )
            raw |= {
                "slope": None if trend is None else trend.slope,
                "slope_low": None if trend is None else trend.slope_low,
                "slope_high": None if trend is None else trend.slope_high,
                **common.counts(evidence, dataset, evidence.value(name, dataset)),
            }
            row |= common.count_texts(raw)
            rows.append(row)
            raws.append(raw)
    if not rows:
        return None
    return Table(
        name="rare_disease",
        title="Rare diseases: macro AUROC by frequency of the class",
        columns=(
            Column("dataset", "Dataset", "left"),
            Column("method", "Method", "left"),
            *[Column(s, TITLES[s]) for s in STRATA if s in used],
            Column("slope", "Slope per tenfold training frequency"),
            *common.COUNTS,
            common.ORIGIN,
        ),
        rows=tuple(rows),
        raw=tuple(raws),
        best=frozenset(best),
        notes=(
            common.READING,
            "Head, medium and tail follow the rule of the CARZero evaluation on positives of the test set "
            "(tail: at most 10). Never named: no training report states the finding.",
            *notes.notes,
        ),
        synthetic=evidence.synthetic(),
    )


def frequency(evidence: Evidence) -> Table | None:
    """Every class with the training studies that name it and each method's AUROC: what the figure shows."""
    names = evidence.mains
    rows: list[dict[str, str]] = []
    raws: list[dict[str, Any]] = []
    for dataset in evidence.datasets:
        counts = evidence.frequency.get(dataset, {})
        for cls in sorted(counts, key=lambda c: (-counts[c], c)):
            values = {n: evidence.value(n, dataset, cls=cls) for n in names}
            known = [r for r in values.values() if r is not None]
            if not known:
                continue
            head = {"dataset": dataset, "class": cls}
            row = {**head, "named": count_text(counts[cls]), "positives": count_text(known[0]["n_pos"])}
            raw: dict[str, Any] = {**head, "named": counts[cls], "positives": known[0]["n_pos"]}
            for name, value in values.items():
                row[name] = common.value_text(value)
                raw |= common.limits(value, f"{name} ")
            row["origin"] = notice(evidence.origin(dataset))
            raw["origin"] = evidence.origin(dataset)
            rows.append(row)
            raws.append({k: None if missing(v) else v for k, v in raw.items()})
    if not rows:
        return None
    return Table(
        name="per_class",
        title="AUROC of every class, by how many training studies name it",
        columns=(
            Column("dataset", "Dataset", "left"),
            Column("class", "Class", "left"),
            Column("named", "Training studies"),
            Column("positives", "Positives"),
            *[Column(n, evidence.cell(n).title) for n in names],
            common.ORIGIN,
        ),
        rows=tuple(rows),
        raw=tuple(raws),
        notes=("Intervals of classes with fewer than 20 positive patients are not assured to cover.",),
        synthetic=evidence.synthetic(),
    )
