"""Tables 6 and 7: grounding, segmentation, retrieval and modality gap, where their rows exist."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark.core.tasks import CLASSIFICATION, task_named
from benchmark.reporting import columns as common
from benchmark.reporting.effects import seed_mean
from benchmark.reporting.evidence import Evidence
from benchmark.reporting.numbers import missing
from benchmark.reporting.published import Published
from benchmark.reporting.table import Row, Table, count, words
from benchmark.reporting.tables import Material

PLACE = 60


def tables(material: Material) -> Iterable[Table | None]:
    """One for each task that has rows."""
    evidence = material.evidence
    found = [t for t in dict.fromkeys(evidence.seeds["task"]) if t != CLASSIFICATION and not missing(t)]
    return [task_table(evidence, material.published, task) for task in found]


def task_table(evidence: Evidence, published: Published, task: str) -> Table:
    """One row a dataset, method and metric; macro rows and rows over all classes."""
    frame = evidence.seeds[evidence.seeds["task"] == task]
    keys = ["dataset", "name", "class", "stratum", "metric"]
    rows: list[Row] = []
    for key, part in frame.groupby(keys, sort=False, dropna=False):
        dataset, name, cls, stratum, metric = (str(k) for k in key)
        about = evidence.task_sets.get((task, dataset))
        if name not in evidence.cells or about is None:
            continue
        share = task_named(task).is_share(metric)
        mean = seed_mean(part.to_dict("records"), evidence.level, share=share)
        cell = evidence.cell(name)
        what = {"task": task, "stratum": stratum, "metric": metric, "cls": None if cls == "macro" else cls}
        rows.append(
            {
                "dataset": dataset,
                "cell": name,
                "method": cell.heading,
                "seen": evidence.seen(name, dataset),
                "metric": metric,
                "class": cls,
                "stratum": stratum,
                "ours": common.measured(mean),
                **common.beside_published(published, about, cell.title, cell.variant, mean, **what),
                "seeds": len(part),
                **common.counts(about, mean),
            }
        )
    strata = "Stratum" if any(row["stratum"] != "all" for row in rows) else ""
    return Table(
        name=task,
        title=task_named(task).title,
        columns=(
            common.DATASET, words("cell"), common.METHOD, common.SEEN, words("metric", "Metric"),
            words("class", "Class"), words("stratum", strata), *common.PUBLISHED, common.OURS,
            *common.AGAINST_PUBLISHED, count("seeds", "Seeds"), *common.COUNTS, common.ORIGIN,
        ),
        rows=tuple(rows),
        notes=(
            "Means over seeds. The interval joins the mean interval of one seed (patients, shared by the "
            "seeds) with the spread of the seeds; it is conservative.",
        ),
        synthetic=evidence.synthetic() or any(row["origin"] == "twin" for row in rows),
    )  # fmt: skip
