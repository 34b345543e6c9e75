"""What calms a training that carries rounding? Pairs that differ in one last bit, under one change each.

    python -m perf.calm curves [--cells carzero-main] [--means NAME …] [--moved stored] [--epochs 4]
    python -m perf.calm trainings [--cells carzero-main] [--means NAME …] [--runs 3]

`curves` trains run 0 and run 1 of a cell for its first epochs, with the schedule of the whole, and
compares their weights and their scores of held-out sentences after the same steps. `trainings` trains to
the end, run 0 from the features as they are and the others from moved ones as `perf.rounding` moves them,
and evaluates each. They write reports/calm-curves.csv and reports/calm.csv, which add up over calls, and the
tables of docs/reproducibility.md. Whether to adopt a means is to be decided by held-out sentences alone. A
call that was stopped goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.core.files import write_csv, write_text
from benchmark.core.hashing import hash_value
from benchmark.grid.layout import Project
from benchmark.grid.params import Cell, cell_named
from benchmark.stages.run import Session
from benchmark.stages.run_record import RunRecord
from perf.divergence import MEANS, MOVED, PLAIN, Means, curve, distance, steepest, trained
from perf.options import described
from perf.rounding import marked, one_run, portable_session
from perf.simulation_report import fill, markdown

CURVES = ("cell", "seed", "run", "moved", "means", "epoch", "step", "measured", "value")
TRAININGS = ("cell", "seed", "run", "means", "measured", "value")
"""measured: `weights`, distance from run 0; a key of HELD_OUT; or an evaluation set, its macro AUROC."""
HELD_OUT = ("val_auroc", "val_loss")
SHOWN = (0.1, 1.0, 2.0, 4.0, 8.0)
"""Epochs of the curves that the page shows."""


def measured(rows: Sequence[dict[str, Any]], run: RunRecord) -> dict[str, float]:
    """What was measured of one training → value. rows: of `one_run`; run: its record."""
    held_out = {name: float(own) for name in HELD_OUT if (own := getattr(run, name)) is not None}
    return held_out | {r["dataset"]: r["value"] for r in rows if r["stratum"] == "all"}


def added(path: Path, found: pd.DataFrame) -> pd.DataFrame:
    """The rows of the file and `found`, which replaces rows of the same training."""
    keys = [c for c in ("cell", "means", "moved", "seed", "run") if c in found.columns]
    if path.is_file():
        before = pd.read_csv(path)
        again = pd.MultiIndex.from_frame(before[keys]).isin(pd.MultiIndex.from_frame(found[keys]))
        found = pd.concat([before[~again], found], ignore_index=True)
    order = {name: place for place, name in enumerate(MEANS)}
    return found.sort_values(
        [c for c in keys if c != "seed"],
        key=lambda column: column.map(order) if column.name == "means" else column,
        kind="stable",
        ignore_index=True,
    )


def curve_table(found: pd.DataFrame) -> str:
    """A row each of cell, means and what was moved: distances of scores after SHOWN epochs; of weights and of
    the AUROC of held-out sentences at the end; and the steepest growth of the weights' (`steepest`)."""
    lines = []
    for (cell, means, moved), part in found.groupby(["cell", "means", "moved"], sort=False):
        own = part.pivot(index="epoch", columns="measured", values="value")
        steps = part.drop_duplicates("epoch").set_index("epoch")["step"]
        weights, scores = (own[name].dropna() for name in ("weights", "scores"))
        change = (own["auroc moved"] - own["auroc"]).abs()[scores.index[-1]]
        growth = steepest(list(steps[weights.index]), list(weights))
        shown = [f"{scores[e]:.0e}" if e in scores.index else "–" for e in SHOWN]
        last = weights.index[-1]
        end = [f"{last:g}", f"{weights[last]:.0e}", f"{change:.4f}", f"{growth:.1f}"]
        lines.append([str(cell), str(means), str(moved), *shown, *end])
    header = ["cell", "means", "moved", *(f"scores, {e:g}" for e in SHOWN)]
    header += ["epochs", "weights", "AUROC", "growth"]
    return markdown(header, lines)


def training_table(found: pd.DataFrame) -> str:
    """A row each of cell and means: mean and standard deviation over trainings; – of a single one."""
    lines = []
    for (cell, means), part in found.groupby(["cell", "means"], sort=False):
        wide = part.pivot(index="run", columns="measured", values="value")
        sets = wide.drop(columns=[*HELD_OUT, "weights"], errors="ignore")
        several = len(wide) > 1
        apart = wide["weights"].dropna() if "weights" in wide else pd.Series(dtype=float)
        spread = sets.std(ddof=1)
        lines.append([
            str(cell), str(means), str(len(wide)),
            f"{wide['val_auroc'].mean():.4f}", f"{wide['val_auroc'].std(ddof=1):.4f}" if several else "–",
            f"{wide['val_loss'].mean():.4f}", f"{sets.mean().mean():.4f}",
            f"{np.sqrt(np.square(spread).mean()):.4f}" if several else "–",
            f"{(sets - sets.loc[0]).abs().max().max():.4f}" if several and 0 in sets.index else "–",
            f"{apart.mean():.2g}" if len(apart) else "–",
        ])  # fmt: skip
    header = [
        "cell", "means", "trainings", "held-out AUROC", "its spread", "held-out loss", "AUROC of the sets",
        "its spread", "largest change", "weights apart",
    ]  # fmt: skip
    return markdown(header, lines)


def curves(base: Session, cells: Sequence[Cell], options: argparse.Namespace) -> None:
    for cell in cells:
        for name in options.means:
            about = {"cell": cell.name, "seed": options.seed, "run": 1, "moved": options.moved, "means": name}
            identity = hash_value([about, asdict(MEANS[name]), options.epochs])
            path = options.work / f"curve-{identity[:16]}.csv"
            start = time.process_time()
            if not path.is_file():
                data = base.inputs(cell)
                rows = curve(
                    data, cell, MEANS[name], options.moved, 1, options.seed, options.epochs, options.work
                )
                write_csv(path, pd.DataFrame([{**about, **r} for r in rows])[list(CURVES)], "%.6g")
            write(options, "calm-curves", marked(base, pd.read_csv(path)), curve_table)
            took = f"{time.process_time() - start:.0f} s CPU"
            print(f"{cell.name}, {name}, {options.moved}: {took}", file=sys.stderr, flush=True)


def trainings(base: Session, cells: Sequence[Cell], options: argparse.Namespace) -> None:
    for run in range(options.runs + 1):
        for cell in cells:
            for name in options.means:
                start = time.process_time()
                rows = one_training(base, cell, name, run, options)
                about = {"cell": cell.name, "seed": options.seed, "run": run, "means": name}
                found = pd.DataFrame([{**about, "measured": k, "value": v} for k, v in rows.items()])
                write(options, "calm", marked(base, found[list(TRAININGS)]), training_table)
                took = f"{time.process_time() - start:.0f} s CPU"
                print(f"{cell.name}, {name}, run {run}: {took}", file=sys.stderr, flush=True)


def one_training(
    base: Session, cell: Cell, name: str, run: int, options: argparse.Namespace
) -> dict[str, float]:
    from benchmark.training.finished import load_method

    means: Means = MEANS[name]
    suffix = "" if name == PLAIN else f"-{hash_value(asdict(means))[:8]}"
    first, place = (options.work.resolve() / f"run-{r}{suffix}" for r in (0, run))
    with means.in_place():
        record, rows = one_run(base, means.of(cell), options.seed, run, place)
    values = measured(rows, record)
    if run:
        a, b = (trained(load_method(Project(p).run(cell.name, options.seed))) for p in (first, place))
        values["weights"] = distance(a, b)
    return values


def write(options: argparse.Namespace, name: str, found: pd.DataFrame, table: Any) -> None:
    """The file and the table after every training, so that what was measured before a stop is there."""
    path = options.reports / f"{name}.csv"
    found = added(path, found)
    write_csv(path, found, "%.6g")
    page = options.docs / "reproducibility.md"
    write_text(page, fill(page.read_text(encoding="utf-8"), name, table(found), page))


def main(argv: list[str] | None = None) -> None:
    parser = described(__doc__, "python -m perf.calm")
    parser.add_argument("what", choices=["curves", "trainings"])
    parser.add_argument("--project", type=Path, default=Path(), help="a project with its main cells trained")
    parser.add_argument("--work", type=Path, default=Path(".cache/rounding"), help="folder of runs")
    parser.add_argument("--cells", nargs="+", default=["carzero-main"])
    parser.add_argument("--means", nargs="+", choices=list(MEANS), default=[PLAIN])
    parser.add_argument("--moved", choices=MOVED, default="stored", help="what differs in a curve's last bit")
    parser.add_argument("--epochs", type=float, default=4, help="of a curve")
    parser.add_argument("--runs", type=int, default=3, help="trainings from moved features")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reports", type=Path, default=Path("reports"))
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of reproducibility.md")
    options = parser.parse_args(argv)
    if options.what == "trainings" and any(MEANS[name].double for name in options.means):
        parser.error("features are float32 where a model is evaluated: float64 is for curves")
    base = portable_session(options.project, "perf.calm", argv)
    options.work.mkdir(parents=True, exist_ok=True)
    alone = {"tasks": (), "more_prompts": ()}
    cells = [cell_named(base.params, name).model_copy(update=alone) for name in options.cells]
    (curves if options.what == "curves" else trainings)(base, cells, options)


if __name__ == "__main__":
    main()
