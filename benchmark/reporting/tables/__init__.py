"""The paper's tables. A module of this folder with a function `tables` and a number PLACE is found by itself:

tables(material) -> iterable of tables, None for those that the evidence has no rows for
PLACE            its place among the others, smallest first
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmark.exchange.registry import SubmittedRow
from benchmark.reporting.columns import on_planes, signed
from benchmark.reporting.evidence import Evidence
from benchmark.reporting.gains import Gain
from benchmark.reporting.predictions import Held
from benchmark.reporting.published import Published
from benchmark.reporting.table import Table
from benchmark.reporting.verdicts import Judgement


@dataclass(frozen=True)
class Material:
    """What tables are made of. judgements: of the claims; none where they were not asked for. submitted: rows
    that others computed. predictions: held against the results. gains: by size of lesions and by prompt."""

    evidence: Evidence
    published: Published
    judgements: Sequence[Judgement] = ()
    submitted: Sequence[SubmittedRow] = ()
    predictions: Sequence[Held] = ()
    gains: Sequence[Gain] = ()


def all_tables(material: Material) -> list[Table]:
    """Every table that the evidence has rows for, in the order of the paper."""
    modules = [
        importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)
    ]
    makers = sorted((m for m in modules if hasattr(m, "tables")), key=lambda m: (m.PLACE, m.__name__))
    made = [table for maker in makers for table in maker.tables(material) if table is not None]
    command = f"bench report tables --part {material.evidence.part}"
    return [
        signed(
            replace(table, notes=(*table.notes, *on_planes(material.evidence, table.rows))),
            command,
            material.evidence.commit,
        )
        for table in made
        if table.rows
    ]
