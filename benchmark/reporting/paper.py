"""A paper's table from its prediction files: what `bench paper` and the action for pull requests do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from benchmark.core.errors import BenchError, DataError, UnknownName
from benchmark.core.located import read_located
from benchmark.core.not_read import check_not_read
from benchmark.core.settings import StatisticsConfig
from benchmark.grid.strict import Strict
from benchmark.reporting.numbers import known, p_text, signed_text
from benchmark.reporting.table import FORMS, Measured, Table, change, estimate, probability, real, save, words
from benchmark.score.files import ScoreRequest, read_joined
from benchmark.score.joining import Joined, Truth, check_another_training, same_patients

if TYPE_CHECKING:
    import pandas as pd

Metric = Literal["auroc", "average_precision"]
Verdict = Literal["supported", "contradicted", "inconclusive", "undefined"]
CONFIG = StatisticsConfig()
ONE_TRAINING = (
    "One prediction file a row: intervals and tests are over patients and say nothing of other trainings."
)


class PaperRow(Strict):
    """predictions: one file, or one a seed, relative to the file of claims. printed: what the paper prints,
    held against `rounding` of the paper."""

    name: str = Field(min_length=1)
    title: str = ""
    predictions: Path | Annotated[tuple[Path, ...], Field(min_length=1)]
    printed: float | None = None


class PaperClaim(Strict):
    """`a` is above `b` in the macro mean of `metric` over the classes of `stratum`."""

    id: str = Field(min_length=1)
    statement: str = Field(min_length=1)
    a: str
    b: str
    metric: Metric = "auroc"
    stratum: str = "all"


class PaperFile(Strict):
    """labels: a file, or dataset with data_root (and protocol), as for `bench score`. rounding: half of the
    last printed digit."""

    title: str = Field(min_length=1)
    labels: Path | None = None
    dataset: str | None = None
    data_root: Path | None = None
    protocol: str | None = None
    patients: str | None = None
    metric: Metric = "auroc"
    stratum: str = "all"
    rounding: float = Field(0.0005, gt=0)
    rows: tuple[PaperRow, ...] = Field(min_length=1)
    claims: tuple[PaperClaim, ...] = ()


@dataclass(frozen=True)
class RowFound:
    name: str
    title: str
    value: float | None
    low: float | None
    high: float | None
    printed: float | None
    found_again: bool | None
    seeds: int


@dataclass(frozen=True)
class ClaimFound:
    """p_corrected: p times the claims of the file."""

    id: str
    statement: str
    verdict: Verdict
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_corrected: float | None
    note: str


@dataclass(frozen=True)
class Paper:
    """The rows and claims of a file, recomputed. source: what the labels are. counts: what was left out or
    read by a policy, as `bench score` says it."""

    file: PaperFile
    source: str
    counts: Mapping[str, int]
    rows: tuple[RowFound, ...]
    claims: tuple[ClaimFound, ...]

    @property
    def holds(self) -> bool:
        """Whether every printed value was found again and no claim is contradicted."""
        printed = all(row.found_again is not False for row in self.rows)
        return printed and all(claim.verdict != "contradicted" for claim in self.claims)

    @cached_property
    def tables(self) -> list[Table]:
        """The table with its intervals, then the verdicts where there are claims."""
        single = all(row.seeds == 1 for row in self.rows)
        shared: dict[str, Any] = {"synthetic": False, "measured_on": self.source}
        rows = Table(
            name="rows",
            title=self.file.title,
            columns=(
                words("name"), words("title", "Method"),
                estimate("value", f"{self.file.metric} ({self.file.stratum})"),
                real("printed", "Printed"), words("again", "Found again"), real("seeds", "Seeds", 0),
            ),
            rows=tuple(
                {
                    "name": r.name, "title": r.title, "value": Measured(r.value, r.low, r.high),
                    "printed": r.printed, "seeds": r.seeds,
                    "again": {None: None, True: "yes", False: "no"}[r.found_again],
                }
                for r in self.rows
            ),
            notes=(
                "Macro mean over classes; brackets hold 95% intervals over patients"
                + (". " + ONE_TRAINING if single else " and seeds."),
            ),
            **shared,
        )  # fmt: skip
        claims = Table(
            name="claims",
            title=f"{self.file.title}: verdicts",
            columns=(
                words("id", "Claim"), words("statement", "Statement"), words("verdict", "Verdict"),
                change("difference", "Difference"), probability("p"),
                probability("p_corrected", "p (corrected)"),
                words("note", "Note"),
            ),
            rows=tuple(
                {
                    "id": c.id, "statement": c.statement, "verdict": c.verdict, "p": c.p, "note": c.note,
                    "difference": (c.difference, c.low, c.high), "p_corrected": c.p_corrected,
                }
                for c in self.claims
            ),
            family=f"the {len(self.claims)} claims of this file (Bonferroni).",
            **shared,
        )  # fmt: skip
        return [rows, *([claims] if self.claims else [])]

    def check_out(self, folder: Path, claims: Path) -> None:
        """Raises BenchError where `save` would write over the file of claims or over what it names."""
        read = [row.predictions for row in self.file.rows]
        files = [file for own in read for file in ((own,) if isinstance(own, Path) else own)]
        inputs = [claims, *(claims.parent / file for file in (*files, self.file.labels) if file is not None)]
        targets = [folder / f"{t.name}{suffix}" for t in self.tables for suffix in FORMS]
        check_not_read("--out", targets, inputs)

    def save(self, folder: Path) -> list[Path]:
        """<table>.md, .csv and .tex; returns the paths."""
        return [path for table in self.tables for path in save(table, folder)]

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.file.title, "labels": self.source, "holds": self.holds, "counts": dict(self.counts),
            "rows": [asdict(row) for row in self.rows], "claims": [asdict(c) for c in self.claims],
        }  # fmt: skip

    @property
    def text(self) -> str:
        lines = [f"{self.file.title} (labels: {self.source})"]
        if self.counts:
            lines.append(", ".join(f"{v:,} {k}" for k, v in self.counts.items()))
        for row in self.rows:
            value = "undefined" if row.value is None else f"{row.value:.4f} [{row.low:.4f}, {row.high:.4f}]"
            again = {None: "", True: ", found again", False: ", NOT found again"}[row.found_again]
            printed = "" if row.printed is None else f"  printed {row.printed:g}{again}"
            lines.append(f"{row.title}: {value}{printed}")
        for claim in self.claims:
            numbers = "" if claim.difference is None else signed_text(claim.difference, claim.low, claim.high)
            p = (
                ""
                if claim.p_corrected is None
                else f"  p {p_text(claim.p_corrected)} (of {len(self.claims)})"
            )
            lines.append(f"{claim.id}: {claim.verdict.upper()}  {numbers}{p}  {claim.note}".rstrip())
        return "\n".join(lines)


def read_paper(path: Path) -> PaperFile:
    """Raises BenchError, naming line and key, for a file that is not as it should be."""
    file = read_located(path, BenchError)
    try:
        paper = PaperFile.model_validate(file.value)
    except ValidationError as error:
        place, loc, reason = file.first_fault(error)
        raise BenchError(f"{place}: {'.'.join(map(str, loc)) or 'file'}: {reason}.") from None
    names = [row.name for row in paper.rows]
    for what, given in (("rows", names), ("claims", [claim.id for claim in paper.claims])):
        for number, name in enumerate(given):
            if name in given[:number]:
                raise BenchError(f"{file.place((what, number))}: '{name}' stands twice in {what}.")
    for number, claim in enumerate(paper.claims):
        for name in (claim.a, claim.b):
            if name not in names:
                place = file.place(("claims", number))
                raise UnknownName("row", name, names, f"{place} names it; rows lists them.")
        if claim.a == claim.b:
            place = file.place(("claims", number))
            raise BenchError(f"{place}: claim '{claim.id}' holds {claim.a} against itself. Name two rows.")
    return paper


def recompute(path: Path) -> Paper:
    """Raises BenchError on anything that does not fit, as `bench score` does. The patients of the first file
    that knows them, labels before predictions, count for all rows."""
    from benchmark.evaluation.comparison import Run, compare, over_seeds, summarise_runs

    paper = read_paper(path)
    runs: list[Run] = []
    truth: Truth | None = None
    said: dict[str, int] = {}
    for row in paper.rows:
        files = [row.predictions] if isinstance(row.predictions, Path) else list(row.predictions)
        read: dict[Path, np.ndarray] = {}
        for seed, file in enumerate(files):
            joined = _joined(paper, path.parent, file)
            own = joined.truth
            if truth is not None and own.classes != truth.classes:
                raise DataError(
                    f"{file}: its classes are not those of the first row. Give all rows the same."
                )
            if truth is not None and truth.patients is not None:
                if own.patients is not None:
                    ours, theirs = (_named(own.ids, p) for p in (truth.patients, own.patients))
                    same_patients(own.ids, "the rows before it", ours, str(file), theirs)
                own = replace(own, patients=truth.patients)
            truth = own
            check_another_training(file, joined.scores, read)
            read[file] = joined.scores
            runs.append(Run(row.name, seed, joined.scores))
            said |= {k: v for k, v in joined.counts.items() if v}
    assert truth is not None
    summary = summarise_runs(
        runs, truth.labels, truth.patients, truth.classes, strata=truth.strata, config=CONFIG
    )
    means = over_seeds(summary, config=CONFIG)
    strata = sorted(set(means["stratum"]))
    for stratum in (paper.stratum, *(claim.stratum for claim in paper.claims)):
        if stratum not in strata:
            raise UnknownName("stratum", stratum, strata, f"{path} names it.")
    pairs = compare(summary, config=CONFIG)
    counts = {row.name: sum(run.method == row.name for run in runs) for row in paper.rows}
    return Paper(
        paper,
        truth.source if paper.labels is None else paper.labels.as_posix(),
        said,
        tuple(_row(paper, r, _macro(means, paper.metric, paper.stratum), counts[r.name]) for r in paper.rows),
        tuple(_claim(c, _macro(pairs, c.metric, c.stratum), len(paper.claims)) for c in paper.claims),
    )


def _named(ids: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Clusters of known patients; "" for an image that is one of its own."""
    lone = [c in (i, f"image {i}") for i, c in zip(ids, clusters, strict=True)]
    return np.where(lone, "", clusters)


def _joined(paper: PaperFile, folder: Path, file: Path) -> Joined:
    """Labels and scores of one file in their order."""
    read = read_joined(
        ScoreRequest(
            predictions=folder / file,
            labels=None if paper.labels is None else folder / paper.labels,
            dataset=paper.dataset,
            data_root=None if paper.data_root is None else folder / paper.data_root,
            protocol=paper.protocol,
            patients=paper.patients,
        )
    )
    (joined,) = read.joined.values()
    return joined


def _macro(frame: pd.DataFrame, metric: str, stratum: str) -> list[dict[Any, Any]]:
    own = frame[(frame["class"] == "macro") & (frame["metric"] == metric) & (frame["stratum"] == stratum)]
    return own.to_dict("records")


def _row(paper: PaperFile, row: PaperRow, means: Sequence[dict[Any, Any]], seeds: int) -> RowFound:
    own = next(r for r in means if r["method"] == row.name)
    value, low, high = (known(own[k]) for k in ("value", "low", "high"))
    again = None
    if row.printed is not None:
        again = value is not None and abs(value - row.printed) <= paper.rounding * (1 + 1e-9)
    return RowFound(row.name, row.title or row.name, value, low, high, row.printed, again, seeds)


def _claim(claim: PaperClaim, pairs: Sequence[dict[Any, Any]], count: int) -> ClaimFound:
    own = next(r for r in pairs if {r["method_a"], r["method_b"]} == {claim.a, claim.b})
    sign = 1.0 if own["method_a"] == claim.a else -1.0
    delta, p = known(own["delta"]), known(own["p"])
    ends = sorted(sign * v for v in (known(own["low"]), known(own["high"])) if v is not None)
    low, high = ends if len(ends) == 2 else (None, None)
    difference = None if delta is None else sign * delta
    corrected = None if p is None else min(1.0, p * count)
    if corrected is None or difference is None:
        verdict: Verdict = "undefined"
    elif corrected >= 1 - CONFIG.level:
        verdict = "inconclusive"
    else:
        verdict = "supported" if difference > 0 else "contradicted"
    note = str(own["undefined"] or own["note"] or "")
    return ClaimFound(claim.id, claim.statement, verdict, difference, low, high, p, corrected, note)
