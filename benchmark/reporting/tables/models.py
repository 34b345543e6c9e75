"""Models of two towers that were trained elsewhere: apart from rows of equal budget."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark.reporting import columns as common
from benchmark.reporting.evidence import Evidence
from benchmark.reporting.table import Row, Table, change, probability, words
from benchmark.reporting.tables import Material

PLACE = 5


def tables(material: Material) -> Iterable[Table | None]:
    return [models(material.evidence)]


def models(evidence: Evidence) -> Table:
    """One row a dataset and model."""
    rows: list[Row] = []
    for dataset in evidence.datasets:
        for name, cell in evidence.cells.items():
            ours = evidence.value(name, dataset) if cell.variant == "model" else None
            if ours is None:
                continue
            effect = evidence.model_effects.get((name, dataset))
            rows.append(
                {
                    "dataset": dataset,
                    "cell": name,
                    "method": cell.heading,
                    "seen": evidence.seen(name, dataset),
                    "ours": common.measured(ours),
                    "to_clip": None if effect is None else effect[:3],
                    "p_holm": None if effect is None else effect[3],
                    **common.counts(evidence.sets[dataset], ours),
                }
            )
    return Table(
        name="models",
        title="Models of two towers, trained elsewhere: macro AUROC",
        columns=(
            common.DATASET, words("cell"), words("method", "Model"), common.SEEN, common.OURS,
            change("to_clip", "Difference to CLIP trained here"), probability("p_holm", "Holm p"),
            *common.COUNTS, common.ORIGIN,
        ),
        rows=tuple(rows),
        notes=(
            "No row of equal budget: data, size and training of a model are its own. Difference: to the main "
            "cell of CLIP, which is scored alike, paired over patients.",
        ),
        family="the models of one evaluation set.",
        synthetic=evidence.synthetic(),
    )  # fmt: skip
