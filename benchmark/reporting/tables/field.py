"""Printed values of the CT field with their doubts."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark.encoders.exposure import NOT_SAID, level
from benchmark.grid.parts import VOLUMES
from benchmark.official.seen import SEEN
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
            "seen": level(SEEN.get(row.method.lower(), NOT_SAID), row.dataset),
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
            common.DATASET, common.METHOD, common.SEEN, words("metric", "Metric"), real("printed", "Printed"),
            words("source", "Source"), words("doubts", "Doubts"),
        ),
        rows=tuple(rows),
        notes=(
            *(f"{name}: {published.sources[name]}." for name in sources),
            "Seen: of weights whose training benchmark/official/seen.py states with its source; of others "
            "nothing was read, so that they are unknown.",
            "No value of BrgSA on CT-RATE, CT-RATE-LT or RAD-ChestCT was found in text that could be read.",
        ),
        measured_on="files of others, by their authors",
    )  # fmt: skip
