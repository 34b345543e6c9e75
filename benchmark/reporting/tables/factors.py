"""Why whole reports fail: every combination of unit, negations and wording, and what each changes."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmark.reporting.evidence import (
    TITLES,
    Evidence,
    count_text,
    interval_text,
    missing,
    notice,
    p_text,
    signed_text,
)
from benchmark.reporting.factors import FACTORS, SCORINGS, datasets_of, designs, scored
from benchmark.reporting.table import Column, Table
from benchmark.reporting.tables import common

WHAT = (
    "Report: the selected sections as one text; sentence: one random sentence an image and step (RadZero: "
    "all as positives). Dropped: without sentences that only deny. Raw: as written; raw, unnamed: without "
    'sentences that state a finding by its bare name; aligned: "There is …".'
)


def text_factors(evidence: Evidence) -> Table | None:
    """One row a method, dataset and combination, with positive and with positive-negative prompts."""
    rows: list[dict[str, str]] = []
    raws: list[dict[str, Any]] = []
    notes = common.Footnotes()
    for method, cells in designs(evidence).items():
        for dataset in datasets_of(evidence):
            for levels, cell in cells.items():
                ours = evidence.value(cell, dataset)
                if ours is None:
                    continue
                both = scored(evidence, cell, SCORINGS[1])
                contrastive = evidence.value(both, dataset) if both else None
                pair = evidence.pair(both, cell, dataset) if both else None
                raw: dict[str, Any] = {
                    "method": TITLES.get(method, method),
                    "dataset": dataset,
                    "cell": cell,
                    **dict(zip(FACTORS, levels, strict=True)),
                    **common.limits(ours),
                    "chance": against_chance(ours),
                    **common.limits(contrastive, "contrastive "),
                    **{f"change {k}": None if pair is None else pair[v] for k, v in _CHANGE.items()},
                    **_training(evidence, cell, dataset),
                    **common.counts(evidence, dataset, ours),
                }
                raws.append(raw)
                rows.append(
                    {
                        **{k: str(raw[k]) for k in ("method", "dataset", *FACTORS, "chance")},
                        "ours": interval_text(raw["value"], raw["low"], raw["high"])
                        + notes.mark(common.row_notes(ours)),
                        "contrastive": interval_text(
                            *(raw[f"contrastive {k}"] for k in ("value", "low", "high"))
                        ),
                        "change": signed_text(*(raw[f"change {k}"] for k in _CHANGE)),
                        "seeds": count_text(raw["seeds"]),
                        "trained": count_text(raw["trained"]),
                        **common.count_texts(raw),
                    }
                )
    if not rows:
        return None
    return Table(
        name="text_factors",
        title="Why whole reports fail: unit, negations and wording of the training text",
        columns=(
            Column("method", "Method", "left"),
            Column("dataset", "Dataset", "left"),
            *(Column(name, name.capitalize(), "left") for name in FACTORS),
            Column("ours", '"There is X"'),
            Column("chance", "Against 0.5", "left"),
            Column("contrastive", 'Less "There is no X"'),
            Column("change", "Change by the negative"),
            Column("seeds", "Seeds"),
            Column("trained", "Training images"),
            *common.COUNTS,
            common.ORIGIN,
        ),
        rows=tuple(rows),
        raw=tuple(raws),
        notes=(
            "Macro AUROC, means over seeds; brackets hold 95% intervals over patients and, with several "
            "seeds, trainings. Against 0.5: where the whole interval lies.",
            WHAT,
            "Training images: those with a text left; an image whose report only denies has none without "
            "negations.",
            *notes.notes,
        ),
        synthetic=evidence.synthetic(),
    )


def text_factor_effects(evidence: Evidence) -> Table | None:
    """One row a method, dataset, scoring and contrast; p corrected over the rows."""
    from benchmark.evaluation.statistics.multiplicity import holm

    effects = evidence.factor_effects
    if not effects:
        return None
    adjusted = holm(np.array([e.p for e in effects], dtype=float))
    rows, raws = [], []
    notes = common.Footnotes()
    for effect, p in zip(effects, adjusted, strict=True):
        raw = {
            "method": TITLES.get(effect.method, effect.method),
            "dataset": effect.dataset,
            "prompts": effect.scoring,
            "factor": factor_label(effect.name),
            "kind": KINDS[effect.kind],
            "over": effect.over,
            "change": effect.value,
            "change_low": effect.low,
            "change_high": effect.high,
            "p": effect.p,
            "p_holm": float(p),
            "origin": evidence.origin(effect.dataset),
        }
        raws.append(raw)
        change = signed_text(effect.value, effect.low, effect.high)
        rows.append(
            {
                **{k: str(raw[k]) for k in ("method", "dataset", "prompts", "factor", "kind", "over")},
                "change": change + notes.mark([effect.note] if effect.note else []),
                "p": p_text(float(p)),
                "origin": notice(evidence.origin(effect.dataset)),
            }
        )
    return Table(
        name="text_factor_effects",
        title="Why whole reports fail: what each part of the training text changes",
        columns=(
            Column("method", "Method", "left"),
            Column("dataset", "Dataset", "left"),
            Column("prompts", "Prompts", "left"),
            Column("factor", "Factor", "left"),
            Column("kind", "Estimated", "left"),
            Column("over", "Over"),
            Column("change", "Change in macro AUROC"),
            Column("p", "p (Holm)"),
            common.ORIGIN,
        ),
        rows=tuple(rows),
        raw=tuple(raws),
        notes=(
            "On average: mean over the combinations of the other factors that were trained with every level; "
            "Over: how many. Alone: the whole raw report with nothing else changed. Together: what two "
            "factors do beyond the sum of their own effects.",
            "95% intervals over patients (all cells on the same images) and trainings; p: Holm-corrected "
            "over all rows here.",
            WHAT,
            *notes.notes,
        ),
        synthetic=evidence.synthetic(),
    )


KINDS = {"average": "on average", "alone": "alone", "interaction": "together"}
_CHANGE = {"value": "delta", "low": "low", "high": "high"}


def factor_label(name: str) -> str:
    """`negations: kept → dropped`; interactions keep their name."""
    if name.startswith("bare names"):
        return f"{name}: kept → dropped"
    if name not in FACTORS:
        return name
    first, second = FACTORS[name]
    return f"{name}: {first} → {second}"


def against_chance(row: dict[str, Any]) -> str:
    """below, above or open: where the interval lies."""
    if missing(row["low"]) or missing(row["high"]):
        return "–"
    return "below" if row["high"] < 0.5 else "above" if row["low"] > 0.5 else "open"


def _training(evidence: Evidence, cell: str, dataset: str) -> dict[str, Any]:
    """Seeds that were evaluated, and images that each trained on."""
    seeds, runs = evidence.seeds, evidence.runs
    own = runs[runs["cell"] == cell] if len(runs) else runs
    return {
        "seeds": seeds.loc[(seeds["name"] == cell) & (seeds["dataset"] == dataset), "seed"].nunique(),
        "trained": int(own["train_images"].iloc[0]) if len(own) else None,
    }
