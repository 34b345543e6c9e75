"""Printed values of the CT field with their doubts."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark.grid.parts import VOLUMES
from benchmark.reporting import columns as common
from benchmark.reporting.published import Published
from benchmark.reporting.table import Row, Table, real, words
from benchmark.reporting.tables import Material

PLACE = 90


def tables(material: Material) -> Iterable[Table | None]:
    return (
        [field(material.published, material.evidence.datasets)] if material.evidence.part == VOLUMES else []
    )


def field(published: Published, datasets: Iterable[str]) -> Table:
    """One row a printed value of these sets."""
    rows: list[Row] = [
        {
            "dataset": row.dataset,
            "method": row.method,
            "metric": row.metric,
            "printed": row.value,
            "source": row.source,
            "doubts": " ".join(published.notes[n] for n in row.notes),
        }
        for row in published.rows
        if row.dataset in set(datasets)
    ]
    sources = dict.fromkeys(str(row["source"]) for row in rows)
    return Table(
        name="published",
        title="Printed values of the CT field, none of which was measured here",
        columns=(
            common.DATASET, common.METHOD, words("metric", "Metric"), real("printed", "Printed"),
            words("source", "Source"), words("doubts", "Doubts"),
        ),
        rows=tuple(rows),
        notes=(
            *(f"{name}: {published.sources[name]}." for name in sources),
            "No value of BrgSA on CT-RATE, CT-RATE-LT or RAD-ChestCT was found in text that could be read.",
        ),
        measured_on="files of others, by their authors",
    )  # fmt: skip
