"""What does rounding alone change? Trains cells again from features that differ in the last bit.

    python -m perf.rounding [--project .] [--cells clip-main carzero-main] [--runs 10] [--seed 0]

Each run trains one seed of a cell with every value of the image and sentence features moved to the next
number that their type can hold, up or down by chance, and evaluates it as `bench stage cell` does; run 0
moves nothing. All else, initial weights and order included, is the same: what differs is rounding. Writes
reports/rounding.csv, which gives verdicts and letters their stability, and the table of
docs/reproducibility.md, which holds it against the spread of seeds. A run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmark.core import numerics
from benchmark.core.files import write_csv, write_text
from benchmark.core.hashing import derive_seed, hash_value
from benchmark.core.tables import TWIN_NOTICE, read_table
from benchmark.grid.layout import METRICS, Project, source_name
from benchmark.grid.params import Cell, cell_named
from benchmark.grid.params_file import load_params
from benchmark.reporting.on_disk import ROUNDING
from benchmark.stages.evaluate import evaluate_cell
from benchmark.stages.run import Session
from benchmark.stages.run_record import RunRecord, run_record
from perf.options import described
from perf.simulation_report import fill, markdown

if TYPE_CHECKING:
    from benchmark.training.data import TrainingData

ROWS = 256
"""Images that are moved at once, so that no second copy of all features is in memory."""
COLUMNS = ("cell", "dataset", "stratum", "metric", "run", "value", "change")


def moved(array: np.ndarray, seed: int, folder: Path, name: str) -> np.ndarray:
    """Every value of `array`, (N, ...), replaced by its upper or lower neighbour in its own type; on disk."""
    found = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", array.dtype, array.shape)
    for start in range(0, len(array), ROWS):
        part = np.asarray(array[start : start + ROWS])
        up = np.random.default_rng([seed, start]).random(part.shape) < 0.5
        found[start : start + ROWS] = np.nextafter(part, np.where(up, np.inf, -np.inf).astype(part.dtype))
    return found


def moved_data(data: TrainingData, run: int, folder: Path) -> TrainingData:
    """What a run trains on; run 0 trains on the features as they are."""
    from benchmark.encoders.store import FeatureStore, TextStore

    images, text = data.images, data.text
    if run == 0:
        return data
    if not isinstance(images, FeatureStore) or not isinstance(text, TextStore):
        raise SystemExit("encoders are fine-tuned here: there are no features to move.")

    def own(array: np.ndarray, name: str) -> np.ndarray:
        return moved(array, derive_seed(run, "last bit", name), folder, name)

    return replace(
        data,
        images=replace(
            images,
            pooled=own(images.pooled, "image-pooled"),
            local=own(images.local, "image-local"),
            key=hash_value([images.key, "last bit", run]),
        ),
        text=replace(
            text,
            pooled=own(text.pooled, "text-pooled"),
            tokens=own(text.tokens, "text-tokens"),
            key=hash_value([text.key, "last bit", run]),
        ),
    )


def macro_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Macro AUROC of every stratum under the cell's own prompts."""
    own = frame["prompts"] == frame["prompts"].iloc[0]
    return frame[own & (frame["class"] == "macro") & (frame["metric"] == "auroc") & frame["value"].notna()]


def one_run(
    base: Session, cell: Cell, seed: int, run: int, place: Path
) -> tuple[RunRecord, list[dict[str, Any]]]:
    """The record of the training, and rows of COLUMNS but `change`; made where that was not done.

    place: the folder of this training and its evaluations, its own for other settings of the cell.
    """
    from benchmark.stages.train import untrained
    from benchmark.training.finished import RUN
    from benchmark.training.loop import train

    project = Project(place)
    place.mkdir(parents=True, exist_ok=True)
    data = base.inputs(cell)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        own = moved_data(data, run, Path(folder))
        method = untrained(cell, seed, data)
        result = train(method, own, cell.training, project.run(cell.name, seed), seed)
    for dataset in cell.evaluate:
        base.evaluation_data(dataset)  # By the project that was given; the folder of a run holds no data.
    record = run_record({**result.run, "trained_on": base.params.data.train}, result.folder / RUN)
    found = evaluate_cell(replace(base, project=project), cell, seed, record)
    rows = []
    for (_, dataset), frame in found.items():
        for row in macro_rows(frame).to_dict("records"):
            head = {"cell": cell.name, "dataset": dataset, "stratum": row["stratum"]}
            rows.append({**head, "metric": "auroc", "run": run, "value": float(row["value"])})
    return record, rows


def changes(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """COLUMNS of runs 1 and up; change: to the value of run 0."""
    frame = pd.DataFrame(rows)
    keys = ["cell", "dataset", "stratum", "metric"]
    plain = frame[frame["run"] == 0].set_index(keys)["value"].rename("plain")
    found = frame[frame["run"] > 0].join(plain, on=keys)
    return found.assign(change=found["value"] - found["plain"])[list(COLUMNS)].reset_index(drop=True)


def marked(base: Session, found: pd.DataFrame) -> pd.DataFrame:
    """`found` with the column `evidence` of every table in reports/: what says that a twin was trained on."""
    origin = base.manifest(base.params.data.train).origin
    return found.assign(evidence=TWIN_NOTICE if origin == "twin" else "")


@dataclass(frozen=True)
class Spread:
    """cell, dataset; standard deviations of macro AUROC over runs and over seeds."""

    cell: str
    dataset: str
    runs: int
    rounding: float
    largest: float
    seeds: int
    spread: float


def spreads(project: Project, found: pd.DataFrame, origins: dict[str, str]) -> list[Spread]:
    """Beside the seeds that the project trained; NaN where it has fewer than two."""
    rows = []
    whole = found[found["stratum"] == "all"]
    for of, part in whole.groupby(["cell", "dataset"], sort=False):
        cell, dataset = map(str, of)
        place = source_name(dataset, origins[dataset])
        files = [f / place / METRICS for _, f in project.evaluations(cell)]
        values = [
            macro_rows(read_table(f)[0]).query("stratum == 'all'")["value"] for f in files if f.is_file()
        ]
        seeds = np.array([float(v.iloc[0]) for v in values if len(v)])
        change = part["change"].to_numpy()
        spread = float(seeds.std(ddof=1)) if len(seeds) > 1 else float("nan")
        rounding = float(change.std(ddof=1)) if len(change) > 1 else float("nan")
        largest = float(np.abs(change).max())
        rows.append(Spread(cell, dataset, len(change), rounding, largest, len(seeds), spread))
    return rows


def table(rows: Sequence[Spread]) -> str:
    header = [
        "cell",
        "set",
        "runs",
        "spread by rounding",
        "largest change",
        "seeds",
        "spread of seeds",
        "ratio",
    ]
    lines = [
        [r.cell, r.dataset, str(r.runs), f"{r.rounding:.4f}", f"{r.largest:.4f}", str(r.seeds),
         f"{r.spread:.4f}", f"{r.rounding / r.spread:.2f}" if r.spread > 0 else "–"]
        for r in rows
    ]  # fmt: skip
    return markdown(header, lines)


def portable_session(folder: Path, module: str, argv: list[str] | None) -> Session:
    """A session of the project in this folder. Where it is portable and this process is not, runs the module
    in one that is and leaves with its status: kernels are chosen when libraries are loaded."""
    project = Project(folder.resolve())
    params = load_params(project.params)
    if params.numerics == "portable" and not numerics.pinned():
        numerics.pin("portable")
        given = sys.argv[1:] if argv is None else argv
        raise SystemExit(subprocess.run([sys.executable, "-m", module, *given]).returncode)
    import torch

    torch.set_num_threads(1)
    return Session(project, params, lambda line: None)


def main(argv: list[str] | None = None) -> None:
    parser = described(__doc__, "python -m perf.rounding")  # fmt: skip
    parser.add_argument("--project", type=Path, default=Path(), help="a project with its main cells trained")
    parser.add_argument("--work", type=Path, default=Path(".cache/rounding"), help="folder of runs")
    parser.add_argument("--cells", nargs="+", default=["clip-main", "carzero-main"])
    parser.add_argument("--runs", type=int, default=10, help="trainings from moved features")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reports", type=Path, default=Path(ROUNDING))
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of reproducibility.md")
    options = parser.parse_args(argv)
    base = portable_session(options.project, "perf.rounding", argv)
    alone = {"tasks": (), "more_prompts": ()}
    cells = [cell_named(base.params, name).model_copy(update=alone) for name in options.cells]
    options.work.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for run in range(options.runs + 1):
        for cell in cells:
            start = time.monotonic()
            rows += one_run(base, cell, options.seed, run, options.work.resolve() / f"run-{run}")[1]
            print(f"run {run} {cell.name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        if run:
            write(base, changes(rows), options)


def write(base: Session, found: pd.DataFrame, options: argparse.Namespace) -> None:
    """The table after every run, so that what was measured before a stop is there."""
    origins: dict[str, str] = {d: base.manifest(d).origin for d in dict.fromkeys(found["dataset"])}
    write_csv(options.reports, marked(base, found), "%.6f")
    page = options.docs / "reproducibility.md"
    made = table(spreads(base.project, found, origins))
    write_text(page, fill(page.read_text(encoding="utf-8"), "rounding", made, page))


if __name__ == "__main__":
    main()
