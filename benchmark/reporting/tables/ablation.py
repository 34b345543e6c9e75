"""Tables 2 to 4: one thing changed at a time, each row paired with its method's main cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmark.reporting.effects import Effect, mean_effect
from benchmark.reporting.evidence import SEPARATOR, Evidence, interval_text, missing, p_text, signed_text
from benchmark.reporting.table import Column, Table
from benchmark.reporting.tables import common

TITLES = {
    "features": "Ablation: global features, local features, both",
    "similarity": "Ablation: similarity function under shared encoders",
    "prompt_alignment": "Ablation: prompt alignment in training and at inference",
    "positives": "Ablation: one sentence or several as positives of an image",
    "bank": "Ablation: knowledge bank",
}
AVERAGE = "average"


def ablation(evidence: Evidence, table: str) -> Table | None:
    """Rows of params.yaml's cells with this `table`, and for prompt alignment the inference prompts too."""
    groups = _groups(evidence, table)
    if not groups:
        return None
    rows: list[dict[str, str]] = []
    raws: list[dict[str, Any]] = []
    best: set[tuple[int, str]] = set()
    notes = common.Footnotes()
    for names in groups:
        ranks = evidence.ranking(names)
        for dataset in [*_shared(evidence, names), AVERAGE]:
            for name in names:
                raw = _row(evidence, name, names, dataset)
                if raw is None:
                    continue
                rank = ranks.get((name, dataset, "all"))
                raw |= common.rank_values(rank)
                if common.separable(rank):
                    best.add((len(rows), "ours"))
                raws.append(raw)
                rows.append(_texts(evidence, raw, notes))
    _correct(raws, rows)
    if not rows:
        return None
    return Table(
        name=table,
        title=TITLES.get(table, f"Ablation: {table.replace('_', ' ')}"),
        columns=(
            Column("method", "Method", "left"),
            Column("dataset", "Dataset", "left"),
            Column("row", "Variant", "left"),
            Column("ours", "Macro AUROC"),
            Column("difference", "Difference to main"),
            Column("p", "p (Holm)"),
            *common.RANK,
            common.MDE,
            *common.COUNTS,
            common.ORIGIN,
        ),
        rows=tuple(rows),
        raw=tuple(raws),
        best=frozenset(best),
        notes=(
            common.READING,
            "p: paired, Holm-corrected over all rows here; ranks correct within one method and dataset.",
            *notes.notes,
        ),
        synthetic=evidence.synthetic(),
    )


def label_of(evidence: Evidence, name: str) -> str:
    """How a table names a row: its label, its prompts, or that nothing was changed."""
    cell = evidence.cell(name)
    own = cell.row or ("unchanged" if cell.main else cell.variant)
    _, _, prompts = name.partition(SEPARATOR)
    if not prompts:
        return own
    found = evidence.seeds.loc[evidence.seeds["name"] == name, "label"]
    style, _, template = (prompts if found.empty else str(found.iloc[0])).partition(":")
    known = {"name": "bare class name", "ensemble": "ensemble of wordings", "template": f'"{template}"'}
    text = known.get(style, f'{style}, "{template}"' if template else style)
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
        main = f"{method}-main"
        names = [c.name for c in own if c.table == table and not c.main and c.name in present]
        if table == "prompt_alignment":
            names += [n for cell in (main, *names) for n in evidence.prompt_names(cell)]
        if names and main in present:
            found.append([main, *names])
    return found


def _shared(evidence: Evidence, names: Sequence[str]) -> list[str]:
    return [d for d in evidence.datasets if any(evidence.value(n, d) for n in names[1:])]


def _row(evidence: Evidence, name: str, names: Sequence[str], dataset: str) -> dict[str, Any] | None:
    cell, main = evidence.cell(name), names[0]
    label = label_of(evidence, name) if name != main else main_label(evidence, main, names)
    head = {"method": cell.title, "dataset": dataset, "cell": name, "row": label}
    if dataset == AVERAGE:
        return _average(evidence, name, main, head)
    ours = evidence.value(name, dataset)
    if ours is None:
        return None
    pair = None if name == main else evidence.pair(name, main, dataset)
    change = None if pair is None else {k: pair[k] for k in ("delta", "low", "high", "p", "mde")}
    return {**head, **common.limits(ours), **_change(change), **common.counts(evidence, dataset, ours)}


def _average(evidence: Evidence, name: str, main: str, head: dict[str, Any]) -> dict[str, Any] | None:
    """The mean over the datasets that this row and the main cell share; the difference has an interval."""
    shared = [d for d in evidence.datasets if evidence.value(name, d) and evidence.value(main, d)]
    if len(shared) < 2:
        return None
    values = [evidence.value(name, d)["value"] for d in shared]  # type: ignore[index]
    effect = None if name == main else mean_effect(evidence, name, main, shared)
    origins = {evidence.origin(d) for d in shared}
    about = [evidence.sets[d] for d in shared]
    return {
        **head,
        "value": float(np.mean(values)),
        "low": None,
        "high": None,
        **_change(_of(effect)),
        "images": sum(int(a["images"]) for a in about),
        "patients": sum(int(a["patients"]) for a in about),
        "positives": None,
        "origin": "twin" if "twin" in origins else "official",
    }


def _of(effect: Effect | None) -> dict[str, Any] | None:
    if effect is None:
        return None
    return {
        "delta": effect.value,
        "low": effect.low,
        "high": effect.high,
        "p": effect.p_against(0.0),
        "mde": None,
    }


def _change(found: dict[str, Any] | None) -> dict[str, Any]:
    keys = {"difference": "delta", "difference_low": "low", "difference_high": "high", "p": "p", "mde": "mde"}
    return {k: None if found is None or missing(found[v]) else found[v] for k, v in keys.items()}


def _texts(evidence: Evidence, raw: dict[str, Any], notes: common.Footnotes) -> dict[str, str]:
    ours = evidence.value(raw["cell"], raw["dataset"])
    return {
        "method": raw["method"],
        "dataset": raw["dataset"],
        "row": raw["row"],
        "ours": interval_text(raw["value"], raw["low"], raw["high"]) + notes.mark(common.row_notes(ours)),
        "difference": signed_text(raw["difference"], raw["difference_low"], raw["difference_high"]),
        "mde": common.mde_text(raw["mde"]),
        **common.rank_texts(raw),
        **common.count_texts(raw),
    }


def _correct(raws: list[dict[str, Any]], rows: list[dict[str, str]]) -> None:
    from benchmark.evaluation.statistics.multiplicity import holm

    p = np.array([np.nan if raw["p"] is None else raw["p"] for raw in raws], dtype=float)
    for raw, row, value in zip(raws, rows, holm(p), strict=True):
        raw["p_holm"] = None if np.isnan(value) else float(value)
        row["p"] = p_text(raw["p_holm"])


def sensitivity(evidence: Evidence) -> Table | None:
    """Spread of the macro AUROC over paraphrased templates, per method and dataset."""
    rows, raws = [], []
    for name in [n for n in evidence.cells if n in set(evidence.metrics["name"])]:
        own = [name, *[n for n in evidence.prompt_names(name) if is_template(evidence, n)]]
        for dataset in evidence.datasets:
            values = {n: r["value"] for n in own if (r := evidence.value(n, dataset)) is not None}
            if len(values) < 2:
                continue
            worst, top = min(values, key=lambda n: values[n]), max(values, key=lambda n: values[n])
            cell = evidence.cell(name)
            raw = {
                "method": cell.title,
                "cell": name,
                "dataset": dataset,
                "templates": len(values),
                "min": values[worst],
                "median": float(np.median(list(values.values()))),
                "max": values[top],
                "range": values[top] - values[worst],
                "worst": label_of(evidence, worst),
                "best": label_of(evidence, top),
                "origin": evidence.origin(dataset),
            }
            raws.append(raw)
            numbers = {k: f"{raw[k]:.3f}" for k in ("min", "median", "max", "range")}
            rows.append({**{k: str(v) for k, v in raw.items()}, **numbers, **_origin(raw)})
    if not rows:
        return None
    keys = ("method", "dataset", "templates", "min", "median", "max", "range", "worst", "best")
    left = ("method", "dataset", "worst", "best")
    return Table(
        name="prompt_sensitivity",
        title="Sensitivity to the wording of the template at inference: macro AUROC",
        columns=(
            *[Column(k, k.capitalize(), "left" if k in left else "right") for k in keys],
            common.ORIGIN,
        ),
        rows=tuple(rows),
        raw=tuple(raws),
        notes=("Over the templates that were evaluated, with the same trained models.",),
        synthetic=evidence.synthetic(),
    )


def _origin(raw: dict[str, Any]) -> dict[str, str]:
    from benchmark.reporting.evidence import notice

    return {"origin": notice(raw["origin"])}


def is_template(evidence: Evidence, name: str) -> bool:
    """Whether these other prompts differ from the cell's own in the wording of the template only."""
    found = evidence.seeds.loc[evidence.seeds["name"] == name, "label"]
    return not found.empty and str(found.iloc[0]).startswith("template:")
