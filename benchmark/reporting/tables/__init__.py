"""The paper's tables from evidence: pure functions, one table each."""

from __future__ import annotations

from dataclasses import replace

from benchmark.reporting.evidence import Evidence
from benchmark.reporting.published import Published
from benchmark.reporting.table import Table
from benchmark.reporting.tables.ablation import ablation, sensitivity
from benchmark.reporting.tables.factors import text_factor_effects, text_factors
from benchmark.reporting.tables.rare import frequency, rare_disease
from benchmark.reporting.tables.tasks import cost, subgroups, task_names, task_table
from benchmark.reporting.tables.zero_shot import overview, zero_shot

__all__ = ["all_tables"]


def all_tables(evidence: Evidence, published: Published) -> list[Table]:
    """Every table that the evidence has rows for, in the order of the paper."""
    kinds = dict.fromkeys(
        c.table for c in evidence.cells.values() if c.table not in ("zero_shot", "text_factors")
    )
    kinds["prompt_alignment"] = None
    found = [
        overview(evidence),
        zero_shot(evidence, published),
        *[ablation(evidence, kind) for kind in kinds],
        sensitivity(evidence),
        text_factors(evidence),
        text_factor_effects(evidence),
        rare_disease(evidence),
        frequency(evidence),
        *[task_table(evidence, published, task) for task in task_names(evidence)],
        cost(evidence),
        subgroups(evidence),
    ]
    command = f"bench report tables --part {evidence.part}"
    return [replace(t, command=command, commit=evidence.commit) for t in found if t is not None and t.rows]
