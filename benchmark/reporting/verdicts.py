"""Claims against evidence: supported, contradicted, inconclusive or not run.

A verdict on twins always says so in the same words as the verdict; no result on synthetic images is ever
worded as one on patients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from benchmark.core.tables import TWIN_NOTICE
from benchmark.reporting.claims import Absolute, Claim, Gap, Interaction, Paired
from benchmark.reporting.effects import Effect, dataset_effect, effect_of, mean_effect, seed_values
from benchmark.reporting.evidence import SEPARATOR, Evidence
from benchmark.reporting.numbers import missing, p_text, signed_text

Answer = Literal["supported", "contradicted", "inconclusive", "not run"]
InteractionOf = Callable[[str, str, str, str, str], Effect | None]
"""(a, b, dataset, stratum, against) → the joint effect, or None where predictions are missing."""


@dataclass(frozen=True)
class Finding:
    """What the evidence says of one claim before correction. p: two-sided against the margin.

    towards: whether the effect lies on the claimed side of the margin. settled: the answer of claims that are
    not tests (absolute values). parts: effect per dataset.
    """

    effect: Effect | None
    p: float = float("nan")
    towards: bool = False
    settled: Answer | None = None
    parts: tuple[Effect, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Judgement:
    """verdict: the answer with its evidence, as printed. evidence: official, twin or none."""

    claim: str
    statement: str
    source: str
    answer: Answer
    verdict: str
    wording: str
    evidence: str
    effect: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    datasets: tuple[str, ...]
    parts: tuple[dict[str, Any], ...]
    note: str
    command: str
    required: bool = False
    needs: str = "official"

    @property
    def fails(self) -> bool:
        return self.required and self.answer == "contradicted"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def judge(claims: Sequence[Claim], evidence: Evidence | None, interaction: InteractionOf) -> list[Judgement]:
    """All claims, Holm-corrected over those that were tested. evidence None: nothing was run."""
    from benchmark.evaluation.statistics.multiplicity import holm

    findings = [
        Finding(None, why="nothing was summarised yet")
        if evidence is None
        else find(c, evidence, interaction)
        for c in claims
    ]
    adjusted = holm(np.array([f.p for f in findings], dtype=float))
    level = 0.95 if evidence is None else evidence.level
    return [
        _judgement(c, f, float(p), evidence, level)
        for c, f, p in zip(claims, findings, adjusted, strict=True)
    ]


def find(claim: Claim, evidence: Evidence, interaction: InteractionOf) -> Finding:
    """The effect of one claim's contrast."""
    match claim.contrast:
        case Paired() as contrast:
            return _paired(contrast, evidence)
        case Interaction() as contrast:
            return _interaction(contrast, evidence, interaction)
        case Gap() as contrast:
            return _gap(contrast, evidence)
        case Absolute() as contrast:
            return _absolute(contrast, evidence)


def _named(evidence: Evidence, cell: str, prompts: str | None) -> str:
    own = evidence.cells.get(cell)
    if prompts is None or own is None or prompts == own.prompts:
        return cell
    return f"{cell}{SEPARATOR}{prompts}"


def _missing_rows(evidence: Evidence, names: Sequence[str]) -> str:
    there = set(evidence.metrics["name"])
    absent = [n for n in names if n not in there]
    return f"no results of {', '.join(absent)}" if absent else ""


def _paired(contrast: Paired, evidence: Evidence) -> Finding:
    prompts = contrast.prompts
    a = _named(evidence, contrast.a, prompts.a if prompts else None)
    b = _named(evidence, contrast.b, prompts.b if prompts else None)
    if why := _missing_rows(evidence, [a, b]):
        return Finding(None, why=why)
    metric = contrast.metric.removesuffix("_macro")
    datasets = evidence.datasets if isinstance(contrast.datasets, str) else list(contrast.datasets)
    parts = tuple(
        e for d in datasets if (e := dataset_effect(evidence, a, b, d, contrast.stratum, metric)) is not None
    )
    if not parts or (not isinstance(contrast.datasets, str) and len(parts) < len(datasets)):
        return Finding(None, why=f"not compared on {', '.join(datasets)}")
    if contrast.datasets == "each":
        return _each(parts, contrast.margin)
    effect = mean_effect(evidence, a, b, datasets, contrast.stratum, metric)
    return _tested(effect, contrast.margin, parts)


def _each(parts: tuple[Effect, ...], margin: float) -> Finding:
    """Intersection-union: true where it is true on every set, so the largest p counts; one set that
    contradicts it suffices, so the smallest p of those counts, times the number of sets."""
    against = [e for e in parts if e.value <= margin]
    if not against:
        weakest = max(parts, key=lambda e: e.p_against(margin))
        return Finding(weakest, weakest.p_against(margin), True, parts=parts, why="weakest set shown")
    strongest = min(against, key=lambda e: e.p_against(margin))
    p = min(1.0, len(parts) * strongest.p_against(margin))
    return Finding(strongest, p, False, parts=parts, why="set that speaks most against it shown")


def _interaction(contrast: Interaction, evidence: Evidence, interaction: InteractionOf) -> Finding:
    if why := _missing_rows(evidence, [contrast.a, contrast.b]):
        return Finding(None, why=why)
    datasets = evidence.datasets if isinstance(contrast.datasets, str) else list(contrast.datasets)
    found = [interaction(contrast.a, contrast.b, d, contrast.stratum, contrast.against) for d in datasets]
    parts = tuple(e for e in found if e is not None and not missing(e.value))
    if not parts:
        return Finding(
            None, why=f"no class in stratum '{contrast.stratum}' or '{contrast.against}' has a value"
        )
    count = len(parts)
    if count == 1:
        return _tested(parts[0], contrast.margin, parts)
    variances = [e.se**2 / count**2 for e in parts]
    df = sum(variances) ** 2 / sum(v**2 / e.df for v, e in zip(variances, parts, strict=True))
    names = [d for e in parts for d in e.datasets]
    value = float(np.mean([e.value for e in parts]))
    return _tested(effect_of(value, sum(variances), df, evidence.level, names), contrast.margin, parts)


def _gap(contrast: Gap, evidence: Evidence) -> Finding:
    """b - a of a distance, so that a positive effect means that `a` is nearer. Interval over seeds only."""
    if why := _missing_rows(evidence, [contrast.a, contrast.b]):
        return Finding(None, why=why)
    parts = []
    datasets = evidence.datasets if isinstance(contrast.datasets, str) else list(contrast.datasets)
    for dataset in datasets:
        a, b = (
            seed_values(evidence, n, [dataset], contrast.stratum, metric)
            for n, metric in (
                (contrast.a, contrast.metric),
                (contrast.b, contrast.metric_b or contrast.metric),
            )
        )
        if len(a) == len(b) and len(a) > 1:
            paired = (b - a)[:, 0]
            parts.append(
                effect_of(
                    float(paired.mean()),
                    float(paired.var(ddof=1)) / len(paired),
                    len(paired) - 1,
                    evidence.level,
                    [dataset],
                    "interval over seeds only",
                )
            )
    if not parts:
        return Finding(
            None, why=f"no {contrast.metric} of {contrast.a} and {contrast.b} over two seeds or more"
        )
    if len(parts) == 1:
        return _tested(parts[0], contrast.margin, tuple(parts))
    return _each(tuple(parts), contrast.margin)


def _absolute(contrast: Absolute, evidence: Evidence) -> Finding:
    """Our value on official data in the published recipe, at most `margin` from the published one."""
    if why := _missing_rows(evidence, [contrast.a]):
        return Finding(None, why=why + "; needs the official checkpoint on official data")
    wanted = contrast.datasets if isinstance(contrast.datasets, tuple) else ()
    places = [
        d
        for d, about in evidence.sets.items()
        if about["dataset"] in wanted and about["origin"] == "official"
    ]
    dataset = next((d for d in places if evidence.value(contrast.a, d)), None)
    if dataset is None:
        return Finding(None, why="a synthetic twin cannot speak to a published number")
    about = evidence.sets[dataset]
    if about.get("official_images") and about["images"] != about["official_images"]:
        here = f"{about['images']:,} of the {about['official_images']:,} images"
        return Finding(None, why=f"{here} of the published list are here: not comparable")
    metric = contrast.metric.removesuffix("_macro")
    row = evidence.value(contrast.a, dataset, contrast.stratum, metric=metric)
    if row is None:
        return Finding(None, why=f"no {contrast.metric} on {dataset}")
    value = float(row["value"]) - contrast.published
    low = float("nan") if missing(row["low"]) else float(row["low"]) - contrast.published
    high = float("nan") if missing(row["high"]) else float(row["high"]) - contrast.published
    effect = Effect(value, low, high, float("nan"), 1.0, (dataset,), "ours minus published")
    if abs(value) <= contrast.margin:
        answer: Answer = "supported"
    elif low > contrast.margin or high < -contrast.margin:
        answer = "contradicted"
    else:
        answer = "inconclusive"
    return Finding(effect, settled=answer, parts=(effect,))


def _tested(effect: Effect | None, margin: float, parts: tuple[Effect, ...]) -> Finding:
    if effect is None:
        return Finding(None, why="not compared")
    return Finding(effect, effect.p_against(margin), effect.value > margin, parts=parts, why=effect.note)


def _judgement(
    claim: Claim, found: Finding, p_holm: float, evidence: Evidence | None, level: float
) -> Judgement:
    answer: Answer
    if found.effect is None:
        answer = "not run"
    elif found.settled is not None:
        answer = found.settled
    elif not p_holm < 1 - level:
        answer = "inconclusive"
    else:
        answer = "supported" if found.towards else "contradicted"
    datasets = tuple(dict.fromkeys(d for e in found.parts for d in e.datasets))
    level_of = "none"
    if evidence is not None and found.effect is not None:
        published = isinstance(claim.contrast, Absolute)
        level_of = "official" if published or not evidence.synthetic(list(datasets)) else "twin"
    settled = level_of == "official" or (level_of == "twin" and claim.needs == "twin")
    verdict, wording = _words(claim, answer, level_of, settled, datasets)
    effect = found.effect
    return Judgement(
        claim=claim.id,
        statement=claim.statement,
        source=f"{claim.source.paper}, {claim.source.where}",
        answer=answer,
        verdict=verdict,
        wording=wording,
        evidence=level_of,
        effect=None if effect is None else effect.value,
        low=None if effect is None or missing(effect.low) else effect.low,
        high=None if effect is None or missing(effect.high) else effect.high,
        p=None if missing(found.p) else float(found.p),
        p_holm=None if missing(p_holm) else p_holm,
        datasets=datasets,
        parts=tuple(
            {"dataset": ", ".join(e.datasets), "effect": e.value, "low": e.low, "high": e.high}
            for e in found.parts
        ),
        note=found.why,
        command=reproduce(claim),
        required=claim.required,
        needs=claim.needs,
    )


def _words(
    claim: Claim, answer: Answer, level: str, settled: bool, datasets: Sequence[str]
) -> tuple[str, str]:
    """(verdict, one sentence)."""
    if answer == "not run":
        return answer, "The results that this claim needs are not here."
    where = ", ".join(datasets)
    if level == "official":
        return answer, f"{answer.capitalize()} on official data ({where})."
    verdict = f"{answer} on synthetic twins"
    tail = "" if settled else f" The claim needs {claim.needs} data and stays open."
    return verdict, (
        f"{answer.capitalize()} on synthetic images ({where}, {TWIN_NOTICE}); "
        f"this is a result about the methods, not evidence about patients.{tail}"
    )


def reproduce(claim: Claim) -> str:
    """Commands that make what the verdict rests on, then the verdict."""
    contrast = claim.contrast
    cells = [contrast.a] if isinstance(contrast, Absolute) else [contrast.a, contrast.b]
    steps = []
    for cell in dict.fromkeys(cells):
        method = cell.removesuffix("-main")
        if cell.endswith("-official"):
            name = cell.removesuffix("-official")
            dataset = contrast.datasets[0] if isinstance(contrast.datasets, tuple) else "all"
            steps.append(f"bench run --method {name} --dataset {dataset} --data-root DIR --checkpoint FILE")
        elif cell.endswith("-main"):
            steps += [f"bench stage train {method}", f"bench stage evaluate {method}"]
        else:
            steps.append(f"bench stage cell {cell}")
    return " && ".join([*steps, "bench stage summarise all", f"bench verify {claim.id}"])


def report_text(judgements: Sequence[Judgement]) -> str:
    """The ledger for people: one block a claim, then a count."""
    lines = []
    for j in judgements:
        numbers = ""
        if j.effect is not None:
            corrected = "" if j.p_holm is None else f"  p {p_text(j.p_holm)} (Holm)"
            numbers = f"  effect {signed_text(j.effect, j.low, j.high)}{corrected}"
        required = "  (required)" if j.required else ""
        lines += [f"{j.claim}: {j.verdict.upper()}{required}{numbers}", f"  claim     {j.statement}"]
        lines += [f"  evidence  {j.evidence}: {j.wording}"]
        if len(j.parts) > 1:
            each = "; ".join(
                f"{p['dataset']} {signed_text(p['effect'], p['low'], p['high'])}" for p in j.parts
            )
            lines.append(f"  sets      {each}")
        if j.note:
            lines.append(f"  note      {j.note}")
        lines += [f"  source    {j.source}", f"  reproduce {j.command}", ""]
    counts = {
        v: sum(j.verdict == v for j in judgements) for v in dict.fromkeys(j.verdict for j in judgements)
    }
    lines.append("; ".join(f"{n} {verdict}" for verdict, n in counts.items()))
    return "\n".join(lines)
