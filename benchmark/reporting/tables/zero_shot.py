"""Table 1: zero-shot macro AUROC of every method on every evaluation set, beside published values."""

from __future__ import annotations

from typing import Any

from benchmark.reporting.evidence import Evidence, interval_text, signed_text
from benchmark.reporting.published import Published, compare_published
from benchmark.reporting.table import Column, Table
from benchmark.reporting.tables import common

SUBSETS = ("padchest20",)
"""Strata that papers print as an evaluation set of their own."""


def places(evidence: Evidence) -> list[tuple[str, str]]:
    """(dataset, stratum) of the rows: every set as a whole, then the subsets that papers print."""
    found = []
    for dataset in evidence.datasets:
        found.append((dataset, "all"))
        strata = set(evidence.metrics.loc[evidence.metrics["dataset"] == dataset, "stratum"])
        found += [(dataset, stratum) for stratum in SUBSETS if stratum in strata]
    return found


def place_title(dataset: str, stratum: str) -> str:
    return dataset if stratum == "all" else f"{dataset} ({stratum})"


def zero_shot(evidence: Evidence, published: Published) -> Table:
    """One row a dataset and method."""
    names = evidence.mains + official_names(evidence)
    ranks = evidence.ranking(names)
    notes = common.Footnotes()
    rows: list[dict[str, str]] = []
    raws: list[dict[str, Any]] = []
    best: set[tuple[int, str]] = set()
    for dataset, stratum in places(evidence):
        for name in names:
            ours = evidence.value(name, dataset, stratum)
            if ours is None:
                continue
            rank = ranks.get((name, dataset, stratum))
            base = str(evidence.sets[dataset]["dataset"])
            raw = _raw(evidence, published, name, dataset, stratum, ours, rank, names)
            printed = published.find(evidence.cell(name).title, base, stratum=stratum)
            doubts = [] if printed is None else _doubts(published, printed.notes, printed.source)
            if common.separable(rank):
                best.add((len(rows), "ours"))
            rows.append(
                {
                    "dataset": place_title(dataset, stratum),
                    "method": raw["method"],
                    "published": interval_text(raw["published"]) + notes.mark(doubts),
                    "ours": common.value_text(ours) + notes.mark(common.row_notes(ours)),
                    "difference": signed_text(raw["difference"]),
                    "verdict": raw["verdict"],
                    "mde": common.mde_text(raw["mde"]),
                    **common.rank_texts(raw),
                    **common.count_texts(raw),
                }
            )
            raws.append(raw)
    withheld = [f"Withheld: {w.method} ({w.source}): {w.why}" for w in published.withheld]
    return Table(
        name="zero_shot",
        title="Zero-shot classification: macro AUROC, published and measured here",
        columns=(
            Column("dataset", "Dataset", "left"),
            Column("method", "Method", "left"),
            Column("published", "Published"),
            Column("ours", "Ours"),
            Column("difference", "Difference"),
            Column("verdict", "Verdict", "left"),
            *common.RANK,
            common.MDE,
            *common.COUNTS,
            common.ORIGIN,
        ),
        rows=tuple(rows),
        raw=tuple(raws),
        best=frozenset(best),
        notes=(common.READING, *notes.notes, *withheld),
        synthetic=evidence.synthetic(),
    )


def official_names(evidence: Evidence) -> list[str]:
    """Cells that evaluated an official checkpoint."""
    present = set(evidence.metrics["name"])
    return [n for n, c in evidence.cells.items() if c.variant == "official" and n in present]


def _raw(
    evidence: Evidence,
    published: Published,
    name: str,
    dataset: str,
    stratum: str,
    ours: dict[str, Any],
    rank: dict[str, Any] | None,
    names: list[str],
) -> dict[str, Any]:
    cell = evidence.cell(name)
    base = str(evidence.sets[dataset]["dataset"])
    printed = published.find(cell.title, base, stratum=stratum)
    own = common.limits(ours)
    count = common.counts(evidence, dataset, ours)
    verdict = difference = None
    if printed is not None:
        found = compare_published(
            own["value"],
            own["low"],
            own["high"],
            printed.value,
            origin=str(count["origin"]),
            variant=cell.variant,
            images=int(count["images"]),
            published_images=published.images.get(base),
        )
        verdict = found.text
        difference = own["value"] - printed.value if found.comparable else None
    return {
        "dataset": dataset,
        "stratum": stratum,
        "cell": name,
        "method": cell.title + ("" if cell.main else f" ({cell.variant})"),
        "published": None if printed is None else printed.value,
        "published_source": None if printed is None else printed.source,
        "published_setting": None if printed is None else printed.setting,
        **own,
        "difference": difference,
        "verdict": verdict or "no published value",
        **common.rank_values(rank),
        "mde": common.mde(evidence, name, names, dataset, stratum),
        **count,
    }


def _doubts(published: Published, notes: tuple[str, ...], source: str) -> list[str]:
    return [f"Source: {published.sources[source]}.", *[published.notes[key] for key in notes]]


def overview(evidence: Evidence) -> Table:
    """Methods × datasets: the same values, one glance."""
    names = evidence.mains + official_names(evidence)
    ranks = evidence.ranking(names)
    where = places(evidence)
    rows: list[dict[str, str]] = []
    raws: list[dict[str, Any]] = []
    best: set[tuple[int, str]] = set()
    for index, name in enumerate(names):
        cell = evidence.cell(name)
        title = cell.title + ("" if cell.main else f" ({cell.variant})")
        row = {"method": title}
        raw: dict[str, Any] = {"cell": name, "method": title}
        for dataset, stratum in where:
            key = place_title(dataset, stratum)
            ours = evidence.value(name, dataset, stratum)
            rank = ranks.get((name, dataset, stratum))
            letters = "" if rank is None else f" {rank['groups']}"
            row[key] = common.value_text(ours) + (letters if ours is not None else "")
            raw |= common.limits(ours, f"{key} ")
            if common.separable(rank):
                best.add((index, key))
        rows.append(row)
        raws.append(raw)
    columns = [Column(place_title(d, s), f"{place_title(d, s)}") for d, s in where]
    return Table(
        name="overview",
        title="Zero-shot classification at a glance: macro AUROC",
        columns=(Column("method", "Method", "left"), *columns),
        rows=tuple(rows),
        raw=tuple(raws),
        best=frozenset(best),
        notes=(common.READING, *_sizes(evidence)),
        synthetic=evidence.synthetic(),
    )


def _sizes(evidence: Evidence) -> list[str]:
    return [
        f"{d}: {about['images']:,} images, {about['patients']:,} patients, {about['classes']} classes"
        for d, about in evidence.sets.items()
    ]
