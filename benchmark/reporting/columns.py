"""What the tables share: their columns of counts and ranks, and how a metric row becomes a cell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from benchmark.core.tables import TWIN_NOTICE
from benchmark.encoders.exposure import READING as READING_SEEN
from benchmark.evaluation.statistics.stability import is_stable
from benchmark.grid.parts import VOLUMES
from benchmark.reporting.evidence import Evidence
from benchmark.reporting.numbers import known, missing, percent
from benchmark.reporting.published import Published, compare_published
from benchmark.reporting.rows import MetricRow, RankRow, SetFacts
from benchmark.reporting.table import (
    Measured,
    Row,
    Table,
    TableColumn,
    Value,
    change,
    count,
    estimate,
    real,
    words,
)


def _span(value: tuple[float, float, float]) -> str:
    """`2`, or `2–4` where the tests allow several ranks."""
    if missing(value):
        return "–"
    _, low, high = (int(v) for v in value)
    return str(low) if low == high else f"{low}–{high}"


def _notice(origin: str) -> str:
    return TWIN_NOTICE if origin == "twin" else "official"


DATASET = words("dataset", "Dataset")
METHOD = words("method", "Method")
COUNTS = (count("images", "Images"), count("patients", "Patients"), count("positives", "Positives"))
SEEN = words("seen", "Seen")
ORIGIN = TableColumn("origin", "Data", _notice, ("origin",), left=True)
RANK = (
    TableColumn("rank", "Rank", _span, ("rank", "rank_low", "rank_high")),
    words("group", "Group"),
    real("stability", "Stability", digits=2),
)
MDE = (
    TableColumn("mde", "MDE", lambda v: real("").show(v[0] if isinstance(v, tuple) else v), ("mde",)),
    words("mde_undefined"),
)
OURS = estimate("ours", "Ours")
PUBLISHED = (
    TableColumn("published", "Published", estimate("").show, ("published",)),
    words("published_source"),
    words("published_setting"),
)
AGAINST_PUBLISHED = (change("difference", "Difference", ("difference",)), words("verdict", "Verdict"))
RANKING_FAMILY = (
    "the pairs of all methods of params.yaml within one evaluation set and stratum; methods without results "
    "count in its size."
)

ON_PLANES = {
    "brgsa": "BrgSA is a method for CT volumes: here its projections and its bank run on plane features of "
    "the shared encoder, so that its rows compare the alignment and say nothing of the published model on CT."
}
"""Method → what a table of radiographs says of it, where it was published for volumes."""


def reading(evidence: Evidence) -> str:
    """How values, letters and their columns are read, at the level and the power that were asked for."""
    return (
        f"Values are means over seeds; brackets hold {percent(evidence.level)} intervals over patients "
        "(resampled whole) and seeds. "
        "Bold: separable from every other row of its group by Holm-corrected paired tests, and in at least "
        "90% of all sets of seeds drawn again. Rows that share a letter are not separable. "
        "Stability: share of these sets in which the letters stay; ~ after letters: below 90%, or not known. "
        "MDE: smallest true difference to the best other row that this corrected test finds with "
        f"{percent(evidence.power)} power; none where the lower of the two values leaves less than that to 1."
    )


def measured(row: MetricRow | None, rank: RankRow | None = None, *, letters: bool = True) -> Measured | None:
    """A metric row as a cell, with its notes; with a ranking's row, whether it is best, and its letters where
    they have no column of their own. A ranking without an honest test gives a dash and its reason."""
    if row is None:
        return None
    notes = [row.get("note"), unranked(rank)]
    own = "" if rank is None or not letters else marked_letters(rank)
    texts = tuple(str(note) for note in notes if note and not missing(note))
    return Measured(row["value"], row["low"], row["high"], own, texts, separable(rank))


def marked_letters(rank: RankRow) -> str:
    """The letters of a row, with ~ where other seeds would often give others; a dash without any."""
    if missing(rank["groups"]):
        return "–"
    return f"{rank['groups']}" + ("" if is_stable(known(rank["stability"])) else "~")


def on_planes(evidence: Evidence, rows: Iterable[Row]) -> list[str]:
    """Notes of a table that shows methods for volumes on plane radiographs, in rows or in columns."""
    if evidence.part == VOLUMES:
        return []
    shown = {str(name) for row in rows for name in (row.get("cell"), *row)}
    methods = {cell.method for name, cell in evidence.cells.items() if name in shown}
    return [note for method, note in ON_PLANES.items() if method in methods]


def reading_of_seen(table: Table) -> list[str]:
    """How the column `seen` is read, where a table has it."""
    return [READING_SEEN] if SEEN in table.columns else []


def signed(table: Table, command: str, commit: str) -> Table:
    """The table as it is written: how its column `seen` is read, the command that makes it again, and the
    commits of its trainings."""
    return replace(table, notes=(*table.notes, *reading_of_seen(table)), command=command, commit=commit)


def floor_and_ceiling(evidence: Evidence) -> list[str]:
    """Notes of a table under whose methods the references stand."""
    if not evidence.beside:
        return []
    reading = (
        "Rows that begin with floor or ceiling are references, in no ranking and without letters: a method "
        "must exceed every floor; a ceiling learns from true labels what methods learn from reports."
    )
    return [reading, *(f"{r.kind}: {note}" for r in evidence.beside for note in r.notes)]


def counts(about: SetFacts, row: MetricRow | None) -> dict[str, Value]:
    """images, patients, positives and origin of a row of an evaluation set."""
    return {
        "images": about.get("images"),
        "patients": about.get("patients") if row is None else known(row.get("n_patients")),
        "positives": None if row is None else known(row.get("n_pos")),
        "origin": str(about["origin"]),
    }


def unranked(rank: RankRow | None) -> str:
    """Why a ranking has no letters and no best; empty where it has."""
    return f"not ranked: {rank['undefined']}" if rank is not None and missing(rank["rank"]) else ""


def ranks(row: RankRow | None) -> Row:
    """Rank with its limits, letters, their stability, and the smallest difference to the best other row that
    it would find; nothing where no ranking was made or its tests are undefined."""
    if row is None or missing(row["rank"]):
        return {}
    rank = (row["rank"], row["rank_low"], row["rank_high"])
    stability = known(row["stability"])
    return {
        "rank": rank,
        "group": str(row["groups"]),
        "stability": stability,
        **detectable(row["mde"], str(row["mde_undefined"])),
    }


def detectable(mde: float, undefined: str) -> Row:
    """The minimum detectable effect of a ranking or a comparison, or a dash with the reason."""
    shown = Measured(None, notes=(undefined,)) if undefined else known(mde)
    return {"mde": shown, "mde_undefined": undefined or None}


def separable(row: RankRow | None) -> bool:
    """Whether the ranking puts this row first, nothing else can be, and other seeds would say the same."""
    if row is None or missing(row["rank"]) or not is_stable(known(row["stability"])):
        return False
    return row["rank_low"] == row["rank_high"] == 1


def beside_published(
    published: Published,
    about: SetFacts,
    title: str,
    variant: str,
    ours: MetricRow,
    **what: Any,
) -> Row:
    """The published value of a method with its doubts, and how ours stands to it. what: keys of `find`."""
    base = str(about["dataset"])
    printed = published.find(title, base, **what)
    if printed is None:
        return {"verdict": "no published value"}
    value, low, high = (known(ours[k]) for k in ("value", "low", "high"))
    found = compare_published(
        value, low, high, printed.value, origin=str(about["origin"]), variant=variant,
        images=int(about["images"]), published_images=published.images.get(base),
    )  # fmt: skip
    doubts = (f"Source: {published.sources[printed.source]}.", *(published.notes[n] for n in printed.notes))
    return {
        "published": Measured(printed.value, notes=doubts),
        "published_source": printed.source,
        "published_setting": printed.setting,
        "difference": value - printed.value if found.comparable else None,
        "verdict": found.text,
    }
