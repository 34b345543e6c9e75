"""`bench plan`: how many patients and seeds a comparison needs, from assumptions, files or results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.core.errors import BenchError
from benchmark.core.files import atomic_path
from benchmark.evaluation.statistics.planning import (
    MAX_PATIENTS,
    Measured,
    Need,
    at_size,
    family_level,
    needed,
)
from benchmark.evaluation.statistics.reach import WITHHELD, within_reach
from benchmark.reporting.plan_sources import Basis, PlanRequest, basis_of

SEEDS = (2, 3, 5, 10)
TRAININGS = "of these two trainings, not of the methods: give --seed-sd for those"


@dataclass(frozen=True)
class SizeRow:
    """What one number of seeds asks for. patients: None where none suffices; images: on average.
    positive_pairs: patients with a class, summed over the classes; positive_patients: distinct ones; rarest:
    patients with the rarest class. between_trainings: share of the variance. least_seeds: where only
    more seeds help, how many. detectable: the difference found with the wanted power, or
    detectable_undefined: why a test has none."""

    seeds: int
    patients: int | None
    images: int | None
    positive_pairs: float | None
    positive_patients: float | None
    rarest: float | None
    power: float
    between_trainings: float
    detectable: float | None
    detectable_undefined: str
    least_seeds: int | None


@dataclass(frozen=True)
class SizePlan:
    """target, source: in words. level: of the single test. curves: seeds → (patients, power)."""

    target: str
    source: str
    difference: float
    family: int
    family_level: float
    level: float
    wanted: float
    rows: tuple[SizeRow, ...]
    curves: dict[int, list[tuple[int, float]]]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def plan(request: PlanRequest) -> SizePlan:
    """Raises BenchError with one line on anything that does not fit."""
    if not 0 < request.difference < 1:
        raise BenchError(
            f"--difference {request.difference:g}: expected an AUROC difference between 0 and 1."
        )
    if request.cls is not None and request.stratum is not None:
        raise BenchError("--class and --stratum were both given; choose one.")
    basis = basis_of(request)
    seeds = _seeds(request, basis.spread)
    family = request.family or basis.tests
    level = family_level(request.level, family)
    measured, size = basis.measured, request.patients
    needs = [
        needed(measured, s, request.difference, level, request.power)
        if size is None
        else at_size(measured, size, s, request.difference, level)
        for s in seeds
    ]
    return SizePlan(
        target=basis.target,
        source=basis.source,
        difference=request.difference,
        family=family,
        family_level=request.level,
        level=level,
        wanted=request.power,
        rows=tuple(_row(n, basis, level, request.power) for n in needs),
        curves=_curves(measured, needs, request.difference, level),
        notes=(*basis.notes, *(() if basis.spread else (TRAININGS,))),
    )


def _seeds(request: PlanRequest, spread: bool) -> tuple[int, ...]:
    asked = request.seeds or (SEEDS if spread else (1,))
    if spread and 1 in asked:
        raise BenchError(
            "--seeds 1: one seed cannot tell a method from its training where trainings differ; "
            "ask for 2 or more."
        )
    if not spread and max(asked) > 1:
        raise BenchError(
            f"--seeds {','.join(map(str, asked))}: how much trainings differ is not known here; give "
            "--seed-sd, the standard deviation of AUROC between seeds."
        )
    return tuple(sorted(set(asked)))


def _row(need: Need, basis: Basis, level: float, power: float) -> SizeRow:
    n = need.patients
    counts: list[float | None] = [None] * 4 if n is None else [n * x for x in basis.per_patient]
    images, pairs, patients, rarest = counts
    least = np.nan if n is None else basis.measured(n).detectable(need.seeds, level, power)
    printed = float(within_reach(least, 1 - basis.room))
    why = WITHHELD if np.isnan(printed) and not np.isnan(least) else ""
    return SizeRow(
        seeds=need.seeds,
        patients=n,
        images=None if images is None else round(images),
        positive_pairs=pairs,
        positive_patients=patients,
        rarest=rarest,
        power=need.power,
        between_trainings=need.trainings,
        detectable=None if np.isnan(printed) else printed,
        detectable_undefined=why,
        least_seeds=need.least_seeds,
    )


def _curves(
    measured: Measured, needs: Sequence[Need], difference: float, level: float
) -> dict[int, list[tuple[int, float]]]:
    """Power from a quarter of what is needed to twice that (where nothing suffices: of the other rows')."""
    sizes = [n.patients for n in needs if n.patients is not None] or [500]
    grid = np.unique(np.geomspace(max(min(sizes) / 4, 10), 2 * max(sizes), 15).round().astype(int))
    return {
        n.seeds: [(int(p), measured(float(p)).power(n.seeds, difference, level)) for p in grid] for n in needs
    }


# Output ----------------------------------------------------------------------------------------------------


def plan_text(found: SizePlan) -> str:
    """The plan for people."""
    lines = [
        f"{found.target}: an AUROC difference of {found.difference:g}, {found.wanted:.0%} power",
        f"  from {found.source}",
        f"  tested at {1 - found.level:.2g}"
        + (f", {1 - found.family_level:.2g} over {found.family} tests" if found.family > 1 else ", one test"),
        "",
        f"{'seeds':>6} {'patients':>12} {'images':>12} {'positive':>9} {'rarest':>8} {'power':>7} "
        f"{'detects':>8}  between trainings",
    ]
    for row in found.rows:
        if row.patients is None:
            why = f"at most {row.power:.0%} with {row.seeds} seeds, however many patients"
            if row.least_seeds:
                why += f"; {row.least_seeds} seeds could"
            if row.least_seeds is None and row.power < found.wanted and row.between_trainings == 0:
                why = f"more than {MAX_PATIENTS:,} patients"
            lines.append(f"{row.seeds:>6}  {why}")
            continue
        detects = "–" if row.detectable is None else f"{row.detectable:.3f}"
        lines.append(
            f"{row.seeds:>6} {row.patients:>12,} {row.images:>12,} {_count(row.positive_patients):>9} "
            f"{_count(row.rarest):>8} {row.power:>7.0%} {detects:>8}  "
            f"{row.between_trainings:.0%} of the variance"
        )
    lines.append("")
    lines.append("positive: patients with any of the classes; rarest: with the rarest of them, as expected.")
    lines += dict.fromkeys(row.detectable_undefined for row in found.rows if row.detectable_undefined)
    lines += found.notes
    return "\n".join(lines)


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


FORMATS = (".png", ".svg", ".pdf")


def check_figure(path: Path) -> None:
    """Before anything is computed. Raises BenchError."""
    if path.suffix.lower() not in FORMATS:
        raise BenchError(f"--figure {path}: expected a name that ends in {', '.join(FORMATS)}.")
    if not path.parent.is_dir():
        raise BenchError(f"--figure {path}: no folder {path.parent}; make it first.")


def write_figure(found: SizePlan, path: Path) -> None:
    """Power against patients, a line for each number of seeds."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    from benchmark.reporting.figures.style import MARKERS, new_figure

    figure, axes = new_figure(6.2, 3.6)
    for (seeds, points), mark in zip(found.curves.items(), MARKERS * 9, strict=False):
        x, y = zip(*points, strict=True)
        axes.plot(x, y, marker=mark, markersize=3.5, label=f"{seeds} seed{'s' if seeds > 1 else ''}")
    axes.axhline(found.wanted, color="#5b6270", linewidth=0.9, linestyle="--")
    axes.set(xscale="log", ylim=(0, 1.02), xlabel="patients", ylabel="power")
    axes.set_title(f"{found.target}: difference {found.difference:g}, tested at {1 - found.level:.2g}")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lower().lstrip("."), dpi=160, facecolor="white")
