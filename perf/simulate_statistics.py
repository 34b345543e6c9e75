"""Do intervals cover, do tests hold their level, do they find what they promise? Renews docs/statistics.md.

    python -m perf.simulate_statistics [--only 'power *'] [--experiments 1000] [--docs docs]

Every part is kept in docs/statistics/simulations.json under a key of its settings, its design and the code
that computes it. A run that was stopped goes on where it was, a changed statistic is simulated again, and one
design more simulates that design alone. With `--only`, parts of other names stay as they are there, whatever
code made them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmark.core.errors import BenchError
from benchmark.core.files import read_json, write_json
from benchmark.core.reuse import key_of, source
from perf import simulated_decisions, simulated_intervals, simulated_power, simulated_tests
from perf.designs import POWER_EXPERIMENTS, POWER_SEED, designs, powered
from perf.options import described
from perf.simulation_report import RESULTS, Parts, write_report

CODE: dict[str, ModuleType] = {
    "size": simulated_tests,
    "power": simulated_power,
    "macro": simulated_intervals,
    "coverage": simulated_intervals,
    "decisions": simulated_decisions,
}
"""Kind of a part → the module that computes it; its source, with all that it imports, is in the key."""

DECISIONS = 4
"""One in so many experiments of decisions, each of which evaluates whole sets."""


@dataclass(frozen=True)
class Part:
    """make: its rows. settings: all that they depend on but the code."""

    kind: str
    what: str
    settings: dict[str, Any]
    make: Callable[[], list[dict[str, Any]]]

    @property
    def name(self) -> str:
        return f"{self.kind} {self.what}".strip()

    @property
    def key(self) -> str:
        return key_of(kind=self.kind, settings=self.settings, code=source(CODE[self.kind].__name__)).digest


def parts(options: argparse.Namespace) -> Iterator[Part]:
    n, seed = options.experiments, options.seed
    for d in designs():
        about = {"design": d.content, "experiments": n, "seed": seed}
        yield Part("size", str(d), about, partial(simulated_tests.size, d, n, seed))
    many, other = options.power_experiments, POWER_SEED + seed
    for d, what in powered():
        about = {"design": d.content, "average": what, "experiments": many, "seed": other}
        yield Part(
            "power", f"{d}-{what}", about,
            partial(lambda *given: [simulated_power.power(*given)], d, what, many, other),
        )  # fmt: skip
    about = {"experiments": n, "seed": seed}
    yield Part("macro", "", about, lambda: list(simulated_intervals.macro_coverage(n, seed)))
    fewer = {"experiments": max(n // DECISIONS, 1), "seed": seed}
    yield Part("decisions", "", fewer, lambda: list(simulated_decisions.decision_coverage(**fewer)))
    cells = (options.data_sets, options.resampled, options.draws, seed)
    about = dict(zip(("data_sets", "resampled", "draws", "seed"), cells, strict=True))
    yield Part("coverage", "", about, lambda: list(simulated_intervals.coverage(*cells)))


def run(options: argparse.Namespace) -> Parts:
    """All parts, made or kept; written after each, and progress to stderr."""
    path = options.docs / RESULTS
    known: Parts = read_json(path) if path.is_file() else {}
    asked = list(parts(options))
    lacking = [p.name for p in asked if p.name not in known and not fnmatchcase(p.name, options.only)]
    if lacking:
        raise BenchError(f"{path}: holds no part {lacking[0]!r}. Run again without --only.")
    for number, part in enumerate(asked, 1):
        start = time.monotonic()
        took = "kept"
        if fnmatchcase(part.name, options.only) and known.get(part.name, {}).get("key") != part.key:
            known[part.name] = {"key": part.key, "rows": part.make()}
            write_json(path, known)
            took = f"{time.monotonic() - start:.0f} s"
        print(f"{number}/{len(asked)} {part.name}: {took}", file=sys.stderr, flush=True)
    return {part.name: known[part.name] for part in asked}


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = described(__doc__, "python -m perf.simulate_statistics")  # fmt: skip
    parser.add_argument("--only", default="*", help="parts that may be made anew, a pattern")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of statistics.md")
    parser.add_argument("--experiments", type=int, default=1000, help="data sets a design")
    parser.add_argument("--power-experiments", type=int, default=POWER_EXPERIMENTS, help="the same, of power")
    parser.add_argument("--data-sets", type=int, default=400, help="data sets a coverage cell")
    parser.add_argument("--resampled", type=int, default=100, help="of these, with a bootstrap")
    parser.add_argument("--draws", type=int, default=500, help="bootstrap draws")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    options = arguments(argv)
    write_report(run(options), options.docs)


if __name__ == "__main__":
    main()
