"""Where a plan takes its variance from: assumptions, two prediction files, or two cells with results."""

from __future__ import annotations

import csv
import io
import os
import re
from dataclasses import dataclass, fields
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.core.errors import BenchError, UnknownName
from benchmark.core.guard import parsing, read_text
from benchmark.evaluation.statistics.paired import difference
from benchmark.evaluation.statistics.pilots import Assumptions, pilot_of
from benchmark.evaluation.statistics.planning import Measured, from_pilots, from_sample, parts_of
from benchmark.evaluation.statistics.seeds import SeedSummary, summarise
from benchmark.grid.layout import Project
from benchmark.grid.params_file import load_params


@dataclass(frozen=True)
class PlanRequest:
    """Options of the command; see `bench plan --help`."""

    difference: float
    first: str | None = None
    second: str | None = None
    labels: Path | None = None
    dataset: str | None = None
    prevalence: str | None = None
    auroc: float = 0.8
    cls: str | None = None
    stratum: str | None = None
    images: int = 1
    between: float = 0.7
    within: float = 0.9
    icc: float = 0.5
    classes: float = 0.3
    seed_sd: float | None = None
    seeds: tuple[int, ...] | None = None
    patients: int | None = None
    family: int | None = None
    level: float = 0.95
    power: float = 0.8
    seed: int = 0


ASSUMED = {
    "auroc": "--auroc", "images": "--images", "between": "--correlation", "within": "--training-correlation",
    "icc": "--patient-correlation", "classes": "--class-correlation", "seed": "--seed",
}  # fmt: skip
"""What only a plan from assumptions reads: field of a request → its option."""
COLUMNS = ("class", "prevalence", "auroc", "stratum")
"""Of a CSV file of prevalences."""


@dataclass(frozen=True)
class Basis:
    """Where the variance comes from. spread: whether trainings differ by a known amount. per_patient: what
    one patient brings of images, pairs of patient and class, distinct positive patients, and of the rarest
    class. tests: that the tables correct together. room: what the lower of the two values leaves to an AUROC
    of 1."""

    measured: Measured
    target: str
    source: str
    spread: bool
    per_patient: tuple[float, float, float, float]
    tests: int
    room: float
    notes: tuple[str, ...] = ()


def basis_of(request: PlanRequest) -> Basis:
    if request.prevalence is not None:
        if request.first is not None or request.labels is not None or request.dataset is not None:
            raise BenchError("--prevalence is a source of its own; leave A, B, --labels and --dataset out.")
        return _assumed(request)
    if request.first is None or request.second is None:
        raise BenchError(
            "nothing to plan from: give --prevalence, two prediction files with --labels, or two cells "
            "with --dataset."
        )
    for own in fields(request):
        if own.name in ASSUMED and getattr(request, own.name) != own.default:
            raise BenchError(
                f"{ASSUMED[own.name]} is an assumption of --prevalence; of results it is known. Leave it out."
            )
    _check_two(request.first, request.second)
    if (request.labels is None) == (request.dataset is None):
        raise BenchError(
            f"{request.first}, {request.second}: give --labels for files, or --dataset for cells."
        )
    return _files(request) if request.labels is not None else _cells(request)


def _check_two(first: str, second: str) -> None:
    if first == second:
        raise BenchError(f"{first}: given twice; there is no difference to plan for. Name two.")


# Assumptions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Class:
    name: str
    prevalence: float
    auroc: float
    stratum: str


def _assumed(request: PlanRequest) -> Basis:
    known = _classes(request)
    chosen, target = known, f"macro mean of {len(known)} classes"
    if request.cls is not None:
        chosen, target = [c for c in known if c.name == request.cls], f"class {request.cls}"
        if not chosen:
            raise UnknownName("class", request.cls, [c.name for c in known], f"See {request.prevalence}.")
    elif request.stratum is not None:
        chosen = [c for c in known if c.stratum == request.stratum]
        target = f"stratum {request.stratum}, {len(chosen)} classes"
        if not chosen:
            strata = sorted({c.stratum for c in known} - {""})
            hint = "The file of --prevalence names strata in a column `stratum`."
            raise UnknownName("stratum", request.stratum, strata, hint)
    elif len(known) == 1:
        target = f"class {known[0].name}"
    for c in chosen:
        if c.auroc + request.difference >= 1:
            raise BenchError(
                f"--difference {request.difference:g}: impossible for class {c.name}, whose AUROC is "
                f"{c.auroc:g}; less than {1 - c.auroc:.3g} is left."
            )
    if request.within < request.between:
        raise BenchError(
            f"--training-correlation {request.within:g}: trainings of one method cannot correlate less than "
            f"two methods do (--correlation {request.between:g})."
        )
    share = np.array([c.prevalence for c in chosen])
    assumed = Assumptions(
        share, np.array([c.auroc for c in chosen]), request.difference, request.images, request.between,
        request.within, request.icc, request.classes, request.seed_sd or 0.0,
    )  # fmt: skip
    tests = _pairs() * (len(known) if request.cls is not None else 1)
    per = (float(request.images), float(share.sum()), float(1 - np.prod(1 - share)), float(share.min()))
    measured = from_pilots(pilot_of(assumed, request.seed), assumed.largest)
    room = 1 - float(np.mean([c.auroc for c in chosen]))
    return Basis(measured, target, "assumptions", request.seed_sd is not None, per, tests, room)


def _classes(request: PlanRequest) -> list[_Class]:
    """Of a list (0.1,0.02) or of a CSV file with class, prevalence and, if given, auroc and stratum."""
    given = str(request.prevalence)
    path = Path(given)
    if not os.path.isfile(given):  # noqa: PTH113 - Path.is_file raises for a list longer than any name
        if not all(re.fullmatch(r"-?[\d.]+(e-?\d+)?", v.strip()) for v in given.split(",")):
            raise BenchError(f"{given}: no such file; give a CSV file, or shares such as 0.1,0.02,0.004.")
        rows = [{"class": str(i + 1), "prevalence": v} for i, v in enumerate(given.split(","))]
        where = [f"--prevalence {v}" for v in given.split(",")]
    else:
        text = io.StringIO(read_text(path, "a CSV file"), newline="")
        with parsing(path, "a CSV file"):
            reader = csv.DictReader(text)
            names, rows = reader.fieldnames or (), list(reader)
        missing = {"class", "prevalence"} - set(names)
        odd = next((name for name in names if name not in COLUMNS), None)
        if missing or odd is not None:
            what = f"no column '{min(missing)}'" if missing else f"column '{odd}' is none of a plan"
            raise BenchError(f"{path}: {what}; expected class, prevalence[, auroc, stratum].")
        where = [f"{path}:{i + 2}" for i in range(len(rows))]
        if not rows:
            raise BenchError(f"{path}: no rows. Give one class a row.")
    found = []
    for row, place in zip(rows, where, strict=True):
        if None in row:
            raise BenchError(f"{place}: has more cells than the header. Write decimals with a point.")
        prevalence = _share(row["prevalence"], place, "prevalence")
        auroc = _share(row.get("auroc") or request.auroc, place, "auroc")
        found.append(_Class(str(row["class"]), prevalence, auroc, str(row.get("stratum") or "")))
    names = [c.name for c in found]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise BenchError(f"{given}: class '{twice}' has two rows; keep one.")
    return found


def _share(value: Any, place: str, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise BenchError(f"{place}: {what} '{value}' is no number; expected a share such as 0.02.") from None
    if number == 0 and what == "prevalence":
        raise BenchError(
            f"{place}: prevalence 0 gives no positives, however many patients; leave the class out."
        )
    if not 0 < number < 1:
        raise BenchError(f"{place}: {what} {number:g} is not between 0 and 1.")
    return number


# Results ---------------------------------------------------------------------------------------------------


def _files(request: PlanRequest) -> Basis:
    from benchmark.evaluation.comparison import Run, summarise_runs
    from benchmark.score.files import ScoreRequest, read_joined

    read = read_joined(
        ScoreRequest(Path(str(request.first)), Path(str(request.second)), labels=request.labels)
    )
    (one, other), final = read.joined, next(iter(read.joined.values())).truth
    runs = [Run(name, 0, read.joined[name].scores) for name in (one, other)]
    summary = summarise_runs(
        runs, final.labels, final.patients, final.classes, strata=final.strata, metrics=("auroc",)
    )
    a, b = (summary.summaries[name]["auroc"] for name in (one, other))
    tests = _pairs() * (len(final.classes) if request.cls is not None else 1)
    return _observed(request, a, b, len(final.labels), f"{one} against {other}, {request.labels}", tests)


def _cells(request: PlanRequest) -> Basis:
    from benchmark.reporting.gather import gather

    gathered = gather(Project.find())
    dataset = str(request.dataset)
    evidence = gathered.evidence
    if dataset not in evidence.sets:
        raise UnknownName(
            "dataset", dataset, evidence.datasets, f"With results: {', '.join(evidence.datasets)}."
        )
    pair, names = [], []
    present = list(dict.fromkeys(evidence.metrics["name"]))
    for given in (str(request.first), str(request.second)):
        name = given if given in present else f"{given}-main"
        panels = gathered.panels(name, dataset) if name in present else []
        if not panels:
            raise UnknownName("cell", given, present, f"With results: {', '.join(present)}.")
        pair.append(summarise(panels))
        names.append(name)
    _check_two(*names)
    classes = evidence.comparisons
    classes = classes[(classes["family"] == "class") & (classes["metric"] == "auroc") & classes["p"].notna()]
    mains = set(evidence.mains)
    of_mains = classes["method_a"].isin(mains) & classes["method_b"].isin(mains)
    classes = classes[of_mains & (classes["dataset"] == dataset)]
    tests = _pairs() * (classes["class"].nunique() if request.cls is not None else 1)
    images = evidence.sets[dataset]["images"]
    source = f"{names[0]} against {names[1]} on {dataset}, {evidence.sets[dataset]['origin']} data"
    return _observed(request, pair[0], pair[1], int(images), source, max(tests, 1))


def _observed(
    request: PlanRequest, a: SeedSummary, b: SeedSummary, images: int, source: str, tests: int
) -> Basis:
    """Scale what the sample shows: its classes, correlations, and the spread of its seeds."""
    k, target = _column(request, a)
    column, patients = a.columns[k], len(a.influence)
    if column.pos_patients == 0 or np.isnan(a.mean[k]):
        raise BenchError(
            f"{target}: no positives or no negatives in this result; plan from --prevalence instead."
        )
    if column.untested:
        raise BenchError(f"{target}: {column.untested}; plan from --prevalence instead.")
    lower = float(min(a.mean[k], b.mean[k]))
    if lower + request.difference >= 1:
        raise BenchError(
            f"--difference {request.difference:g}: impossible for {target}, whose AUROC is {lower:.3f}; less "
            f"than {1 - lower:.3g} is left."
        )
    lone = 1 in (a.seeds, b.seeds)
    known = request.seed_sd is not None
    if lone and request.seeds is not None and max(request.seeds) > 1 and not known:
        raise BenchError(
            f"{source}: one seed here, so how much trainings differ is not known; give --seed-sd, or "
            "train more seeds."
        )
    training = request.seed_sd**2 if request.seed_sd is not None else (0.0 if lone else None)
    parts = parts_of(a, b, k, training)
    if parts.test(1)[0] == 0:
        raise BenchError(
            f"{source}: the two have identical scores on {target}; there is no difference to plan for."
        )
    members = np.flatnonzero(column.weights) if column.weights is not None else np.array([k])
    positives = [a.columns[int(j)].pos_patients for j in members]
    per = (
        images / patients,
        sum(positives) / patients,
        column.pos_patients / patients,
        min(positives) / patients,
    )
    notes = [f"scaled from {patients:,} patients, {column.pos_patients} with a positive"]
    if column.few:
        notes.append(f"{column.few_note}; so is the variance of this plan")
    observed = difference(a, b, k, request.level, request.power).value
    notes.append(f"observed difference {observed:+.4f}; it is no part of the plan")
    return Basis(from_sample(parts), target, source, known or not lone, per, tests, 1 - lower, tuple(notes))


def _column(request: PlanRequest, summary: SeedSummary) -> tuple[int, str]:
    columns = summary.columns
    if request.cls is not None:
        single = {c.name: k for k, c in enumerate(columns) if c.single}
        if request.cls not in single:
            raise UnknownName("class", request.cls, single, "It is no class of this result.")
        return single[request.cls], f"class {request.cls}"
    wanted = request.stratum or "all"
    macro = {c.stratum: k for k, c in enumerate(columns) if c.name == "macro"}
    if wanted not in macro:
        raise UnknownName("stratum", wanted, macro, f"Strata: {', '.join(macro)}.")
    weights = columns[macro[wanted]].weights
    classes = 0 if weights is None else int(np.count_nonzero(weights))
    name = f"stratum {wanted}" if request.stratum else "macro mean"
    return macro[wanted], f"{name} of {classes} classes"


def _pairs() -> int:
    """Pairs of main methods of the project, the family in which the tables test a mean; 1 outside one."""
    try:
        project = Project.find()
    except BenchError:
        return 1
    return max(comb(len(load_params(project.params).methods), 2), 1)
