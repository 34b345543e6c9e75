"""The claims ledger as a table, for the paper's appendix."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark.reporting.table import Measured, Table, change, probability, words
from benchmark.reporting.tables import Material

PLACE = 90
NAME = "claims"


def tables(material: Material) -> Iterable[Table | None]:
    """One row a claim, with its verdict worded as `bench verify` words it."""
    judgements = material.judgements
    rows = [
        {
            "statement": j.statement,
            "cell": j.claim,
            "verdict": j.verdict,
            "answer": j.answer,
            "effect": Measured(j.effect, j.low, j.high),
            "p": j.p,
            "p_holm": j.p_holm,
            "datasets": ", ".join(j.datasets) or "–",
            "evidence": j.evidence,
        }
        for j in judgements
    ]
    table = Table(
        name=NAME,
        title="Claims of the papers and what these results say of them",
        columns=(
            words("statement", "Claim", csv=False), words("cell"), words("verdict", "Verdict", csv=False),
            words("answer"), change("effect", "Effect", ("effect", "low", "high")), probability("p"),
            probability("p_holm", "p (Holm)"), words("datasets", "Sets"),
            words("evidence", "Evidence", csv=False),
        ),
        rows=tuple(rows),
        notes=(
            "Effects are differences in the claim's metric with 95% intervals; p is two-sided against the "
            "claim's margin and Holm-corrected over the claims that were run.",
            "A verdict on synthetic twins is about the methods on synthetic images, not about patients.",
        ),
        synthetic=any(j.evidence != "official" for j in judgements if j.effect is not None),
    )  # fmt: skip
    return [table]
