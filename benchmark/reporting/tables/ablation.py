"""Tables 2 to 4: one thing changed at a time, each row paired with its method's main cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from benchmark.evaluation.statistics.effects import Effect
from benchmark.grid.parts import OF_ENCODERS
from benchmark.reporting import columns as common
from benchmark.reporting.effects import dataset_effect, mean_effect
from benchmark.reporting.evidence import SEPARATOR, Evidence
from benchmark.reporting.factors import TEXT_FACTORS
from benchmark.reporting.numbers import known
from benchmark.reporting.rows import RankRow
from benchmark.reporting.table import Measured, Row, Table, change, estimate, probability, words
from benchmark.reporting.tables import Material
from benchmark.reporting.tables.cost import FACTS, TRAINING, training_facts

PLACE = 10
TITLES = {
    "features": "Ablation: global features, local features, both",
    "similarity": "Ablation: similarity function under shared encoders",
    "prompt_alignment": "Ablation: prompt alignment in training and at inference",
    "positives": "Ablation: one sentence or several as positives of an image",
    "bank": "Ablation: knowledge bank",
    "labels": "Ablation: labels that soft targets compare",
    "size": "Ablation: layers of attention and width",
    "published": "Ablation: layers of attention, and sentences, as published",
    "summarisation": "Ablation: semantic summarisation of the training reports",
}
AVERAGE = "average"
UNLIKE = "the averages beside it are over different sets"
APART = (TEXT_FACTORS, *OF_ENCODERS)
"""Tables of their own kind: `tables/text_factors.py`, `tables/encoders.py`."""


def tables(material: Material) -> Iterable[Table | None]:
    """One for each `table` that cells of params.yaml name, and the one of inference prompts."""
    return [ablation(material.evidence, kind) for kind in kinds(material.evidence)]


def kinds(evidence: Evidence) -> list[str]:
    own = dict.fromkeys(c.table for c in evidence.cells.values() if c.ablation and c.table not in APART)
    return list(own | {"prompt_alignment": None})


def ablation(evidence: Evidence, table: str) -> Table | None:
    """Rows of params.yaml's cells with this `table`, and for prompt alignment the inference prompts too."""
    rows: list[Row] = []
    values: list[float] = []
    effects: list[Effect | None] = []
    for names in _groups(evidence, table):
        ranking = evidence.ranking(names, _planned_rows(evidence, names[0], table))
        for dataset in [*_shared(evidence, names), AVERAGE]:
            for name in names:
                rank = ranking.get((name, dataset, "all"))
                row = _row(evidence, name, names, dataset, rank)
                measured = None if row is None else row["ours"]
                if row is None or not isinstance(measured, Measured):
                    continue
                effect, undefined = to_main(evidence, name, names[0], dataset)
                if effect is not None:
                    undefined = Measured(effect.value, effect.low, effect.high)
                own = {"difference": undefined, "mde": None, "mde_undefined": None}
                rows.append({**row, **common.ranks(rank), **own})
                values.append(float("nan") if measured.value is None else measured.value)
                effects.append(effect)
    if not rows:
        return None
    size = family_size(evidence, table)
    corrections = _corrected(effects, values, size, evidence.level)
    rows = [{**row, **corrected} for row, corrected in zip(rows, corrections, strict=True)]
    return Table(
        name=table,
        title=TITLES.get(table, f"Ablation: {table.replace('_', ' ')}"),
        columns=(
            common.METHOD, common.DATASET, words("cell"), words("row", "Variant"),
            common.SEEN, estimate("ours", "Macro AUROC"),
            change("difference", "Difference to main"), probability("p"), probability("p_holm", "p (Holm)"),
            *common.RANK, *common.MDE, *common.COUNTS, common.ORIGIN,
        ),
        rows=tuple(rows),
        notes=(
            common.reading(evidence),
            "p: paired, Holm-corrected over the family; ranks correct within one method and dataset. MDE is "
            "of the difference to the main row here, at the level of its corrected p.",
        ),
        family=f"the {size} differences that params.yaml plans for this table, whether or not they were run.",
        synthetic=evidence.synthetic(),
    )  # fmt: skip


def with_training(evidence: Evidence, made: Table) -> Table:
    """The table with what training each row cost and whether it had converged, and a note of the cells that
    params.yaml plans for it and that have no results."""
    rows = [
        {**row, **training_facts(evidence, str(row["cell"]).partition(SEPARATOR)[0])} for row in made.rows
    ]
    present = set(evidence.metrics["name"])
    planned = [c for c in evidence.cells.values() if c.table == made.name and c.ablation]
    absent = [c.name for c in planned if c.name not in present]
    lacking = (f"Not here, without results: {', '.join(absent)}.",) if absent else ()
    return replace(
        made,
        rows=tuple(rows),
        columns=(*made.columns[:-1], *TRAINING, made.columns[-1]),
        notes=(*made.notes, FACTS, *lacking),
    )


def family_size(evidence: Evidence, table: str) -> int:
    """Differences to a main cell that params.yaml plans: one a row and evaluation set, and their average."""
    sizes = []
    for cell in evidence.cells.values():
        if cell.table == table and cell.ablation:
            sizes.append(len(cell.evaluate))
        if table == "prompt_alignment" and (cell.main or cell.table == table):
            sizes += [len(cell.prompted_on)] * cell.more_prompts
    return sum(sets + (sets > 1) for sets in sizes)


def _planned_rows(evidence: Evidence, main: str, table: str) -> int:
    """Rows that one method has in the table once everything that params.yaml plans was run."""
    own = [c for c in evidence.cells.values() if c.method == evidence.cell(main).method]
    cells = [c for c in own if c.table == table and c.ablation]
    prompted = [c for c in own if c.main or c.table == table] if table == "prompt_alignment" else []
    return 1 + len(cells) + sum(c.more_prompts for c in prompted)


def label_of(evidence: Evidence, name: str) -> str:
    """How a table names a row: its label, its prompts, or that nothing was changed."""
    cell = evidence.cell(name)
    own = cell.row or ("unchanged" if cell.main else cell.variant)
    _, _, prompts = name.partition(SEPARATOR)
    if not prompts:
        return own
    found = evidence.seeds.loc[evidence.seeds["name"] == name, "label"]
    style, _, template = (prompts if found.empty else str(found.iloc[0])).partition(":")
    known_styles = {
        "name": "bare class name",
        "ensemble": "ensemble of wordings",
        "template": f'"{template}"',
    }
    text = known_styles.get(style, f'{style}, "{template}"' if template else style)
    return f"inference prompt: {text}" if cell.main else f"{own}, inference prompt: {text}"


def main_label(evidence: Evidence, main: str, names: Sequence[str]) -> str:
    """`unchanged (head: mlp)`: what the main cell has where the other rows of the group differ."""
    keys = dict.fromkeys(key for n in names for key in evidence.cell(n).changes)
    runs = evidence.runs[evidence.runs["cell"] == main] if len(evidence.runs) else evidence.runs
    options = runs["options"].iloc[0] if len(runs) else {}
    own = ", ".join(f"{key}: {options[key]}" for key in keys if key in options)
    return f"unchanged ({own})" if own else "unchanged"


def _groups(evidence: Evidence, table: str) -> list[list[str]]:
    """Names per method, its main cell first."""
    present = set(evidence.metrics["name"])
    found = []
    for method in dict.fromkeys(cell.method for cell in evidence.cells.values()):
        own = [c for c in evidence.cells.values() if c.method == method]
        main = next((c.name for c in own if c.main), "")
        names = [c.name for c in own if c.table == table and not c.main and c.name in present]
        if table == "prompt_alignment":
            names += [n for cell in (main, *names) for n in evidence.prompt_names(cell)]
        if names and main in present:
            found.append([main, *names])
    return found


def _shared(evidence: Evidence, names: Sequence[str]) -> list[str]:
    return [d for d in evidence.datasets if any(evidence.value(n, d) for n in names[1:])]


def _row(
    evidence: Evidence, name: str, names: Sequence[str], dataset: str, rank: RankRow | None
) -> Row | None:
    cell, main = evidence.cell(name), names[0]
    label = label_of(evidence, name) if name != main else main_label(evidence, main, names)
    head = {"method": cell.title, "dataset": dataset, "cell": name, "row": label}
    if dataset == AVERAGE:
        return _average(evidence, name, names, head)
    ours = evidence.value(name, dataset)
    if ours is None:
        return None
    return {
        **head,
        "seen": evidence.seen(name, dataset),
        "ours": common.measured(ours, rank, letters=False),
        **common.counts(evidence.sets[dataset], ours),
    }


def _average(evidence: Evidence, name: str, names: Sequence[str], head: Row) -> Row | None:
    """The mean over the datasets that this row and the main cell share; the difference has an interval. The
    main cell's own is over the sets of the averages beside it, so that they can be compared: there is none
    where no row beside it has an average, and a dash where these are over different sets."""
    main = names[0]
    shared = _shared_with(evidence, name, main)
    if name == main:
        beside = dict.fromkeys(tuple(_shared_with(evidence, other, main)) for other in names[1:])
        averaged = [sets for sets in beside if len(sets) > 1]
        if len(averaged) > 1:
            return {**head, "ours": Measured(None, notes=(UNLIKE,))}
        shared = [*averaged[0]] if averaged else []
    if len(shared) < 2:
        return None
    values = [evidence.value(name, d)["value"] for d in shared]  # type: ignore[index]
    about = [evidence.sets[d] for d in shared]
    return {
        **head,
        "seen": evidence.seen_by([name], shared),
        "ours": Measured(float(np.mean(values))),
        "images": sum(int(a["images"]) for a in about),
        "patients": sum(int(a["patients"]) for a in about),
        "origin": "twin" if "twin" in {evidence.origin(d) for d in shared} else "official",
    }


def _shared_with(evidence: Evidence, name: str, main: str) -> list[str]:
    return [d for d in evidence.datasets if evidence.value(name, d) and evidence.value(main, d)]


def to_main(evidence: Evidence, name: str, main: str, dataset: str) -> tuple[Effect | None, Measured | None]:
    """The difference to the main row, or the value that has no honest test, with the reason. An average has a
    test where every set has one."""
    sets = _shared_with(evidence, name, main) if dataset == AVERAGE else [dataset]
    pairs = [evidence.pair(name, main, d) for d in sets]
    made = [pair for pair in pairs if pair is not None]
    if name == main or len(made) < len(sets):
        return None, None
    untested = {
        d: str(pair["undefined"] or pair["note"])
        for d, pair in zip(sets, made, strict=True)
        if dataset_effect(evidence, name, main, d, "all", "auroc") is None
    }
    if not untested:
        return mean_effect(evidence, name, main, sets), None
    notes = tuple(f"{d}: {reason}" for d, reason in untested.items())
    return None, Measured(float(np.mean([pair["delta"] for pair in made])), notes=notes)


def _corrected(
    effects: Sequence[Effect | None], values: Sequence[float], size: int, level: float
) -> list[Row]:
    """p, corrected p and minimum detectable difference of each test in a family of `size`; values: of the
    rows, which differ by these effects from their main rows."""
    from benchmark.evaluation.statistics.multiplicity import holm, holm_levels
    from benchmark.evaluation.statistics.paired import minimum_detectable
    from benchmark.evaluation.statistics.reach import WITHHELD, within_reach

    p = np.array([np.nan if e is None else e.p_against(0.0) for e in effects])
    levels = 1 - holm_levels(p, 1 - level, size)
    found: list[Row] = []
    for e, value, own, corrected, confidence in zip(effects, values, p, holm(p, size), levels, strict=True):
        chances: Row = {"p": known(own), "p_holm": known(corrected)}
        if e is None:
            found.append(chances)
            continue
        least = float(minimum_detectable(e.se, e.df, confidence, 0.8))
        printed = float(within_reach(least, min(value, value - e.value)))
        why = WITHHELD if np.isnan(printed) and not np.isnan(least) else ""
        found.append({**chances, **common.detectable(printed, why)})
    return found
