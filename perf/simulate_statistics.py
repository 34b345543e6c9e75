"""Do intervals cover, do tests hold their level, do they find what they promise? Renews docs/statistics.md.

    python -m perf.simulate_statistics [--experiments 1000] [--docs docs] [--work .cache/simulations]

Every part is kept in the work folder under a key of its settings and of the code that computes it, so that a
run that was stopped goes on where it was, and a changed statistic is simulated again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmark.core.files import read_json, write_json
from benchmark.core.reuse import key_of, reuse, source
from perf import simulated_intervals, simulated_power, simulated_tests
from perf.simulated_power import powered
from perf.simulated_tests import Design, designs
from perf.simulation_report import write_report

CODE: dict[str, ModuleType] = {
    "size": simulated_tests,
    "power": simulated_power,
    "macro": simulated_intervals,
    "coverage": simulated_intervals,
}
"""Kind of a part → the module that computes it; its source, with all that it imports, is in the key."""


def parts(options: argparse.Namespace) -> list[tuple[str, str, Callable[[], Any]]]:
    """(kind, name, what computes a list of rows)."""
    n, seed = options.experiments, options.seed
    found: list[tuple[str, str, Callable[[], Any]]] = [
        ("size", _name(d), lambda d=d: simulated_tests.size(d, n, seed)) for d in designs()
    ]
    found += [
        ("power", f"{_name(d)}-{what}", lambda d=d, what=what: [simulated_power.power(d, what, n, seed)])
        for d, what in powered()
    ]
    found.append(("macro", "macro", lambda: list(simulated_intervals.macro_coverage(n, seed))))
    cells = (options.data_sets, options.resampled, options.draws, seed)
    found.append(("coverage", "coverage", lambda: list(simulated_intervals.coverage(*cells))))
    return found


def _name(d: Design) -> str:
    words = d.counts.replace(",", "").replace(" ", "-")
    kind = "correlated" if d.correlated else "independent"
    uneven = "-uneven" if d.uneven else ""
    return f"{words}-{d.seeds}-{d.spread:g}-{d.per_patient}-{kind}-{d.crowd:g}{uneven}"


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All parts, made or reused; progress to stderr."""
    code = {kind: source(module.__name__) for kind, module in CODE.items()}
    asked = parts(options)
    settings = {k: v for k, v in vars(options).items() if k not in ("docs", "work")}
    results: dict[str, Any] = {"settings": settings, "size": [], "power": [], "macro": [], "coverage": []}
    for number, (kind, name, make) in enumerate(asked, 1):
        path = options.work / f"{kind}-{name}.json"
        start = time.monotonic()
        done = reuse(
            path.with_suffix(".mark.json"),
            key_of(kind=kind, name=name, settings=settings, code=code[kind]),
            [path],
            lambda path=path, make=make: write_json(path, make()),
        )
        results[kind] += read_json(path)
        took = "reused" if done.reused else f"{time.monotonic() - start:.0f} s"
        print(f"{number}/{len(asked)} {kind} {name}: {took}", file=sys.stderr, flush=True)
    return results


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.simulate_statistics", description=__doc__)
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of statistics.md")
    parser.add_argument("--work", type=Path, default=Path(".cache/simulations"), help="folder of parts")
    parser.add_argument("--experiments", type=int, default=1000, help="data sets a design")
    parser.add_argument("--data-sets", type=int, default=400, help="data sets a coverage cell")
    parser.add_argument("--resampled", type=int, default=100, help="of these, with a bootstrap")
    parser.add_argument("--draws", type=int, default=500, help="bootstrap draws")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    write_report(run(options), options.docs)


if __name__ == "__main__":
    main()
