"""Spread of the macro AUROC over the seeds of every method's main cell, beside that under other budgets.

    python perf/spread.py [--epochs 20 80]

Run inside a project where the main cells are made (`make reproduce`), and those of every other budget
(`bench run --method all --dataset main --set training.epochs=N`). Prints the root of the mean square, over
the evaluation sets, of the standard deviation over seeds; nothing is trained.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from benchmark.grid.layout import Project
from benchmark.grid.params_file import load_params
from perf.curves import cells
from perf.options import described


def main() -> None:
    parser = described(__doc__)
    parser.add_argument("--epochs", nargs="*", type=int, default=[20, 80])
    chosen = parser.parse_args()
    project = Project.find()
    params = load_params(project.params)
    for epochs in chosen.epochs:
        spreads = {
            cell.method: [
                float(np.std([macro(project, cell.name, seed, dataset) for seed in params.seeds], ddof=1))
                for dataset in params.data.evaluate
            ]
            for cell in cells(project, params.data.evaluate[0], epochs)
        }
        said = [f"{method} {together(own):.4f}" for method, own in spreads.items()]
        every = together([value for own in spreads.values() for value in own])
        largest = max(max(own) for own in spreads.values())
        sys.stdout.write(f"{epochs} epochs: {', '.join(said)}; all {every:.4f}; largest {largest:.3f}\n")


def macro(project: Project, cell: str, seed: int, dataset: str) -> float:
    """Macro AUROC under the cell's own prompts. Ends with a line where the cell was not evaluated."""
    path = project.results(cell, seed) / dataset / "metrics.parquet"
    if not path.is_file():
        raise SystemExit(f"{path}: not there. Run `bench run --method all --dataset main` with these epochs.")
    rows = pd.read_parquet(path)
    rows = rows[(rows["class"] == "macro") & (rows["stratum"] == "all") & (rows["metric"] == "auroc")]
    return float(rows["value"].iloc[0])


def together(spreads: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(spreads))))


if __name__ == "__main__":
    main()
