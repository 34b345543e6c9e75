"""What each ingredient of a method is worth: contributions to a difference, which sum to it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from benchmark.evaluation.statistics.multiplicity import holm
from benchmark.reporting import columns as common
from benchmark.reporting.evidence import Evidence
from benchmark.reporting.numbers import percent
from benchmark.reporting.table import Measured, Row, Table, change, probability, words
from benchmark.reporting.tables import Material

PLACE = 12


def tables(material: Material) -> Iterable[Table | None]:
    return [attribution(material.evidence)]


def attribution(evidence: Evidence) -> Table:
    """One row an attribution, dataset and factor, then the whole difference."""
    found = evidence.contributions
    size = max(evidence.contributions_planned, len(found))
    adjusted = holm(np.array([c.p for c in found], dtype=float), size)
    rows: list[Row] = [
        {
            "comparison": own.label,
            "dataset": own.dataset,
            "factor": own.factor or "whole difference",
            "change": Measured(own.value, own.low, own.high, notes=(own.note,) if own.note else ()),
            "p": own.p,
            "p_holm": float(p),
            "seen": evidence.seen_by(own.cells, [own.dataset]),
            "origin": evidence.origin(own.dataset),
        }
        for own, p in zip(found, adjusted, strict=True)
    ]
    return Table(
        name="attribution",
        title="What each ingredient is worth: order-averaged contributions to macro AUROC",
        columns=(
            words("comparison", "Comparison"), common.DATASET, words("factor", "Ingredient"),
            change("change", "Contribution"), probability("p"), probability("p_holm", "p (Holm)"),
            common.SEEN, common.ORIGIN,
        ),
        rows=tuple(rows),
        notes=(
            "Every combination of the ingredients is a trained cell (`attribution` in params.yaml). A "
            "contribution is the mean, over all orders of adding the ingredients, of what adding it changes "
            "(Shapley value); the contributions of a comparison sum to its whole difference.",
            f"Brackets hold {percent(evidence.level)} intervals over patients (all cells on the same images) "
            "and, for cells with "
            "several seeds, trainings; the variance between trainings of a cell with one seed is taken from "
            "the others.",
            *(f"Not here: {why}." for why in evidence.contributions_lacking),
        ),
        family=f"the {size} ingredients and whole differences that params.yaml plans, on every set, whether "
        "or not they were run.",
        synthetic=evidence.synthetic(),
    )  # fmt: skip
