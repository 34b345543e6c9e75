"""Claims against evidence: supported, contradicted, inconclusive, undefined or not run.

`docs/claims.md` holds every case of this logic as a table. A verdict says what it rests on, and one on twins
or with shared encoders says so in the same words as the verdict: no result on synthetic images is ever worded
as one on patients, and no result of another recipe as one of the published recipe.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from benchmark.core.tables import TWIN_NOTICE
from benchmark.evaluation.statistics.intervals import join
from benchmark.evaluation.statistics.stability import STABLE, is_stable
from benchmark.reporting.claims import Absolute, Claim
from benchmark.reporting.evidence import Evidence
from benchmark.reporting.findings import ClaimFinding, InteractionOf, find
from benchmark.reporting.numbers import known, missing, p_text, signed_text
from benchmark.reporting.stability import verdict_stability

Answer = Literal["supported", "contradicted", "inconclusive", "undefined", "not run"]
Level = Literal["official", "official data", "twin", "none"]
"""official: official data and the official setting (the published checkpoint); official data: with another
setting; twin: a synthetic image was trained or evaluated on."""


@dataclass(frozen=True)
class DatasetEffect:
    """The effect behind a claim on one set, or on those that one test joins."""

    dataset: str
    effect: float
    low: float
    high: float


@dataclass(frozen=True)
class Judgement:
    """verdict: the answer with its evidence, as printed. p_corrected: p times the claims of the declared
    family, run or not. datasets, setting, encoders, seeds (row → how many): what the verdict rests on.
    seen: by their weights, of these sets.
    stability: share of drawn sets of seeds in which the test says the same; None where it is not known, or
    there is no test."""

    claim: str
    statement: str
    source: str
    answer: Answer
    verdict: str
    wording: str
    evidence: Level
    effect: float | None
    low: float | None
    high: float | None
    p: float | None
    p_corrected: float | None
    family: str
    family_size: int
    datasets: tuple[str, ...]
    setting: str
    encoders: tuple[str, ...]
    seeds: dict[str, int]
    stability: float | None
    parts: tuple[DatasetEffect, ...]
    note: str
    command: str
    required: bool = False
    needs: str = "official"
    seen: str = ""

    @property
    def fails(self) -> bool:
        return self.required and self.answer == "contradicted"

    @property
    def run(self) -> bool:
        """Whether the claim was held against results; those not run and those without a test were not."""
        return self.answer not in ("not run", "undefined")

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def judge(claims: Sequence[Claim], evidence: Evidence | None, interaction: InteractionOf) -> list[Judgement]:
    """All claims of a ledger. evidence None: nothing was run.

    p is corrected by the number of claims of the family (Bonferroni): the steps of Holm would make the p of
    one claim depend on which others have results.
    """
    sizes = Counter(claim.family for claim in claims)
    nothing = ClaimFinding(None, why="nothing was summarised yet")
    return [
        judgement(
            c, nothing if evidence is None else find(c, evidence, interaction), sizes[c.family], evidence
        )
        for c in claims
    ]


def judgement(claim: Claim, found: ClaimFinding, family_size: int, evidence: Evidence | None) -> Judgement:
    """The verdict on one claim from what was found of it."""
    corrected = min(1.0, found.p * family_size) if not missing(found.p) else float("nan")
    level = 0.95 if evidence is None else evidence.level
    tested = answer_of(found, family_size, level)
    made = evidence is not None and found.effect is not None
    trained = (
        evidence is None
        or found.effect is None
        or any(evidence.cell(n).variant != "official" for n in found.names)
    )
    stability = (
        verdict_stability(found, lambda other: answer_of(other, family_size, level)) if trained else 1.0
    )
    answer = tested if is_stable(stability) or tested not in ("supported", "contradicted") else "inconclusive"
    datasets = tuple(dict.fromkeys(d for e in found.parts for d in e.datasets))
    kind = level_of(evidence, found.names, datasets) if made and evidence is not None else "none"
    setting, encoders, seeds = _basis(evidence, found.names, datasets) if made and evidence else ("", (), {})
    verdict = verdict_of(answer, kind)
    effect = found.effect
    return Judgement(
        claim=claim.id,
        statement=claim.statement,
        source=f"{claim.source.paper}, {claim.source.where}",
        answer=answer,
        verdict=verdict,
        wording=_wording(verdict, answer, kind, claim.needs, _rests_on(datasets, setting, encoders, seeds)),
        evidence=kind,
        effect=None if effect is None else effect.value,
        low=None if effect is None else known(effect.low),
        high=None if effect is None else known(effect.high),
        p=known(found.p),
        p_corrected=known(corrected),
        family=claim.family,
        family_size=family_size,
        datasets=datasets,
        setting=setting,
        encoders=encoders,
        seeds=seeds,
        stability=stability,
        parts=tuple(DatasetEffect(", ".join(e.datasets), e.value, e.low, e.high) for e in found.parts),
        note=join(found.why, _withheld(tested, answer, stability)),
        command=reproduce(claim),
        required=claim.required,
        needs=claim.needs,
        seen=evidence.seen_by(found.names, datasets) if made and evidence else "",
    )


def answer_of(found: ClaimFinding, family_size: int, level: float) -> Answer:
    """What the test says, where all results are there and it is honest."""
    if found.effect is None:
        return "undefined" if found.undefined else "not run"
    if not found.p * family_size < 1 - level:
        return "inconclusive"
    return "supported" if found.towards else "contradicted"


def _withheld(tested: Answer, answer: Answer, stability: float | None) -> str:
    """Why the verdict is not what the test says; empty where it is."""
    if tested == answer:
        return ""
    if stability is None:
        return f"{tested} by the test, but from one seed of each row: other seeds may say otherwise"
    return (
        f"{tested} by the test, but in {stability:.0%} of all sets of seeds drawn again (below {STABLE:.0%})"
    )


def level_of(evidence: Evidence, names: Sequence[str], datasets: Sequence[str]) -> Level:
    """What kind of evidence these rows on these sets are. Official checkpoints were not trained here."""
    checkpoints = all(evidence.cell(name).variant == "official" for name in names)
    if checkpoints and all(evidence.origin(d) == "official" for d in datasets):
        return "official"
    return "twin" if evidence.synthetic(datasets) else "official data"


def verdict_of(answer: Answer, level: Level) -> str:
    """The answer with what kind of evidence it rests on; plain only where that is the official setting."""
    tails = {
        "twin": " on synthetic twins",
        "official data": " on official data with shared encoders",
        "official": "",
        "none": "",
    }
    return answer + tails[level]


def settles(level: Level, needs: str) -> bool:
    """Whether evidence of this level can settle a claim: official claims need the official setting too."""
    return level == "official" or (needs == "twin" and level != "none")


def _basis(
    evidence: Evidence, names: Sequence[str], datasets: Sequence[str]
) -> tuple[str, tuple[str, ...], dict[str, int]]:
    """Setting, encoders and seeds behind these rows on these sets."""
    if all(evidence.cell(name).variant == "official" for name in names):
        setting = "official checkpoint"
    else:
        setting = f"shared encoders, {evidence.recipe} recipe"
    metrics, known_seeds = evidence.metrics, evidence.by_seed.seeds
    own = metrics["name"].isin(list(names)) & metrics["dataset"].isin(list(datasets))
    seeds = {name: len(set().union(*(known_seeds.get((name, d), ()) for d in datasets))) for name in names}
    return setting, tuple(map(str, metrics.loc[own, "encoder"].unique())), seeds


def _rests_on(datasets: Sequence[str], setting: str, encoders: Sequence[str], seeds: dict[str, int]) -> str:
    counts = set(seeds.values())
    if len(counts) == 1:
        (count,) = counts
        trained = f"{count} seed{'s' if count != 1 else ''}"
    else:
        trained = "seeds: " + ", ".join(f"{name} {count}" for name, count in seeds.items())
    return f"Rests on {', '.join(datasets)}; {setting} ({', '.join(encoders)}); {trained}."


def _wording(verdict: str, answer: Answer, level: Level, needs: str, rests_on: str) -> str:
    """The verdict in full sentences."""
    if answer == "not run":
        return "The results that this claim needs are not here."
    if answer == "undefined":
        return "There is no honest test of this claim on these results."
    said = [f"{verdict.capitalize()}."]
    if level == "official":
        said = [f"{answer.capitalize()} on official data in the official setting."]
    if level == "twin":
        said.append(
            f"{TWIN_NOTICE}: made on synthetic images; this is a result about the methods, not "
            "evidence about patients."
        )
    said.append(rests_on)
    if not settles(level, needs):
        said.append(f"The claim needs {NEEDS[needs]} and stays open.")
    return " ".join(said)


NEEDS = {"official": "official data in the official setting", "twin": "results"}


def reproduce(claim: Claim) -> str:
    """Commands that make what the verdict rests on, then the verdict."""
    contrast = claim.contrast
    if "-ct" in contrast.a:
        return f"bench stage ct && bench verify {claim.id}"
    cells = [contrast.a] if isinstance(contrast, Absolute) else [contrast.a, contrast.b]
    steps = []
    for cell in dict.fromkeys(cells):
        method = cell.removesuffix("-main")
        if cell.endswith("-official"):
            name = cell.removesuffix("-official")
            dataset = contrast.datasets[0] if isinstance(contrast.datasets, tuple) else "all"
            steps.append(f"bench run --method {name} --dataset {dataset} --data-root DIR --checkpoint FILE")
        elif cell.endswith("-main"):
            steps.append(f"bench stage cell {method}")
        else:
            steps.append(f"bench stage cell {cell}")
    return " && ".join([*steps, "bench stage summarise all", f"bench verify {claim.id}"])


def report_text(judgements: Sequence[Judgement]) -> str:
    """The ledger for people: one block a claim, then a count."""
    lines = []
    for j in judgements:
        numbers = ""
        if j.effect is not None:
            corrected = "" if j.p_corrected is None else f"  p {p_text(j.p_corrected)} (of {j.family_size})"
            stable = "" if j.stability is None else f"  stability {j.stability:.0%}"
            numbers = f"  effect {signed_text(j.effect, j.low, j.high)}{corrected}{stable}"
        required = "  (required)" if j.required else ""
        lines += [f"{j.claim}: {j.verdict.upper()}{required}{numbers}", f"  claim     {j.statement}"]
        lines += [f"  evidence  {j.evidence}: {j.wording}"]
        if len(j.parts) > 1:
            each = "; ".join(f"{p.dataset} {signed_text(p.effect, p.low, p.high)}" for p in j.parts)
            lines.append(f"  sets      {each}")
        if j.note:
            lines.append(f"  note      {j.note}")
        lines += [f"  source    {j.source}", f"  reproduce {j.command}", ""]
    counts = {
        v: sum(j.verdict == v for j in judgements) for v in dict.fromkeys(j.verdict for j in judgements)
    }
    lines.append("; ".join(f"{n} {verdict}" for verdict, n in counts.items()))
    return "\n".join(lines)
