"""Tables 6 and 7: grounding, segmentation, retrieval and modality gap, where their rows exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from benchmark.reporting.evidence import Evidence, interval_text, missing, signed_text
from benchmark.reporting.published import Published, compare_published
from benchmark.reporting.table import Column, Table
from benchmark.reporting.tables import common

if TYPE_CHECKING:
    import pandas as pd

TITLES = {
    "grounding": "Grounding: pointing game",
    "segmentation": "Segmentation: Dice and pixel AUROC",
    "retrieval": "Image-text retrieval and modality gap",
}


def task_names(evidence: Evidence) -> list[str]:
    return [t for t in dict.fromkeys(evidence.seeds["task"]) if t != "classification" and not missing(t)]


def task_table(evidence: Evidence, published: Published, task: str) -> Table:
    """One row a dataset, method and metric; macro rows and rows over all classes."""
    frame = evidence.seeds[evidence.seeds["task"] == task]
    keys = ["dataset", "name", "class", "stratum", "metric"]
    rows: list[dict[str, str]] = []
    raws: list[dict[str, Any]] = []
    notes = common.Footnotes()
    for key, part in frame.groupby(keys, sort=False, dropna=False):
        dataset, name, cls, stratum, metric = (str(k) for k in key)
        about = evidence.task_sets.get((task, dataset))
        if name not in evidence.cells or about is None:
            continue
        mean = _within(seed_mean(records(part), evidence.level), metric)
        cell = evidence.cell(name)
        count = common.counts_of(about, mean)
        base = str(about["dataset"])
        own = None if cls == "macro" else cls
        printed = published.find(cell.title, base, task=task, stratum=stratum, metric=metric, cls=own)
        doubts: list[str] = []
        verdict = "no published value"
        if printed is not None:
            doubts = [
                f"Source: {published.sources[printed.source]}.",
                *[published.notes[n] for n in printed.notes],
            ]
            verdict = compare_published(
                mean["value"],
                mean["low"],
                mean["high"],
                printed.value,
                origin=count["origin"],
                variant=cell.variant,
                images=int(count["images"]),
                published_images=published.images.get(base),
            ).text
        raw = {
            "dataset": dataset,
            "cell": name,
            "method": cell.title + ("" if cell.main else f" ({cell.row or cell.variant})"),
            "metric": metric,
            "class": cls,
            "stratum": stratum,
            "published": None if printed is None else printed.value,
            **common.limits(mean),
            "seeds": len(part),
            "verdict": verdict,
            **count,
        }
        raws.append(raw)
        rows.append(
            {
                **{k: str(raw[k]) for k in ("dataset", "method", "metric", "class", "verdict", "seeds")},
                "published": interval_text(raw["published"]) + notes.mark(doubts),
                "ours": interval_text(raw["value"], raw["low"], raw["high"])
                + notes.mark(common.row_notes(mean)),
                **common.count_texts(raw),
            }
        )
    return Table(
        name=task,
        title=TITLES.get(task, task.capitalize()),
        columns=(
            Column("dataset", "Dataset", "left"),
            Column("method", "Method", "left"),
            Column("metric", "Metric", "left"),
            Column("class", "Class", "left"),
            Column("published", "Published"),
            Column("ours", "Ours"),
            Column("verdict", "Verdict", "left"),
            Column("seeds", "Seeds"),
            *common.COUNTS,
            common.ORIGIN,
        ),
        rows=tuple(rows),
        raw=tuple(raws),
        notes=(
            "Means over seeds. The interval joins the mean interval of one seed (patients, shared by the "
            "seeds) with the spread of the seeds; it is conservative.",
            *notes.notes,
        ),
        synthetic=evidence.synthetic() or any(raw["origin"] == "twin" for raw in raws),
    )


def seed_mean(rows: list[dict[str, Any]], level: float) -> dict[str, Any]:
    """Mean over seeds of one quantity from rows that carry one seed's interval each.

    Var = mean of the seeds' own variances (their patients are the same) + spread of the seeds / S.
    """
    values = np.array([r["value"] for r in rows], dtype=float)
    known = rows[0]
    if np.isnan(values).any():
        return {**known, "value": None, "low": None, "high": None}
    half = np.array([(r["high"] - r["low"]) / 2 for r in rows], dtype=float)
    value = float(values.mean())
    if len(rows) == 1:
        return {**known, "low": common.known(known["low"]), "high": common.known(known["high"])}
    quantile = float(stats.norm.ppf(0.5 + level / 2))
    patients = float(np.nanmean(np.square(half / quantile))) if not np.isnan(half).all() else 0.0
    spread = float(values.var(ddof=1)) / len(values)
    total = patients + spread
    df = total**2 / (spread**2 / (len(values) - 1)) if spread > 0 else np.inf
    reach = float(stats.t.ppf(0.5 + level / 2, df)) * float(np.sqrt(total))
    return {**known, "value": value, "low": value - reach, "high": value + reach}


def _within(mean: dict[str, Any], metric: str) -> dict[str, Any]:
    """The interval of a share cut at 0 and 1, beyond which no share lies; gaps and cosines are no shares."""
    if "gap" in metric or "cosine" in metric or mean["low"] is None:
        return mean
    return {**mean, "low": max(mean["low"], 0.0), "high": min(mean["high"], 1.0)}


def subgroups(evidence: Evidence) -> Table | None:
    """Macro AUROC per level of sex, age band, view and site, and the gap between best and worst level."""
    rows: list[dict[str, str]] = []
    raws: list[dict[str, Any]] = []
    for dataset in evidence.datasets:
        here = evidence.metrics[
            (evidence.metrics["dataset"] == dataset) & (evidence.metrics["class"] == "macro")
        ]
        levels = [str(s) for s in dict.fromkeys(here["stratum"]) if "=" in str(s)]
        levels.sort(key=lambda s: (s.partition("=")[0], not s.partition("=")[2].startswith("<"), s))
        for group in dict.fromkeys(level.partition("=")[0] for level in levels):
            for name in evidence.mains:
                own = {
                    s.partition("=")[2]: evidence.value(name, dataset, s)
                    for s in levels
                    if s.startswith(f"{group}=")
                }
                known = {k: v for k, v in own.items() if v is not None}
                if not known:
                    continue
                gap = _gap(evidence, name, dataset, group)
                cell = evidence.cell(name)
                raw: dict[str, Any] = {"dataset": dataset, "method": cell.title, "cell": name}
                raw["subgroup"] = group
                raw |= {
                    f"{k} {field}": v[field] for k, v in known.items() for field in ("value", "low", "high")
                }
                raw |= common.limits(gap, "gap_") | {"origin": evidence.origin(dataset)}
                raws.append(raw)
                rows.append(
                    {
                        **{k: str(raw[k]) for k in ("dataset", "method", "subgroup")},
                        "levels": "; ".join(f"{k}: {common.value_text(v)}" for k, v in known.items()),
                        "gap": signed_text(raw["gap_value"], raw["gap_low"], raw["gap_high"]),
                        "note": "" if gap is None or missing(gap["note"]) else str(gap["note"]),
                        "origin": "SYNTHETIC TWIN" if raw["origin"] == "twin" else "official",
                    }
                )
    if not rows:
        return None
    left = {"dataset": "Dataset", "method": "Method", "subgroup": "Subgroup", "levels": "Levels"}
    return Table(
        name="subgroups",
        title="Subgroups: macro AUROC by sex, age, view and site",
        columns=(
            *[Column(k, title, "left") for k, title in left.items()],
            Column("gap", "Gap best − worst"),
            Column("note", "Levels of the gap (first seed)", "left"),
            common.ORIGIN,
        ),
        rows=tuple(rows),
        raw=tuple(raws),
        notes=(
            "A class enters where every level has enough positives. The gap's interval is Bonferroni over "
            "the pairs of levels, because the best and the worst are picked on the same data.",
        ),
        synthetic=evidence.synthetic(),
    )


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def _gap(evidence: Evidence, name: str, dataset: str, group: str) -> dict[str, Any] | None:
    frame = evidence.seeds
    own = frame[
        (frame["name"] == name)
        & (frame["dataset"] == dataset)
        & (frame["stratum"] == group)
        & (frame["metric"] == "auroc_gap")
    ]
    if own.empty:
        return None
    mean = seed_mean(records(own), evidence.level)
    if mean["low"] is not None and mean["low"] == mean["low"]:
        mean["low"] = max(mean["low"], 0.0)
    return mean


def cost(evidence: Evidence) -> Table | None:
    """What each cell's training took: means over seeds."""
    if evidence.runs.empty:
        return None
    rows: list[dict[str, str]] = []
    raws: list[dict[str, Any]] = []
    for name, part in evidence.runs.groupby("cell", sort=False):
        if str(name) not in evidence.cells:
            continue
        cell = evidence.cell(str(name))
        raw: dict[str, Any] = {
            "cell": name,
            "method": cell.title,
            "variant": cell.row or cell.variant,
            "seeds": len(part),
            "parameters": int(part["parameters_trained"].iloc[0]),
            "seconds": float(part["seconds"].mean()),
            "seconds_min": float(part["seconds"].min()),
            "seconds_max": float(part["seconds"].max()),
            "peak_memory_bytes": float(part["peak_memory_bytes"].mean()),
            "images_per_second": float(part["images_per_second"].mean()),
            "images_seen": int(part["images_seen"].mean()),
            "device": ", ".join(sorted(set(part["device"].astype(str)))),
        }
        raws.append(raw)
        rows.append(
            {
                "method": raw["method"],
                "variant": raw["variant"],
                "seeds": str(raw["seeds"]),
                "parameters": f"{raw['parameters']:,}",
                "seconds": f"{raw['seconds']:.0f} ({raw['seconds_min']:.0f}–{raw['seconds_max']:.0f})",
                "memory": f"{raw['peak_memory_bytes'] / 2**30:.2f}",
                "speed": f"{raw['images_per_second']:.0f}",
                "seen": f"{raw['images_seen']:,}",
                "device": raw["device"],
            }
        )
    if not rows:
        return None
    return Table(
        name="cost",
        title="Cost of training: parameters, time, memory, throughput",
        columns=(
            Column("method", "Method", "left"),
            Column("variant", "Variant", "left"),
            Column("seeds", "Seeds"),
            Column("parameters", "Parameters trained"),
            Column("seconds", "Seconds (range)"),
            Column("memory", "Peak memory, GiB"),
            Column("speed", "Images/s"),
            Column("seen", "Images seen"),
            Column("device", "Device", "left"),
        ),
        rows=tuple(rows),
        raw=tuple(raws),
        notes=(
            "Encoders are frozen and their features cached, so times are of the alignment alone. On a CPU a "
            "cell has one thread, and as many cells are trained at once as there are cores. "
            "Peak memory is of the whole process. Times depend on what else the machine did.",
        ),
        synthetic=evidence.synthetic(),
    )
