"""What evaluations add to the MLflow run of a training: metrics with their limits, the evaluation sets by
their digests, a figure and a table of the classes. Numbers and class names only, no patient and no text."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.locks import only_writer
from benchmark.core.reuse import is_made, key_of, record, source
from benchmark.core.tables import Predictions
from benchmark.core.tasks import CLASSIFICATION, task_named
from benchmark.grid.layout import source_name
from benchmark.grid.params import Cell
from benchmark.stages.run_record import RunRecord
from benchmark.stages.tracking import Tracker, store_is_there, tracking_uri

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.stages.run import Session

MARK = "mlflow.json"
CLASS_COLUMNS = ("class", "metric", "value", "low", "high", "n_pos", "n_neg", "note")


def record_results(
    session: Session,
    cell: Cell,
    seed: int,
    run: RunRecord,
    found: Mapping[tuple[str, str], pd.DataFrame],
) -> None:
    """Put the results of one cell and seed on its MLflow run, once for each state of results and store.

    found: (task, dataset) → metric rows. A store without the run of the training (which was made before
    the store, or under another one) gets a run of its name and identity.
    """
    project, uri = session.project, tracking_uri(session.project.root)
    sets: dict[str, dict[str, pd.DataFrame]] = {}
    for (task, name), rows in found.items():
        sets.setdefault(name, {})[task] = rows
    pending = []
    for name, tables in sets.items():
        data = session.evaluation_data(name)
        folder = project.results(cell.name, seed) / source_name(name, data.manifest.origin)
        key = key_of(
            store=uri,
            source=source("benchmark.stages.tracked_results"),
            run=run.identity,
            rows={task: rows.to_csv(index=False) for task, rows in sorted(tables.items())},
            set=data.identity,
        )
        if not (store_is_there(uri) and is_made(folder / MARK, key, ())):
            pending.append((tables, data, folder, key))
    if not pending:
        return
    tags = {"cell": cell.name, "method": cell.method, "seed": str(seed)}
    with only_writer(project.cache / "locks" / "mlflow"):
        tracker = Tracker(project.root, f"{cell.name}/seed-{seed}", tags, run.identity)
        tracker.tags({"variant": cell.variant, "origin": pending[0][1].manifest.origin})
        for tables, data, folder, key in pending:
            _record_set(tracker, cell, seed, tables, data, folder)
            record(folder / MARK, key, ())
        tracker.close()


def _record_set(
    tracker: Tracker,
    cell: Cell,
    seed: int,
    tables: Mapping[str, pd.DataFrame],
    data: EvaluationData,
    folder: Path,
) -> None:
    name, origin = data.card.name, data.manifest.origin
    about = {
        "title": data.card.title,
        "version": data.card.version,
        "origin": origin,
        "protocol": data.chosen.info.protocol,
        "images": len(data),
        "classes": len(data.chosen.classes),
    }
    tracker.dataset(name, data.identity, about, "evaluation")
    for task, rows in tables.items():
        tracker.metrics(dict(headline_metrics(task, name, rows)))
    if CLASSIFICATION not in tables:
        return
    rows = tables[CLASSIFICATION]
    classes = rows[(rows["prompts"] == rows["prompts"].iloc[0]) & ~rows["class"].isin(["macro", "micro"])]
    scores = Predictions.load(folder / "predictions.parquet").frame[list(data.chosen.classes)].to_numpy()
    twin = ": SYNTHETIC TWIN" if origin == "twin" else ""
    with tempfile.TemporaryDirectory() as place:
        table, picture = Path(place) / f"{name}.csv", Path(place) / f"{name}.png"
        classes[list(CLASS_COLUMNS)].to_csv(table, index=False)
        figure = roc_figure(scores, data.chosen.labels, f"{cell.name}, seed {seed}, {name}{twin}")
        figure.savefig(picture, dpi=120)
        tracker.file(table, "classes")
        tracker.file(picture, "roc")


def headline_metrics(task: str, dataset: str, rows: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """`padchest/auroc`, `padchest/auroc/low`, `padchest/auroc/tail`, …: macro values over all classes and
    over each stratum under the cell's own prompts, with their limits; subgroups stay in the tables."""
    headlines = task_named(task).headlines
    own = rows[(rows["class"] == "macro") & (rows["prompts"] == rows["prompts"].iloc[0])]
    own = own[own["metric"].isin(headlines) & ~own["stratum"].str.contains("=")]
    for row in own.itertuples():
        name = f"{dataset}/{row.metric}" + ("" if row.stratum == "all" else f"/{row.stratum}")
        yield _safe(name), float(row.value)
        yield _safe(f"{name}/low"), float(row.low)
        yield _safe(f"{name}/high"), float(row.high)


def _safe(name: str) -> str:
    """A metric name that MLflow takes."""
    return "".join(c if c.isalnum() or c in "_-./ " else "_" for c in name)


def roc_figure(scores: np.ndarray, labels: np.ndarray, title: str) -> Figure:
    """ROC curves of the classes in grey and their mean in colour (averaged at equal false positive rates).

    scores: (N, C). labels: (N, C) 1, 0, or -1 for ignored. Classes without positives or negatives are left
    out.
    """
    from matplotlib.figure import Figure
    from sklearn.metrics import roc_curve

    figure = Figure(figsize=(4.2, 4.2), layout="constrained")
    axes = figure.subplots()
    grid = np.linspace(0, 1, 201)
    curves = []
    for own, truth in zip(scores.T, labels.T, strict=True):
        kept = truth >= 0
        if {0, 1} <= set(truth[kept].tolist()):
            false, true, _ = roc_curve(truth[kept], own[kept])
            axes.plot(false, true, color="0.8", linewidth=0.5)
            curves.append(np.interp(grid, false, true))
    if curves:
        axes.plot(grid, np.mean(curves, axis=0), color="#0173b2", label=f"mean of {len(curves)} classes")
        axes.legend(loc="lower right", frameon=False)
    axes.plot([0, 1], [0, 1], color="0.5", linestyle=":", linewidth=0.8)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1))
    axes.set_title(title, fontsize=9)
    return figure
