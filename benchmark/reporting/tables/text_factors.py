"""Why whole reports fail: every combination of unit, negations and wording, and what each changes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from benchmark.reporting import columns as common
from benchmark.reporting.evidence import Evidence
from benchmark.reporting.factors import (
    FACTORS,
    SCORINGS,
    TEXT_FACTORS,
    datasets_of,
    designs,
    family_size,
    scored,
)
from benchmark.reporting.numbers import missing, percent
from benchmark.reporting.rows import MetricRow
from benchmark.reporting.table import Measured, Row, Table, change, count, estimate, probability, words
from benchmark.reporting.tables import Material

PLACE = 30
WHAT = (
    "Report: the selected sections as one text; sentence: one random sentence an image and step (RadZero: "
    "all as positives). Dropped: without sentences that only deny. Raw: as written; raw, unnamed: without "
    'sentences that state a finding by its bare name; aligned: "There is …".'
)
KINDS = {"average": "on average", "alone": "alone", "interaction": "together"}


def tables(material: Material) -> Iterable[Table | None]:
    return text_factors(material.evidence), text_factor_effects(material.evidence)


def text_factors(evidence: Evidence) -> Table:
    """One row a method, dataset and combination, with positive and with positive-negative prompts."""
    rows: list[Row] = []
    for cells in designs(evidence).values():
        for dataset in datasets_of(evidence):
            for levels, cell in cells.items():
                ours = evidence.value(cell, dataset)
                if ours is None:
                    continue
                both = scored(evidence, cell, SCORINGS[1])
                contrastive = evidence.value(both, dataset) if both else None
                pair = evidence.pair(both, cell, dataset) if both else None
                rows.append(
                    {
                        "method": evidence.cell(cell).title,
                        "dataset": dataset,
                        "cell": cell,
                        "seen": evidence.seen(cell, dataset),
                        **dict(zip(FACTORS, levels, strict=True)),
                        "ours": common.measured(ours),
                        "chance": against_chance(ours),
                        "contrastive": common.measured(contrastive),
                        "change": pair and Measured(pair["delta"], pair["low"], pair["high"]),
                        **_training(evidence, cell, dataset),
                        **common.counts(evidence.sets[dataset], ours),
                    }
                )
    return Table(
        name=TEXT_FACTORS,
        title="Why whole reports fail: unit, negations and wording of the training text",
        columns=(
            common.METHOD, common.DATASET, words("cell"), common.SEEN,
            *(words(name, name.capitalize()) for name in FACTORS),
            estimate("ours", '"There is X"'), words("chance", "Against 0.5"),
            estimate("contrastive", 'Less "There is no X"', "contrastive "),
            change("change", "Change by the negative", ("change value", "change low", "change high")),
            count("seeds", "Seeds"), count("trained", "Training images"), *common.COUNTS, common.ORIGIN,
        ),
        rows=tuple(rows),
        notes=(
            f"Macro AUROC, means over seeds; brackets hold {percent(evidence.level)} intervals over patients "
            "and, with several "
            "seeds, trainings. Against 0.5: where the whole interval lies.",
            WHAT,
            "Training images: those with a text left; an image whose report only denies has none without "
            "negations.",
        ),
        synthetic=evidence.synthetic(),
    )  # fmt: skip


def text_factor_effects(evidence: Evidence) -> Table:
    """One row a method, dataset, scoring and contrast; p corrected over all that params.yaml plans."""
    from benchmark.evaluation.statistics.multiplicity import holm

    effects = evidence.factor_effects
    size = family_size(evidence)
    adjusted = holm(np.array([e.p for e in effects], dtype=float), size)
    compared = designs(evidence)
    rows: list[Row] = [
        {
            "method": evidence.title(effect.method),
            "dataset": effect.dataset,
            "prompts": effect.scoring,
            "factor": factor_label(effect.name),
            "kind": KINDS[effect.kind],
            "over": effect.over,
            "change": Measured(
                effect.value, effect.low, effect.high, notes=(effect.note,) if effect.note else ()
            ),
            "p": effect.p,
            "p_holm": float(p),
            "seen": evidence.seen_by(list(compared[effect.method].values()), [effect.dataset]),
            "origin": evidence.origin(effect.dataset),
        }
        for effect, p in zip(effects, adjusted, strict=True)
    ]
    return Table(
        name="text_factor_effects",
        title="Why whole reports fail: what each part of the training text changes",
        columns=(
            common.METHOD, common.DATASET, words("prompts", "Prompts"), words("factor", "Factor"),
            words("kind", "Estimated"), count("over", "Over"), change("change", "Change in macro AUROC"),
            probability("p"), probability("p_holm", "p (Holm)"), common.SEEN, common.ORIGIN,
        ),
        rows=tuple(rows),
        notes=(
            "On average: mean over the combinations of the other factors that were trained with every level; "
            "Over: how many. Alone: the whole raw report with nothing else changed. Together: what two "
            "factors do beyond the sum of their own effects.",
            f"{percent(evidence.level)} intervals over patients (all cells on the same images) "
            "and trainings; p: Holm-corrected "
            "over the family.",
            WHAT,
        ),
        family=f"the {size} contrasts that the cells of params.yaml plan, whether or not they were run.",
        synthetic=evidence.synthetic(),
    )  # fmt: skip


def factor_label(name: str) -> str:
    """`negations: kept → dropped`; interactions keep their name."""
    if name.startswith("bare names"):
        return f"{name}: kept → dropped"
    if name not in FACTORS:
        return name
    first, second = FACTORS[name]
    return f"{name}: {first} → {second}"


def against_chance(row: MetricRow) -> str:
    """below, above or open: where the interval lies."""
    if missing(row["low"]) or missing(row["high"]):
        return "–"
    return "below" if row["high"] < 0.5 else "above" if row["low"] > 0.5 else "open"


def _training(evidence: Evidence, cell: str, dataset: str) -> Row:
    """Seeds that were evaluated, and images that each trained on."""
    seeds, runs = evidence.seeds, evidence.runs
    own = runs[runs["cell"] == cell] if len(runs) else runs
    return {
        "seeds": seeds.loc[(seeds["name"] == cell) & (seeds["dataset"] == dataset), "seed"].nunique(),
        "trained": int(own["train_images"].iloc[0]) if len(own) else None,
    }
