"""How much the wording of the template at inference matters."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from benchmark.reporting import columns as common
from benchmark.reporting.evidence import Evidence
from benchmark.reporting.table import Row, Table, count, real, words
from benchmark.reporting.tables import Material
from benchmark.reporting.tables.ablation import label_of

PLACE = 20


def tables(material: Material) -> Iterable[Table | None]:
    return [sensitivity(material.evidence)]


def sensitivity(evidence: Evidence) -> Table:
    """Spread of the macro AUROC over paraphrased templates, per method and dataset."""
    rows: list[Row] = []
    for name in [n for n in evidence.cells if n in set(evidence.metrics["name"])]:
        own = [name, *[n for n in evidence.prompt_names(name) if is_template(evidence, n)]]
        for dataset in evidence.datasets:
            values = {n: r["value"] for n in own if (r := evidence.value(n, dataset)) is not None}
            if len(values) < 2:
                continue
            worst, top = min(values, key=lambda n: values[n]), max(values, key=lambda n: values[n])
            rows.append(
                {
                    "method": evidence.cell(name).title,
                    "cell": name,
                    "dataset": dataset,
                    "seen": evidence.seen(name, dataset),
                    "templates": len(values),
                    "min": values[worst],
                    "median": float(np.median(list(values.values()))),
                    "max": values[top],
                    "range": values[top] - values[worst],
                    "worst": label_of(evidence, worst),
                    "best": label_of(evidence, top),
                    "origin": evidence.origin(dataset),
                }
            )
    return Table(
        name="prompt_sensitivity",
        title="Sensitivity to the wording of the template at inference: macro AUROC",
        columns=(
            common.METHOD, words("cell"), common.DATASET, common.SEEN, count("templates", "Templates"),
            real("min", "Min"),
            real("median", "Median"), real("max", "Max"), real("range", "Range"), words("worst", "Worst"),
            words("best", "Best"), common.ORIGIN,
        ),
        rows=tuple(rows),
        notes=("Over the templates that were evaluated, with the same trained models.",),
        synthetic=evidence.synthetic(),
    )  # fmt: skip


def is_template(evidence: Evidence, name: str) -> bool:
    """Whether these other prompts differ from the cell's own in the wording of the template only."""
    found = evidence.seeds.loc[evidence.seeds["name"] == name, "label"]
    return not found.empty and str(found.iloc[0]).startswith("template:")
