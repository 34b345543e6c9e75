"""What a training text is made of: unit, negations and wording, and which contrasts tell them apart."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import combinations, product

from benchmark.reporting.evidence import SEPARATOR, CellInfo, Evidence

FACTORS: dict[str, tuple[str, str]] = {
    "unit": ("report", "sentence"),
    "negations": ("kept", "dropped"),
    "wording": ("raw", "aligned"),
}
"""Factor of the training text → its two levels. The text that has the first level of every factor is the
whole report as it was written, which the other combinations are compared with."""
UNNAMED = "raw, unnamed"
"""A third wording: raw, without sentences that state a finding by its bare name."""
TEXT_FACTORS = "text_factors"
"""The `table` of cells that change what the training text is made of."""
TABLES = ("zero_shot", "prompt_alignment", TEXT_FACTORS)
SCORINGS = ("positive", "positive-negative")

Levels = tuple[str, str, str]
Weights = dict[Levels, float]


@dataclass(frozen=True)
class FactorContrast:
    """name: `negations`, `unit × negations`, ... kind: `average` (over the levels of the other factors),
    `alone` (the whole raw report, or a named unit, with this changed) or `interaction`.
    weights: levels → weight, sum 0. over: combinations of the other factors that it averages."""

    name: str
    kind: str
    weights: Weights
    over: int


def levels_of(cell: CellInfo) -> Levels | None:
    """(unit, negations, wording) of a cell that differs from its method's main cell in its texts only."""
    texts = cell.texts
    if cell.table not in TABLES or cell.changes or texts.wording not in FACTORS["wording"]:
        return None
    wording = UNNAMED if texts.bare_names == "drop" else texts.wording
    return texts.unit, "dropped" if texts.negations == "drop" else "kept", wording


def designs(evidence: Evidence) -> dict[str, dict[Levels, str]]:
    """Method → levels → cell with results, in the order of the levels; methods with a row of `text_factors`
    only."""
    return _designs(evidence, set(evidence.metrics["name"]))


def _designs(evidence: Evidence, present: Collection[str]) -> dict[str, dict[Levels, str]]:
    found: dict[str, dict[Levels, str]] = {}
    for cell in evidence.cells.values():
        levels = levels_of(cell)
        if levels is not None and cell.name in present:
            found.setdefault(cell.method, {}).setdefault(levels, cell.name)
    asked = {c.method for c in evidence.cells.values() if c.table == TEXT_FACTORS and c.name in present}
    wordings = ("raw", UNNAMED, "aligned")
    order = list(product(FACTORS["unit"], FACTORS["negations"], wordings))
    return {m: {x: own[x] for x in order if x in own} for m, own in found.items() if m in asked}


def family_size(evidence: Evidence) -> int:
    """Contrasts that the cells of params.yaml plan, with or without results: of each method, on each set and
    with each scoring."""
    cells = [c for c in evidence.cells.values() if c.table == TEXT_FACTORS]
    sets = {dataset for c in cells for dataset in c.evaluate}
    planned = sum(len(contrasts(own)) for own in _designs(evidence, evidence.cells).values())
    return planned * len(sets) * len(SCORINGS)


def datasets_of(evidence: Evidence) -> list[str]:
    """Where cells of `text_factors` were evaluated; other cells have results elsewhere too."""
    own = [c.name for c in evidence.cells.values() if c.table == TEXT_FACTORS]
    return [d for d in evidence.datasets if any(evidence.value(name, d) for name in own)]


def scored(evidence: Evidence, cell: str, scoring: str) -> str | None:
    """Name of a cell's row with positive prompts, or with its negations too; None where it has none."""
    if scoring == SCORINGS[0]:
        return cell
    labels = evidence.seeds[["name", "label"]].drop_duplicates().itertuples(index=False)
    names = [n for n, label in labels if str(n).startswith(cell + SEPARATOR) and label.startswith("pos-neg")]
    return names[0] if names else None


def contrasts(present: Collection[Levels]) -> list[FactorContrast]:
    """Average effects, effects on the whole raw report alone, and two-way interactions.

    Averages and interactions are over the combinations of the other factors of which every level is present;
    those without any are left out.
    """
    names, base = list(FACTORS), _changed(())
    found = []
    for k, name in enumerate(names):
        found += _over_the_rest(name, "average", [k], present)
        found.append(FactorContrast(name, "alone", {_changed([k]): 1.0, base: -1.0}, 1))
    found.append(FactorContrast("all three", "alone", {_changed(range(len(names))): 1.0, base: -1.0}, 1))
    units, (kept, _), (raw, _) = FACTORS.values()
    for unit in units:
        weights = {(unit, kept, UNNAMED): 1.0, (unit, kept, raw): -1.0}
        found.append(FactorContrast(f"bare names, {unit}", "alone", weights, 1))
    for i, j in combinations(range(len(names)), 2):
        found += _over_the_rest(f"{names[i]} × {names[j]}", "interaction", [i, j], present)
    return [c for c in found if set(c.weights) <= set(present)]


def _changed(factors: Collection[int]) -> Levels:
    """The whole raw report with the second level of these factors."""
    unit, negations, wording = (levels[k in factors] for k, levels in enumerate(FACTORS.values()))
    return unit, negations, wording


def _over_the_rest(
    name: str, kind: str, factors: list[int], present: Collection[Levels]
) -> list[FactorContrast]:
    """The effect of one factor, or what two do beyond the sum of their own, averaged over the others."""
    levels = list(FACTORS.values())
    blocks: dict[tuple[str, ...], Weights] = {}
    for unit, negations, wording in product(*levels):
        own = (unit, negations, wording)
        rest = tuple(level for k, level in enumerate(own) if k not in factors)
        odd = sum(own[k] == levels[k][0] for k in factors) % 2
        blocks.setdefault(rest, {})[own] = -1.0 if odd else 1.0
    whole = [block for block in blocks.values() if set(block) <= set(present)]
    if not whole:
        return []
    weights = {own: sign / len(whole) for block in whole for own, sign in block.items()}
    return [FactorContrast(name, kind, weights, len(whole))]
