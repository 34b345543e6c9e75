"""What a summary adds to MLflow: one run a row of the tables, with the means over seeds and their intervals,
so that the best AUROC found there is the one of the headline."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.core.hashing import hash_value
from benchmark.core.locks import only_writer
from benchmark.core.reuse import is_made, key_of, record, source
from benchmark.core.tasks import CLASSIFICATION
from benchmark.grid.layout import Project
from benchmark.grid.params import Cell
from benchmark.stages.summarise import Summary
from benchmark.stages.tracked_results import headline_metrics
from benchmark.stages.tracking import METHODS_EXPERIMENT, Tracker, store_is_there, tracking_uri


def record_summary(project: Project, part: str, summary: Summary, cells: Sequence[Cell]) -> None:
    """Put the rows of a summary into the experiment of methods, in place of those of the last one; nothing
    where no training was recorded in a store, or these rows stand there already."""
    uri = tracking_uri(project.root)
    if not store_is_there(uri):
        return
    named = {cell.name: cell for cell in cells}
    metrics = summary.metrics
    own = {
        name: rows
        for name, cell in named.items()
        if len(rows := metrics[(metrics["run_id"] == name) & (metrics["prompts"] == cell.prompts.style)])
    }
    key = key_of(
        store=uri,
        source=source(__name__),
        rows={name: hash_value(rows.to_csv(index=False)) for name, rows in own.items()},
    )
    mark = project.mark("summary-mlflow", part)
    if is_made(mark, key, ()):
        return
    kept = []
    with only_writer(project.cache / "locks" / "mlflow"):
        for name, rows in own.items():
            tags = {"part": part, "cell": name, "method": named[name].method, "variant": named[name].variant}
            tags["origin"] = ", ".join(sorted(set(rows["origin"].astype(str))))
            tracker = Tracker(project.root, name, tags, experiment=METHODS_EXPERIMENT)
            for dataset, of_set in rows.groupby("dataset", sort=False):
                tracker.metrics(dict(headline_metrics(CLASSIFICATION, str(dataset), of_set)))
            tracker.close()
            kept.append(tracker.run_id)
        if kept:
            tracker.retire("part", part, kept)
        record(mark, key, ())
