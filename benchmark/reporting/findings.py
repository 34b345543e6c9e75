"""What the results say of one claim's contrast, before any correction: an effect with its p, or why there is
none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmark.evaluation.statistics.distributions import norm_ppf, norm_sf
from benchmark.evaluation.statistics.effects import Effect, mean_over_sets, over_seeds_only
from benchmark.reporting.claims import Absolute, Claim, Contrast, Gap, Interaction, Paired, TaskMetric
from benchmark.reporting.effects import paired_effects, seed_values, task_effect
from benchmark.reporting.evidence import SEPARATOR, Evidence
from benchmark.reporting.numbers import missing

InteractionOf = Callable[[str, str, str, str, str], Effect | None]
"""(a, b, dataset, stratum, against) → the joint effect, without a standard error where it cannot be tested;
None where predictions are missing."""


@dataclass(frozen=True)
class ClaimFinding:
    """p: of the test that decides, two-sided against the margin (of an absolute claim: of the two one-sided
    tests). towards: whether the effect lies on the claimed side. parts: effect per dataset. names: the rows
    that were asked. undefined: made, but without an honest test, as `why` says. again: what would be found of
    the same parts with other values; None where the rows were not trained here."""

    effect: Effect | None
    p: float = float("nan")
    towards: bool = False
    parts: tuple[Effect, ...] = ()
    names: tuple[str, ...] = ()
    undefined: bool = False
    why: str = ""
    again: Callable[[tuple[Effect, ...]], ClaimFinding] | None = None


def find(claim: Claim, evidence: Evidence, interaction: InteractionOf) -> ClaimFinding:
    """The effect of one claim's contrast on every set that the claim names or params.yaml plans."""
    match claim.contrast:
        case Paired() as contrast:
            return _paired(contrast, evidence)
        case Interaction() as contrast:
            return _interaction(contrast, evidence, interaction)
        case Gap() as contrast:
            return _gap(contrast, evidence)
        case TaskMetric() as contrast:
            return _task(contrast, evidence)
        case Absolute() as contrast:
            return _absolute(contrast, evidence)


def _named(evidence: Evidence, cell: str, prompts: str | None) -> str:
    own = evidence.cells.get(cell)
    if prompts is None or own is None or prompts == own.prompts:
        return cell
    return f"{cell}{SEPARATOR}{prompts}"


def _absent(evidence: Evidence, names: Sequence[str]) -> str:
    absent = [n for n in names if n not in evidence.names]
    return f"no results of {', '.join(absent)}" if absent else ""


def planned(contrast: Contrast, evidence: Evidence, names: Sequence[str]) -> list[str]:
    """The sets that a claim rests on: those it names, or all that params.yaml plans for every one of its
    rows, whether or not they were run."""
    if isinstance(contrast.datasets, tuple):
        return list(contrast.datasets)
    plans = [evidence.planned(name, contrast.metric.removesuffix("_macro")) for name in names]
    return [dataset for dataset in plans[0] if all(dataset in plan for plan in plans)]


def _incomplete(
    found: Sequence[Effect], wanted: Sequence[str], names: tuple[str, ...], reasons: dict[str, str]
) -> ClaimFinding | None:
    """Why the claim has no verdict where a set is missing or cannot be tested; None where all are there."""
    there = {d for e in found for d in e.datasets}
    lacking = [d for d in wanted if d not in there]
    if wanted and not lacking:
        return None
    if reasons:
        why = "; ".join(f"{d}: {reason}" for d, reason in reasons.items())
        return ClaimFinding(None, names=names, undefined=True, why=f"cannot be tested on {why}")
    if not wanted:
        why = "params.yaml plans no evaluation set that all its rows share"
        return ClaimFinding(None, names=names, why=why)
    count = f"{len(there)} of {len(wanted)} sets"
    return ClaimFinding(None, names=names, why=f"compared on {count}; missing: {', '.join(lacking)}")


def _paired(contrast: Paired, evidence: Evidence) -> ClaimFinding:
    prompts = contrast.prompts
    a = _named(evidence, contrast.a, prompts.a if prompts else None)
    b = _named(evidence, contrast.b, prompts.b if prompts else None)
    if why := _absent(evidence, [a, b]):
        return ClaimFinding(None, why=why)
    metric = contrast.metric.removesuffix("_macro")
    datasets = planned(contrast, evidence, [a, b])
    parts = tuple(paired_effects(evidence, a, b, datasets, contrast.stratum, metric))
    untested = [d for d in datasets if d not in {d for e in parts for d in e.datasets}]
    rows = {d: evidence.pair(a, b, d, contrast.stratum, metric=metric) for d in untested}
    reasons = {d: str(row["undefined"] or row["note"]) for d, row in rows.items() if row is not None}
    if (lacking := _incomplete(parts, datasets, (a, b), reasons)) is not None:
        return lacking
    if contrast.datasets == "each":
        return _each(parts, contrast.margin, (a, b))
    return _tested(mean_over_sets(parts, evidence.level), contrast.margin, parts, (a, b))


def _each(parts: tuple[Effect, ...], margin: float, names: tuple[str, ...]) -> ClaimFinding:
    """Intersection-union: true where it is true on every set, so the largest p counts; one set that
    contradicts it suffices, so the smallest p of those counts, times the number of sets."""

    def again(moved: tuple[Effect, ...]) -> ClaimFinding:
        return _each(moved, margin, names)

    against = [e for e in parts if e.value <= margin]
    if not against:
        weakest = max(parts, key=lambda e: e.p_against(margin))
        p, why = weakest.p_against(margin), "weakest set shown"
        return ClaimFinding(weakest, p, True, parts, names, why=why, again=again)
    strongest = min(against, key=lambda e: e.p_against(margin))
    p, why = min(1.0, len(parts) * strongest.p_against(margin)), "set that speaks most against it shown"
    return ClaimFinding(strongest, p, False, parts, names, why=why, again=again)


def _interaction(contrast: Interaction, evidence: Evidence, interaction: InteractionOf) -> ClaimFinding:
    names = (contrast.a, contrast.b)
    if why := _absent(evidence, names):
        return ClaimFinding(None, why=why)
    datasets = planned(contrast, evidence, names)
    found = {d: interaction(*names, d, contrast.stratum, contrast.against) for d in datasets}
    parts = tuple(e for e in found.values() if e is not None and not missing(e.se))
    reasons = {d: e.note for d, e in found.items() if e is not None and missing(e.se)}
    if (lacking := _incomplete(parts, datasets, names, reasons)) is not None:
        return lacking
    mean = mean_over_sets(parts, evidence.level)
    return _tested(mean, contrast.margin, parts, names)


def _gap(contrast: Gap, evidence: Evidence) -> ClaimFinding:
    """b - a of a distance, so that a positive effect means that `a` is nearer. Interval over seeds only; over
    several sets it must hold on each."""
    names = (contrast.a, contrast.b)
    if why := _absent(evidence, names):
        return ClaimFinding(None, why=why)
    parts = []
    datasets = planned(contrast, evidence, names)
    for dataset in datasets:
        a, b = (
            seed_values(evidence, n, [dataset], contrast.stratum, metric)
            for n, metric in zip(names, (contrast.metric, contrast.metric_b or contrast.metric), strict=True)
        )
        if len(a) == len(b) and len(a) > 1:
            parts.append(over_seeds_only((b - a)[:, 0], evidence.level, dataset))
    if (lacking := _incomplete(parts, datasets, names, {})) is not None:
        return lacking
    if len(parts) == 1:
        return _tested(parts[0], contrast.margin, tuple(parts), names)
    return _each(tuple(parts), contrast.margin, names)


def _task(contrast: TaskMetric, evidence: Evidence) -> ClaimFinding:
    """a - b of a metric of another task; over several sets it must hold on each, as their patients' parts
    are not known apart from the seeds'."""
    names = (contrast.a, contrast.b)
    if why := _absent(evidence, names):
        return ClaimFinding(None, why=why)
    datasets = planned(contrast, evidence, names)
    metrics = (contrast.metric, contrast.metric_b or contrast.metric)
    made = {d: task_effect(evidence, names, metrics, d, contrast.stratum) for d in datasets}
    parts = tuple(e for e in made.values() if e is not None)
    if (lacking := _incomplete(parts, datasets, names, {})) is not None:
        return lacking
    if len(parts) == 1:
        return _tested(parts[0], contrast.margin, parts, names)
    return _each(parts, contrast.margin, names)


def _absolute(contrast: Absolute, evidence: Evidence) -> ClaimFinding:
    """Our value on official data in the published recipe against the published one, by two one-sided tests of
    the margin: supported where both hold, contradicted where the value lies beyond the margin by a test."""
    if why := _absent(evidence, [contrast.a]):
        return ClaimFinding(None, why=why + "; needs the official checkpoint on official data")
    names = (contrast.a,)
    wanted = contrast.datasets if isinstance(contrast.datasets, tuple) else ()
    places = [
        d
        for d, about in evidence.sets.items()
        if about["dataset"] in wanted and about["origin"] == "official"
    ]
    dataset = next((d for d in places if evidence.value(contrast.a, d)), None)
    if dataset is None:
        return ClaimFinding(None, names=names, why="a synthetic twin cannot speak to a published number")
    about = evidence.sets[dataset]
    if about.get("official_images") and about["images"] != about["official_images"]:
        here = f"{about['images']:,} of the {about['official_images']:,} images"
        return ClaimFinding(None, names=names, why=f"{here} of the published list are here: not comparable")
    row = evidence.value(contrast.a, dataset, contrast.stratum, metric=contrast.metric.removesuffix("_macro"))
    if row is None:
        return ClaimFinding(None, names=names, why=f"no {contrast.metric} on {dataset}")
    if missing(row["low"]) or missing(row["high"]):
        return ClaimFinding(
            None, names=names, undefined=True, why=f"no interval of {contrast.metric} on {dataset}"
        )
    value, low, high = (float(row[k]) - contrast.published for k in ("value", "low", "high"))
    effect = Effect(value, low, high, float("nan"), 1.0, (dataset,), "ours minus published")
    p, towards = equivalence(value, low, high, contrast.margin, evidence.level)
    return ClaimFinding(effect, p, towards, (effect,), names, why=effect.note)


def equivalence(value: float, low: float, high: float, margin: float, level: float) -> tuple[float, bool]:
    """Two one-sided tests of |difference| < margin from an interval (Schuirmann 1987): (p, whether the value
    lies inside). Outside, p is two-sided against the nearer end of the margin.

    Each side has its own standard error, the distance to its limit in units of the normal quantile, as the
    interval is not symmetric.
    """
    quantile = float(norm_ppf(0.5 + level / 2))
    below, above = ((value - low) / quantile, (high - value) / quantile)
    if abs(value) < margin:
        return max(_upper(value + margin, below), _upper(margin - value, above)), True
    beyond = _upper(value - margin, below) if value > 0 else _upper(-margin - value, above)
    return min(1.0, 2 * beyond), False


def _upper(distance: float, se: float) -> float:
    """P(Z > distance / se)."""
    if se <= 0:
        return 0.0 if distance > 0 else 0.5
    return float(norm_sf(distance / se))


def _tested(effect: Effect, margin: float, parts: tuple[Effect, ...], names: tuple[str, ...]) -> ClaimFinding:
    """The test of a mean over parts. With other values of the parts its standard error stays."""

    def again(moved: tuple[Effect, ...]) -> ClaimFinding:
        mean = float(np.mean([e.value for e in moved]))
        return _tested(replace(effect, value=mean), margin, moved, names)

    towards = effect.value > margin
    return ClaimFinding(effect, effect.p_against(margin), towards, parts, names, why=effect.note, again=again)
