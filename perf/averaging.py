"""Does an average of the weights calm what rounding stirs up? Trains a cell with and without it, in pairs.

    python -m perf.averaging [--project .] [--cell carzero-main] [--share 0.1] [--runs 3] [--seed 0]

Each run trains one seed from features moved by one last bit as `perf.rounding` moves them, run 0 from the
features as they are, once as the cell is configured and once with `training.average` set to the share. Writes
reports/averaging.csv, which holds the AUROC and loss of held-out sentences that each training reached beside
its macro AUROC on the evaluation sets, and the table of docs/reproducibility.md. Whether to average is to be
decided by the row of held-out sentences alone. A run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.core.files import write_csv, write_text
from benchmark.grid.layout import Project
from benchmark.grid.params import cell_named
from perf.rounding import one_run, portable_session
from perf.simulation_report import fill, markdown

HELD_OUT = {"val_auroc": "held-out sentences, AUROC", "val_loss": "held-out sentences, loss"}
APART = "apart"
NAMES = {**HELD_OUT, APART: "weights, distance from run 0"}
PAIR = ("without", "with")
COLUMNS = ("cell", "seed", "run", "weights", "measured", "value")
"""weights: `with` averaging or `without`; measured: a key of NAMES, or an evaluation set."""


def measured(rows: Sequence[dict[str, Any]], run: dict[str, Any]) -> dict[str, float]:
    """What was measured of one training → value. rows: of `one_run`; run: its record."""
    held_out = {name: float(run[name]) for name in HELD_OUT if run[name] is not None}
    return held_out | {r["dataset"]: r["value"] for r in rows if r["stratum"] == "all"}


def apart(a: Path, b: Path) -> float:
    """Euclidean distance of the weights in two files of one method, as a share of the norm of the first."""
    from safetensors.numpy import load_file

    one, other = load_file(a), load_file(b)
    square = sum(float(np.square(one[k].astype(np.float64) - other[k]).sum()) for k in one)
    return float(np.sqrt(square / sum(float(np.square(v, dtype=np.float64).sum()) for v in one.values())))


def table(found: pd.DataFrame) -> str:
    """A row each of what was measured, over the runs of which both trainings are there: mean and standard
    deviation without and with, mean of the paired changes with its standard error; – of a single run."""
    lines = []
    for name, part in found.groupby("measured", sort=False):
        wide = part.pivot(index="run", columns="weights", values="value").reindex(columns=PAIR).dropna()
        change = wide["with"] - wide["without"]
        several = len(wide) > 1
        spreads = wide.std(ddof=1)
        error = f" ± {change.std(ddof=1) / np.sqrt(len(wide)):.4f}" if several else ""
        lines.append([
            NAMES.get(name, name), str(len(wide)),
            *(f"{wide[own].mean():.4f}" for own in PAIR),
            f"{change.mean():+.4f}{error}",
            *(f"{spreads[own]:.4f}" if several else "–" for own in PAIR),
            f"{spreads['with'] / spreads['without']:.2f}" if several and spreads["without"] > 0 else "–",
        ])  # fmt: skip
    header = ["", "trainings", *(f"mean {own}" for own in PAIR), "change"]
    header += [*(f"spread {own}" for own in PAIR), "ratio"]
    return markdown(header, lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m perf.averaging", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--project", type=Path, default=Path(), help="a project with its main cells trained")
    parser.add_argument("--work", type=Path, default=Path(".cache/rounding"), help="folder of runs")
    parser.add_argument("--cell", default="carzero-main")
    parser.add_argument("--share", type=float, default=0.1, help="horizon, a share of all steps")
    parser.add_argument("--runs", type=int, default=3, help="trainings from moved features")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reports", type=Path, default=Path("reports/averaging.csv"))
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of reproducibility.md")
    options = parser.parse_args(argv)
    base = portable_session(options.project, "perf.averaging", argv)
    from benchmark.training.finished import MODEL

    cell = cell_named(base.params, options.cell).model_copy(update={"tasks": (), "more_prompts": ()})
    settings = [cell.training, cell.training.model_copy(update={"average": options.share})]
    options.work.mkdir(parents=True, exist_ok=True)
    kept: list[dict[str, Any]] = []
    for run in range(options.runs + 1):
        for weights, training in zip(PAIR, settings, strict=True):
            start = time.monotonic()
            own = cell.model_copy(update={"training": training})
            suffix = f"-average-{options.share:g}" if weights == "with" else ""
            first, place = (options.work.resolve() / f"run-{r}{suffix}" for r in (0, run))
            models = [Project(p).run(cell.name, options.seed) / MODEL for p in (first, place)]
            record, rows = one_run(base, own, options.seed, run, place)
            values = measured(rows, record)
            if run:
                values[APART] = apart(*models)
            about = {"cell": cell.name, "seed": options.seed, "run": run, "weights": weights}
            kept += [{**about, "measured": k, "value": v} for k, v in values.items()]
            took = f"{time.monotonic() - start:.0f} s"
            print(f"run {run} {weights} averaging: {took}", file=sys.stderr, flush=True)
        write(pd.DataFrame(kept, columns=list(COLUMNS)), options)


def write(found: pd.DataFrame, options: argparse.Namespace) -> None:
    """The table after every pair, so that what was measured before a stop is there."""
    write_csv(options.reports, found, "%.6f")
    page = options.docs / "reproducibility.md"
    text = fill(page.read_text(encoding="utf-8"), "averaging", table(found), page)
    write_text(page, text)


if __name__ == "__main__":
    main()
