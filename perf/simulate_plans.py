"""Does a planned study find the difference as often as `bench plan` promised? Renews docs/plan.md.

    python -m perf.simulate_plans [--experiments 1500] [--docs docs]

Each row plans a study, draws that many patients anew in every experiment, and tests the difference with the
code of the tables. The last rows plan from a first result, and say how often the study planned from it
succeeds.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.core.files import write_text
from benchmark.evaluation.statistics.paired import difference
from benchmark.evaluation.statistics.pilots import Assumptions, pilot_of
from benchmark.evaluation.statistics.planning import (
    at_size,
    family_level,
    from_pilots,
    from_sample,
    needed,
    parts_of,
)
from perf.options import described
from perf.simulation_report import fill, markdown

LEVEL, POWER = 0.95, 0.8


@dataclass(frozen=True)
class Study:
    """What is planned. family: tests that are corrected together. result: patients of a first result that the
    plan starts from; 0 for assumptions."""

    target: str
    assumed: Assumptions
    seeds: int
    family: int = 1
    result: int = 0

    @property
    def level(self) -> float:
        return family_level(LEVEL, self.family)


def _assumed(low: float, high: float, classes: int, gain: float, **options: Any) -> Assumptions:
    return Assumptions(np.geomspace(low, high, classes), np.linspace(0.72, 0.85, classes), gain, **options)


STUDIES = (
    Study("class of 5%", _assumed(0.05, 0.05, 1, 0.06), 1),
    Study("class of 2%", _assumed(0.02, 0.02, 1, 0.08, training=0.01), 3),
    Study("macro mean, 8 classes of 2 to 20%", _assumed(0.02, 0.2, 8, 0.025, training=0.004), 3),
    Study("macro mean, 14 classes of 1 to 10%", _assumed(0.01, 0.1, 14, 0.03, images=3), 1),
    Study("stratum, 8 classes of 0.1 to 1%", _assumed(0.001, 0.01, 8, 0.08, training=0.01), 3),
    Study("stratum, 12 classes of 0.2 to 0.8%", _assumed(0.002, 0.008, 12, 0.08, images=2), 1),
    Study("stratum, 8 classes of 0.2 to 1%", _assumed(0.002, 0.01, 8, 0.1, training=0.01), 5, 15),
    Study("macro mean, 8 classes of 2 to 20%", _assumed(0.02, 0.2, 8, 0.025, training=0.004), 3, 1, 1000),
    Study("class of 5%", _assumed(0.05, 0.05, 1, 0.06), 1, 1, 1000),
)


def simulate(study: Study, experiments: int, seed: int) -> dict[str, Any]:
    """Patients of the plan, the power that it promises, and how often its test finds the difference."""
    a = study.assumed
    measured = from_pilots(pilot_of(a, seed), a.largest)
    rng = np.random.default_rng([seed, 1])
    if study.result:
        return _from_results(study, measured, experiments // 5, rng)
    need = needed(measured, study.seeds, a.difference, study.level, POWER)
    if need.patients is None:
        raise ValueError(f"{study.target}: no number of patients suffices")
    found = []
    for _ in range(experiments):
        one, other = a.methods(a.labels(need.patients, rng), study.seeds, a.difference, rng)
        found.append(difference(one, other, a.column, study.level, POWER).p < 1 - study.level)
    return {"patients": need.patients, "promised": need.power, "found": float(np.mean(found)), "spread": None}


def _from_results(study: Study, measured: Any, results: int, rng: np.random.Generator) -> dict[str, Any]:
    """Plan from results that differ by chance, and take the power of each planned study from the pilots.
    Where no number of patients suffices with the seeds of the result, the study has those the plan names."""
    a, patients, power, more = study.assumed, [], [], 0
    training = None if study.seeds > 1 else 0.0
    for _ in range(results):
        one, other = a.methods(a.labels(study.result, rng), study.seeds, a.difference, rng)
        sample = from_sample(parts_of(one, other, a.column, training))
        need = needed(sample, study.seeds, a.difference, study.level, POWER)
        if need.patients is None and need.least_seeds is not None:
            more += 1
            need = needed(sample, need.least_seeds, a.difference, study.level, POWER)
        if need.patients is None:
            raise ValueError(f"{study.target}: no number of patients and seeds suffices")
        patients.append(need.patients)
        power.append(at_size(measured, need.patients, need.seeds, a.difference, study.level).power)
    return {
        "patients": int(np.median(patients)),
        "promised": POWER,
        "found": float(np.mean(power)),
        "spread": (float(np.quantile(power, 0.1)), float(np.quantile(power, 0.9))),
        "more": more / results,
    }


def table(rows: list[tuple[Study, dict[str, Any]]]) -> str:
    """Markdown; ✗ where a plan misses 80% by more than 3 points and more than chance."""
    lines = []
    for study, row in rows:
        a = study.assumed
        mark = "" if abs(row["found"] - row["promised"]) <= 0.03 else " ✗"
        spread = row["spread"]
        found = f"{row['found']:.1%}{mark}"
        if spread:
            seeds = f"; more seeds in {row['more']:.0%}" if row["more"] else ""
            found += f" ({spread[0]:.0%} to {spread[1]:.0%}{seeds})"
        rarest = row["patients"] * float(a.prevalences.min())
        source = f"a result of {study.result:,} patients" if study.result else "assumptions"
        lines.append(
            [study.target, source, f"{a.difference:g}", str(study.seeds), f"{a.training:g}", str(a.images),
             str(study.family), f"{row['patients']:,}", f"{rarest:.0f}", f"{row['promised']:.1%}", found]
        )  # fmt: skip
    header = ["target", "planned from", "difference", "seeds", "spread", "images a patient", "family",
              "patients", "rarest class", "promised", "found"]  # fmt: skip
    return markdown(header, lines)


def main(argv: list[str] | None = None) -> None:
    parser = described(__doc__, "python -m perf.simulate_plans")
    parser.add_argument("--experiments", type=int, default=1500, help="studies a row")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of plan.md")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    rows = []
    for study in STUDIES:
        rows.append((study, simulate(study, options.experiments, options.seed)))
        print(f"{study.target}: {rows[-1][1]}", file=sys.stderr, flush=True)
    page = options.docs / "plan.md"
    write_text(page, fill(page.read_text(encoding="utf-8"), "plans", table(rows), page))


if __name__ == "__main__":
    main()
