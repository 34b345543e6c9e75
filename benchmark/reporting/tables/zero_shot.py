"""Table 1: zero-shot macro AUROC of every method on every evaluation set, beside published values, and the
same values at one glance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from benchmark.reporting import columns as common
from benchmark.reporting.evidence import Evidence
from benchmark.reporting.published import Published
from benchmark.reporting.table import Measured, Row, Table, TableColumn, Value, estimate, words
from benchmark.reporting.tables import Material
from benchmark.reporting.tables.cost import FACTS, TRAINING, training_facts

PLACE = 0
SUBSETS = ("padchest20",)
"""Strata that papers print as an evaluation set of their own."""


def tables(material: Material) -> Iterable[Table]:
    return overview(material.evidence), zero_shot(material.evidence, material.published)


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


def rows_of(evidence: Evidence) -> list[str]:
    """Main cells, then cells that evaluated an official checkpoint."""
    present = set(evidence.metrics["name"])
    return [
        *evidence.mains,
        *(n for n, c in evidence.cells.items() if c.variant == "official" and n in present),
    ]


def unequal(evidence: Evidence) -> list[str]:
    """A note where the main cells did not see as many sentences and images in training: letters, ranks and
    verdicts between them are then not of methods alone."""
    runs, found = evidence.runs, []
    for fact in (own for own in ("sentences_seen", "images_seen") if own in runs):
        seen = {n: runs.loc[runs["cell"] == n, fact].dropna().mean() for n in evidence.mains}
        known = {evidence.cell(n).heading: int(mean) for n, mean in seen.items() if mean == mean}
        if len(set(known.values())) > 1:
            each = ", ".join(f"{heading} {count:,}" for heading, count in known.items())
            found.append(f"NOT AT EQUAL BUDGET: {fact.replace('_', ' ')} in training: {each}")
    return found


def _warned(
    evidence: Evidence, name: str, dataset: str, stratum: str, found: Measured | None
) -> Measured | None:
    """With a note where the row's whole set is not separable from the floor."""
    level = evidence.level_with_floor(name, dataset) if stratum == "all" else ""
    return replace(found, notes=(*found.notes, level)) if found is not None and level else found


def overview(evidence: Evidence) -> Table:
    """Methods × datasets: the same values, one glance."""
    ranking = evidence.ranking(evidence.declared_mains)
    columns = [
        TableColumn(title, title, estimate("").show, estimate("", prefix=f"{title} ").names)
        for title in (place_title(*place) for place in places(evidence))
    ]
    rows = []
    for name in rows_of(evidence):
        row: dict[str, Value] = {"cell": name, "method": evidence.cell(name).heading}
        row |= {"seen": evidence.seen_by([name], evidence.datasets), **training_facts(evidence, name)}
        for dataset, stratum in places(evidence):
            ours = evidence.value(name, dataset, stratum)
            found = common.measured(ours, ranking.get((name, dataset, stratum)))
            row[place_title(dataset, stratum)] = _warned(evidence, name, dataset, stratum, found)
        rows.append(row)
    for reference in evidence.beside:
        values = {place_title(*own): common.measured(reference.value(*own)) for own in places(evidence)}
        rows.append({"cell": reference.name, "method": reference.heading, **values})
    sizes = [
        f"{d}: {about['images']:,} images, {about['patients']:,} patients, {about['classes']} classes"
        for d, about in evidence.sets.items()
    ]
    return Table(
        name="overview",
        title="Zero-shot classification at a glance: macro AUROC",
        columns=(words("cell"), common.METHOD, *columns, *TRAINING, common.SEEN),
        rows=tuple(rows),
        notes=(
            *unequal(evidence),
            common.reading(evidence),
            FACTS,
            *common.floor_and_ceiling(evidence),
            *sizes,
        ),
        family=common.RANKING_FAMILY,
        synthetic=evidence.synthetic(),
    )


def zero_shot(evidence: Evidence, published: Published) -> Table:
    """One row a dataset and method."""
    names = rows_of(evidence)
    ranking = evidence.ranking(evidence.declared_mains)
    rows: list[Row] = []
    for dataset, stratum in places(evidence):
        for name in names:
            ours = evidence.value(name, dataset, stratum)
            if ours is None:
                continue
            cell, about = evidence.cell(name), evidence.sets[dataset]
            rank = ranking.get((name, dataset, stratum))
            rows.append(
                {
                    "place": place_title(dataset, stratum),
                    "dataset": dataset,
                    "stratum": stratum,
                    "cell": name,
                    "method": cell.heading,
                    "seen": evidence.seen(name, dataset),
                    "ours": _warned(
                        evidence, name, dataset, stratum, common.measured(ours, rank, letters=False)
                    ),
                    **common.beside_published(
                        published, about, cell.title, cell.variant, ours, stratum=stratum
                    ),
                    **common.ranks(rank),
                    **common.counts(about, ours),
                }
            )
        for reference in evidence.beside:
            ours = reference.value(dataset, stratum)
            if ours is not None:
                rows.append(
                    {
                        "place": place_title(dataset, stratum),
                        "dataset": dataset,
                        "stratum": stratum,
                        "cell": reference.name,
                        "method": reference.heading,
                        "ours": common.measured(ours),
                        **common.counts(evidence.sets[dataset], ours),
                    }
                )
    withheld = [f"Withheld: {w.method} ({w.source}): {w.why}" for w in published.withheld]
    return Table(
        name="zero_shot",
        title="Zero-shot classification: macro AUROC, published and measured here",
        columns=(
            words("place", "Dataset", csv=False), words("dataset"), words("stratum"), words("cell"),
            common.METHOD, common.SEEN,
            *common.PUBLISHED, common.OURS, *common.AGAINST_PUBLISHED, *common.RANK, *common.MDE,
            *common.COUNTS, common.ORIGIN,
        ),
        rows=tuple(rows),
        notes=(*unequal(evidence), common.reading(evidence), *common.floor_and_ceiling(evidence), *withheld),
        family=common.RANKING_FAMILY,
        synthetic=evidence.synthetic(),
    )  # fmt: skip
