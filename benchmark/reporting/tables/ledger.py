"""The claims ledger as a table, for the paper's appendix."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.reporting.evidence import p_text, signed_text
from benchmark.reporting.table import Column, Table
from benchmark.reporting.verdicts import Judgement


def ledger(judgements: Sequence[Judgement], *, part: str, commit: str) -> Table:
    """One row a claim, with its verdict worded as `bench verify` words it."""
    rows = tuple(
        {
            "claim": j.statement,
            "verdict": j.verdict,
            "effect": signed_text(j.effect, j.low, j.high),
            "p": p_text(j.p_holm),
            "datasets": ", ".join(j.datasets) or "–",
            "evidence": j.evidence,
        }
        for j in judgements
    )
    raw: tuple[dict[str, object], ...] = tuple(
        {
            "cell": j.claim,
            "answer": j.answer,
            "effect": j.effect,
            "low": j.low,
            "high": j.high,
            "p": j.p,
            "p_holm": j.p_holm,
            "datasets": ", ".join(j.datasets),
            "evidence_level": j.evidence,
        }
        for j in judgements
    )
    return Table(
        name="claims",
        title="Claims of the papers and what these results say of them",
        columns=(
            Column("claim", "Claim", "left"),
            Column("verdict", "Verdict", "left"),
            Column("effect", "Effect"),
            Column("p", "p (Holm)"),
            Column("datasets", "Sets", "left"),
            Column("evidence", "Evidence", "left"),
        ),
        rows=rows,
        raw=raw,
        notes=(
            "Effects are differences in the claim's metric with 95% intervals; p is two-sided against the "
            "claim's margin and Holm-corrected over the claims that were run.",
            "A verdict on synthetic twins is about the methods on synthetic images, not about patients.",
        ),
        synthetic=any(j.evidence != "official" for j in judgements if j.effect is not None),
        command=f"bench report tables --part {part}",
        commit=commit,
    )
