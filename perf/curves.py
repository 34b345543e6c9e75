"""Validation and test AUROC of every method at 1, 2, 4 and 8 times a budget, as a table and a figure.

    python perf/curves.py [--methods clip carzero] [--base 20] [--times 1 2 4 8] [--dataset padchest]

Run inside a project whose main cells are made (`make reproduce`): the main cell is the run of its own budget.
Every other run is a cell of its own, trained and evaluated by the pipeline, so a second call goes on where
the first was stopped. Validation is the AUROC of held-out sentences at every look; test is the macro AUROC
of the kept weights at the end of a run, by which nothing is chosen. Writes reports/robustness/convergence.csv
and convergence.png.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.core import numerics

if TYPE_CHECKING:
    import pandas as pd


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="*", default=None)
    parser.add_argument("--base", type=int, default=20, help="epochs of one budget")
    parser.add_argument("--times", nargs="*", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--dataset", default="padchest")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    numerics.pin(numerics.wanted([], Path.cwd()))  # before numpy and torch are loaded
    import pandas as pd

    from benchmark.core.tasks import CLASSIFICATION
    from benchmark.grid.params import main_cell
    from benchmark.stages.entry import session
    from benchmark.stages.evaluate import evaluate_task
    from benchmark.stages.run import train_one

    now = session()
    frames = []
    for times in sorted(chosen.times):
        for method in chosen.methods or now.params.methods:
            cell = main_cell(now.params, method)
            training = cell.training.model_copy(update={"epochs": chosen.base * times})
            name = cell.name if training == cell.training else f"{method}~{training.epochs}-epochs"
            own = {"name": name, "training": training, "evaluate": (chosen.dataset,), "more_prompts": ()}
            cell = cell.model_copy(update=own)
            run = train_one(now, cell, chosen.seed)
            rows = evaluate_task(now, CLASSIFICATION, cell, chosen.seed, chosen.dataset, run)
            if rows is None:
                raise SystemExit(f"{chosen.dataset}: cannot be evaluated.")
            macro = (rows["class"] == "macro") & (rows["stratum"] == "all") & (rows["metric"] == "auroc")
            history = pd.read_csv(now.project.run(name, chosen.seed) / "history.csv")
            frames.append(
                history[["epoch", "step", "train_loss", "val_loss", "val_auroc"]].assign(
                    method=method, times=times, seed=chosen.seed, dataset=chosen.dataset,
                    test_auroc=float(rows[macro]["value"].iloc[0]), best_epoch=run.best_epoch,
                    gain_last_quarter=run.gain_last_quarter, converged=run.converged,
                )
            )  # fmt: skip
            write(pd.concat(frames, ignore_index=True), now.project.reports / "robustness")
            last = frames[-1].iloc[-1]
            sys.stdout.write(
                f"{method} x{times}: validation {frames[-1]['val_auroc'].max():.4f}, test "
                f"{last['test_auroc']:.4f}, gain of the last quarter {run.gain_last_quarter}\n"
            )
            sys.stdout.flush()


def write(table: pd.DataFrame, folder: Path) -> None:
    """The table, and a panel a method: lines are validation, one a budget; points are test at the end."""
    import matplotlib.pyplot as plt

    from benchmark.core.files import atomic_path

    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "convergence.csv") as path:
        table.to_csv(path, index=False, float_format="%.6g")
    methods = list(dict.fromkeys(table["method"]))
    figure, axes = plt.subplots(-(-len(methods) // 3), 3, figsize=(10, 5.5), squeeze=False, sharey=True)
    for axis, method in zip(axes.flat, methods, strict=False):
        for times, part in table[table["method"] == method].groupby("times"):
            (line,) = axis.plot(part["step"], part["val_auroc"], lw=1.2, label=f"{times}x")
            axis.plot(part["step"].iloc[-1], part["test_auroc"].iloc[-1], "o", color=line.get_color())
        axis.set(title=method, xlabel="step")
        axis.legend(fontsize=7)
    for axis in list(axes.flat)[len(methods) :]:
        axis.set_visible(False)
    for row in axes:
        row[0].set_ylabel("macro AUROC")
    figure.suptitle("Lines: held-out sentences at each look. Points: test, at the end. SYNTHETIC TWINS")
    figure.tight_layout()
    with atomic_path(folder / "convergence.png") as path:
        figure.savefig(path, format="png", dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
