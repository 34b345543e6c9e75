"""The claims ledger as a table, for the paper's appendix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmark.reporting.columns import SEEN
from benchmark.reporting.numbers import percent
from benchmark.reporting.table import Measured, Table, TableColumn, change, probability, real, words
from benchmark.reporting.tables import Material
from benchmark.reporting.verdicts import Judgement

PLACE = 90
NAME = "claims"


def tables(material: Material) -> Iterable[Table | None]:
    return [claims_table(material.judgements, material.evidence.level)]


def claims_table(judgements: Sequence[Judgement], level: float) -> Table:
    """One row a claim, with its verdict worded as `bench verify` words it. level: of the intervals."""
    rows = [
        {
            "statement": j.statement,
            "cell": j.claim,
            "verdict": j.verdict,
            "answer": j.answer,
            "effect": Measured(j.effect, j.low, j.high, notes=(j.note,) if j.note else ()),
            "note": j.note,
            "p": j.p,
            "p_corrected": j.p_corrected,
            "stability": j.stability,
            "family": j.family,
            "datasets": ", ".join(j.datasets) or "–",
            "level": j.evidence,
            "setting": j.setting or "–",
            "encoders": ", ".join(j.encoders),
            "seeds": ", ".join(f"{name} {count}" for name, count in j.seeds.items()),
            "seen": j.seen or "–",
        }
        for j in judgements
    ]
    return Table(
        name=NAME,
        title="Claims of the papers and what these results say of them",
        columns=(
            words("statement", "Claim", csv=False), words("cell"), words("verdict", "Verdict", csv=False),
            words("answer"), change("effect", "Effect", ("effect", "low", "high")), probability("p"),
            probability("p_corrected", "p (corrected)"), real("stability", "Stability", digits=2),
            words("family", "Family"),
            words("datasets", "Sets"), TableColumn("level", "Evidence", names=("evidence_level",), left=True),
            words("setting", "Setting"), SEEN, words("encoders"), words("seeds"),
            words("note"),
        ),
        rows=tuple(rows),
        notes=(
            f"Effects are differences in the claim's metric with {percent(level)} intervals; p is two-sided "
            "against the "
            "claim's margin (of published values: of two one-sided tests) times the claims of its family.",
            "Stability: share of all sets of seeds drawn again in which the test says the same; below 90% "
            "nothing is called supported or contradicted.",
            "A verdict on synthetic twins is about the methods on synthetic images, not about patients.",
        ),
        family="declared in reports/claims.yaml; claims that were not run count in the size of their family.",
        synthetic=any(j.evidence == "twin" for j in judgements if j.effect is not None),
    )  # fmt: skip
