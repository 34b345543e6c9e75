"""Every class with the training studies that name it and each method's AUROC: what the figure shows."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark.reporting import columns as common
from benchmark.reporting.evidence import Evidence
from benchmark.reporting.rows import MetricRow, is_few
from benchmark.reporting.table import Measured, Table, Value, count, estimate, words
from benchmark.reporting.tables import Material

PLACE = 50


def tables(material: Material) -> Iterable[Table | None]:
    return [frequency(material.evidence)]


def frequency(evidence: Evidence) -> Table:
    """One row a dataset and class, most often named first."""
    names = evidence.mains
    rows = []
    for dataset in evidence.datasets:
        counts = evidence.frequency.get(dataset, {})
        for cls in sorted(counts, key=lambda c: (-counts[c], c)):
            values = {n: evidence.value(n, dataset, cls=cls) for n in names}
            known = [r for r in values.values() if r is not None]
            if not known:
                continue
            row: dict[str, Value] = {name: _without_notes(value) for name, value in values.items()}
            row |= {
                "dataset": dataset,
                "class": cls,
                "named": counts[cls],
                "seen": evidence.seen_by(names, [dataset]),
                "origin": evidence.origin(dataset),
            }
            row["few"] = "few" if any(is_few(value) for value in known) else ""
            rows.append(row | {"positives": int(known[0]["n_pos"])})
    return Table(
        name="per_class",
        title="AUROC of every class, by how many training studies name it",
        columns=(
            common.DATASET,
            words("class", "Class"),
            count("named", "Training studies"),
            count("positives", "Positives"),
            words("few", "Few"),
            *[estimate(n, evidence.cell(n).title, f"{n} ", marked=False) for n in names],
            common.SEEN,
            common.ORIGIN,
        ),
        rows=tuple(rows),
        notes=("Few: fewer than 20 positive patients, so intervals are not assured to cover.",),
        synthetic=evidence.synthetic(),
    )


def _without_notes(row: MetricRow | None) -> Measured | None:
    """The note of a class is a column here, once for all methods."""
    return None if row is None else Measured(row["value"], row["low"], row["high"])
