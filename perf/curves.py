"""Validation and test AUROC of every method at 1, 2, 4 and 8 times a budget, as a table and a figure.

    python perf/curves.py [--methods clip carzero] [--base 20] [--times 1 2 4 8] [--dataset padchest]

Run inside a project whose main cells are made (`make reproduce`): the main cell is the run of its own budget.
Every other run is that of `bench run --set training.epochs=N`, trained and evaluated by the pipeline, so a
second call goes on where the first was stopped. Validation is the AUROC of held-out sentences at every look;
test is the macro AUROC of the kept weights at the end of a run, by which nothing is chosen. Writes
reports/robustness/convergence.csv and convergence.{png,svg,pdf}.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.core import numerics
from perf.options import described

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.grid.layout import Project
    from benchmark.grid.params import Cell

HUES = ("#a6bddb", "#3690c0", "#1b1f27", "#c1666b")
"""Of the budgets, the shortest first."""


def main() -> None:
    parser = described(__doc__)
    parser.add_argument("--methods", nargs="*", default=None)
    parser.add_argument("--base", type=int, default=20, help="epochs of one budget")
    parser.add_argument("--times", nargs="*", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--dataset", default="padchest")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    numerics.pin(numerics.wanted([], Path.cwd()))  # before numpy and torch are loaded
    import pandas as pd

    from benchmark.core.tasks import CLASSIFICATION
    from benchmark.encoders.exposure import level
    from benchmark.reporting.seen import trained_exposure
    from benchmark.stages.entry import session
    from benchmark.stages.evaluate import evaluate_task
    from benchmark.stages.run import train_one

    now = session()
    frames = []
    for times in sorted(chosen.times):
        for cell in cells(now.project, chosen.dataset, chosen.base * times):
            if chosen.methods and cell.method not in chosen.methods:
                continue
            run = train_one(now, cell, chosen.seed)
            rows = evaluate_task(now, CLASSIFICATION, cell, chosen.seed, chosen.dataset, run)
            if rows is None:
                raise SystemExit(f"{chosen.dataset}: cannot be evaluated.")
            macro = (rows["class"] == "macro") & (rows["stratum"] == "all") & (rows["metric"] == "auroc")
            history = pd.read_csv(now.project.run(cell.name, chosen.seed) / "history.csv")
            frames.append(
                history[["epoch", "step", "train_loss", "val_loss", "val_auroc"]].assign(
                    method=cell.method, budget=cell.training.epochs, seed=chosen.seed, dataset=chosen.dataset,
                    test_auroc=float(rows[macro]["value"].iloc[0]), best_epoch=run.best_epoch,
                    gain_last_quarter=run.gain_last_quarter, converged=run.converged,
                    seen=level(trained_exposure(now.params, cell), chosen.dataset),
                )
            )  # fmt: skip
            last = frames[-1].iloc[-1]
            sys.stdout.write(
                f"{cell.method} x{times}: validation {frames[-1]['val_auroc'].max():.4f}, test "
                f"{last['test_auroc']:.4f}, gain of the last quarter {run.gain_last_quarter}\n"
            )
            sys.stdout.flush()
    origin = now.evaluation_data(chosen.dataset).manifest.origin
    write(pd.concat(frames, ignore_index=True), now.project.reports / "robustness", origin == "twin")


def cells(project: Project, dataset: str, epochs: int) -> tuple[Cell, ...]:
    """Every method's main cell with this budget, under the name that `bench run --set training.epochs=N`
    gives it; with the configured budget the main cell itself."""
    from benchmark.grid.request import Request, plan

    return plan(project, Request("all", dataset, sets=(f"training.epochs={epochs}",))).cells


def write(table: pd.DataFrame, folder: Path, synthetic: bool) -> None:
    """The table, and a panel a method: lines are validation, one a budget; points are test at the end."""
    from benchmark.core.files import atomic_path
    from benchmark.core.tables import TWIN_NOTICE
    from benchmark.grid.declared import declared
    from benchmark.reporting.figures.style import Drawing, finish, new_figure, save

    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "convergence.csv") as path:
        marked = table.assign(evidence=TWIN_NOTICE if synthetic else "")
        marked.to_csv(path, index=False, float_format="%.6g")
    methods, budgets = list(dict.fromkeys(table["method"])), sorted(set(table["budget"]))
    down = -(-len(methods) // 3)
    figure, axes = new_figure(10, 2.7 * down + 0.8, 3, down, squeeze=False, sharex=True, sharey=True)
    said = []
    for axis, method in zip(axes.flat, methods, strict=False):
        for k, budget in enumerate(budgets):
            part = table[(table["method"] == method) & (table["budget"] == budget)]
            if part.empty:
                continue
            hue = HUES[k % len(HUES)]
            axis.plot(part["step"], part["val_auroc"], lw=1.3, color=hue, label=f"{budget} epochs")
            test = part["test_auroc"].iloc[-1]
            axis.plot(part["step"].iloc[-1], test, "o", ms=5.5, color=hue, mec="white", mew=0.6)
            said.append(f"{method}, {budget} epochs: held out {part['val_auroc'].max():.3f}, test {test:.3f}")
        axis.set_title(declared(method).title)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:,.0f}")
    for axis in list(axes.flat)[len(methods) :]:
        axis.set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("steps")
    for row in axes:
        row[0].set_ylabel("macro AUROC")
    axes[0][-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    title = "What a longer training gives"
    note = f"lines: held-out sentences at each look; points: {table['dataset'].iloc[0]}, at the end"
    finish(figure, title, synthetic, note)
    caption = "Validation AUROC over steps under several budgets, and test AUROC of the kept weights."
    save(Drawing("convergence", title, caption, f"Lines. {'; '.join(said)}.", figure, synthetic), folder)


if __name__ == "__main__":
    main()
