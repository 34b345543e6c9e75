"""Table 5: frequent, rare and never-named classes, and how accuracy follows training frequency."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark.reporting import columns as common
from benchmark.reporting.evidence import Evidence
from benchmark.reporting.table import Measured, Row, Table, Value, change, estimate, real, words
from benchmark.reporting.tables import Material

PLACE = 40
STRATA = {
    "all": "All",
    "head": "Head",
    "medium": "Medium",
    "tail": "Tail",
    "padchest20": "PadChest20",
    "named": "Named",
    "never-named": "Never named",
}
"""Stratum → its title, in the order of the columns."""
OF_RANKING = ("group", "stability", "mde", "mde_undefined")


def tables(material: Material) -> Iterable[Table | None]:
    return [rare_disease(material.evidence)]


def rare_disease(evidence: Evidence) -> Table:
    """One row a dataset and method; a column a stratum, then the trend over training frequency."""
    names = evidence.mains
    ranking = evidence.ranking(evidence.declared_mains)
    rows: list[Row] = []
    for dataset in evidence.datasets:
        here = set(evidence.metrics.loc[evidence.metrics["dataset"] == dataset, "stratum"])
        if not here & {"tail", "never-named", "padchest20"}:
            continue
        for name in names:
            whole = evidence.value(name, dataset)
            if whole is None:
                continue
            row: dict[str, Value] = {"dataset": dataset, "method": evidence.cell(name).title, "cell": name}
            row["seen"] = evidence.seen(name, dataset)
            for stratum in STRATA:
                ours = evidence.value(name, dataset, stratum)
                if ours is not None:
                    rank = ranking.get((name, dataset, stratum))
                    row[stratum] = common.measured(ours, rank)
                    row[f"{stratum} positives"] = int(ours["n_pos"])
                    own = common.ranks(rank)
                    row |= {f"{stratum} {key}": own.get(key) for key in OF_RANKING}
            trend = evidence.trends.get((name, dataset))
            if trend is not None:
                row["slope"] = Measured(trend.slope, trend.slope_low, trend.slope_high)
            rows.append(row | common.counts(evidence.sets[dataset], whole))
        for reference in evidence.beside:
            whole = reference.value(dataset)
            if whole is None:
                continue
            row = {"dataset": dataset, "method": reference.heading, "cell": reference.name}
            for stratum in STRATA:
                ours = reference.value(dataset, stratum)
                if ours is not None:
                    row[stratum] = common.measured(ours)
                    row[f"{stratum} positives"] = int(ours["n_pos"])
            rows.append(row | common.counts(evidence.sets[dataset], whole))
    used = [stratum for stratum in STRATA if any(stratum in row for row in rows)]
    strata = [
        (
            estimate(s, STRATA[s], f"{s} "),
            *(words(f"{s} {k}") for k in ("group", "mde_undefined")),
            *(real(f"{s} {k}") for k in ("stability", "positives", "mde")),
        )
        for s in used
    ]
    return Table(
        name="rare_disease",
        title="Rare diseases: macro AUROC by frequency of the class",
        columns=(
            common.DATASET, common.METHOD, words("cell"), common.SEEN,
            *[column for own in strata for column in own],
            change("slope", "Slope per tenfold training frequency"), *common.COUNTS, common.ORIGIN,
        ),
        rows=tuple(rows),
        notes=(
            common.reading(evidence),
            "Head, medium and tail follow the rule of the CARZero evaluation on positives of the test set "
            "(tail: at most 10). Never named: no training report states the finding.",
            *common.floor_and_ceiling(evidence),
        ),
        family=common.RANKING_FAMILY,
        synthetic=evidence.synthetic(),
    )  # fmt: skip
