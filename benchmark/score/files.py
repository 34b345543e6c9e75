"""The work of `bench score`, as one function from files to tables."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.core.errors import BenchError, DataError
from benchmark.evaluation.comparison import Run, compare, ranking, summarise_runs
from benchmark.evaluation.evaluate import evaluate
from benchmark.evaluation.statistics.config import StatisticsConfig
from benchmark.evaluation.statistics.strata import frequency_deciles
from benchmark.score.joining import (
    Joined,
    Truth,
    dataset_truth,
    join,
    positional,
    subgroups_of,
    truth_of_table,
)
from benchmark.score.predictions_file import ClassTable, read_class_table, read_patients

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ScoreRequest:
    """Options of the command; see `bench score --help`."""

    predictions: Path
    second: Path | None = None
    labels: Path | None = None
    dataset: str | None = None
    data_root: Path | None = None
    protocol: str | None = None
    positional: bool = False
    layout: Any = "auto"
    id_column: str | None = None
    patients: str | None = None
    rows: Any = "strict"
    classes: Any = "strict"
    bad_scores: Any = "error"
    uncertain: Any = "ignore"
    blank: Any = "ignore"
    subgroups: tuple[str, ...] = ()
    interval: Any = "analytic"
    draws: int = 2000
    level: float = 0.95
    thresholded: bool = False
    deciles: bool = False
    seed: int = 0


@dataclass(frozen=True)
class ScoreResult:
    """metrics: METRIC_COLUMNS, `method` is the file's name. comparisons, ranks: with a second file."""

    source: str
    metrics: pd.DataFrame
    counts: dict[str, dict[str, int]]
    mapping: list[tuple[str, str]] = field(default_factory=list)
    comparisons: pd.DataFrame | None = None
    ranks: pd.DataFrame | None = None


def score_files(request: ScoreRequest) -> ScoreResult:
    """Read, join, evaluate. Raises BenchError with one line on anything that does not fit."""
    import pandas as pd
    import pyarrow as pa

    files = [request.predictions] + ([request.second] if request.second else [])
    names = _names(files)
    tables = {n: _read(request, f) for n, f in zip(names, files, strict=True)}
    truth = _truth(request, tables[names[0]])
    pa.default_memory_pool().release_unused()
    mapping: list[tuple[str, str]] = []
    if request.positional:
        for name in names:
            tables[name], mapping = positional(tables[name], truth.classes)
    truth = _with_patients(request, truth, list(tables.values()))
    joined = _join_all(request, truth, tables)
    tables.clear()
    final = joined[names[0]].truth
    strata = dict(final.strata)
    if request.deciles:
        strata |= frequency_deciles((final.labels == 1).sum(axis=0), final.classes)
    subgroups = subgroups_of(final, request.subgroups)
    config = StatisticsConfig(
        level=request.level,
        interval=request.interval,
        draws=request.draws,
        thresholded=request.thresholded,
    )
    shared: dict[str, Any] = {"strata": strata, "subgroups": subgroups, "config": config}
    identity = {"dataset": request.dataset, "origin": "official" if request.dataset else None}
    frames = [
        evaluate(
            item.scores,
            final.labels,
            final.patients,
            final.classes,
            identity={**identity, "method": name, "task": "classification"},
            seed=request.seed,
            **shared,
        )
        for name, item in joined.items()
    ]
    comparisons = ranks = None
    if request.second:
        runs = [Run(name, 0, item.scores) for name, item in joined.items()]
        summary = summarise_runs(runs, final.labels, final.patients, final.classes, **shared)
        comparisons = compare(summary, identity=identity, config=config)
        ranks = ranking(comparisons, level=config.level, power=config.power)
    counts = {name: item.counts for name, item in joined.items()}
    return ScoreResult(
        truth.source, pd.concat(frames, ignore_index=True), counts, mapping, comparisons, ranks
    )


def _names(files: list[Path]) -> list[str]:
    stems = [f.stem for f in files]
    return stems if len(set(stems)) == len(stems) else [str(f) for f in files]


def _read(request: ScoreRequest, path: Path) -> ClassTable:
    return read_class_table(
        path,
        value="score",
        layout=request.layout,
        id_column=request.id_column,
        patient_column=None,
    )


def _truth(request: ScoreRequest, first: ClassTable) -> Truth:
    if request.labels is not None and request.dataset is not None:
        raise BenchError("--labels and --dataset were both given; choose one source of labels.")
    if request.dataset is not None:
        if request.data_root is None:
            raise BenchError(f"--dataset {request.dataset} needs --data-root, its folder of official files.")
        return dataset_truth(request.dataset, request.data_root, request.protocol)
    policy = request.uncertain, request.blank
    if request.labels is not None:
        table = read_class_table(request.labels, value="label", id_column=request.id_column, guess_id=True)
        return truth_of_table(table, *policy)
    if first.info.get("long_label"):
        own = request.predictions
        table = read_class_table(own, value="label", layout="long", id_column=request.id_column)
        return truth_of_table(table, *policy)
    raise BenchError("no labels: give --labels FILE, or --dataset NAME with --data-root DIR.")


def _with_patients(request: ScoreRequest, truth: Truth, tables: list[ClassTable]) -> Truth:
    """Patients from the option, else from the labels, else from the predictions."""
    if request.patients == "none":
        return replace(truth, patients=None)
    if request.patients is not None and Path(request.patients).is_file():
        return replace(truth, patients=read_patients(request.patients, truth.ids))
    if request.patients is not None:
        if request.patients in truth.columns:
            return replace(truth, patients=truth.columns[request.patients])
        for table in tables:
            if request.patients in table.others:
                values = table.others[request.patients]
                return replace(truth, patients=_aligned(truth.ids, table.ids, values))
        raise DataError(
            f"--patients {request.patients}: neither a file nor a column of labels or predictions."
        )
    if truth.patients is not None:
        return truth
    for table in tables:
        if table.patients is not None:
            return replace(truth, patients=_aligned(truth.ids, table.ids, table.patients))
    return truth


def _aligned(ids: np.ndarray, known_ids: np.ndarray, values: np.ndarray) -> np.ndarray:
    known = dict(zip(known_ids, values, strict=True))
    return np.array([known.get(i, "") for i in ids], dtype=object)


def _join_all(request: ScoreRequest, truth: Truth, tables: dict[str, ClassTable]) -> dict[str, Joined]:
    """Join every file; with `common` policies all files are cut to what all of them share."""
    policy: dict[str, Any] = {
        "rows": request.rows,
        "classes": request.classes,
        "bad_scores": request.bad_scores,
    }
    joined = {name: join(truth, table, **policy) for name, table in tables.items()}
    if len(tables) == 1:
        return joined
    shared = truth
    for table in tables.values():
        shared = join(shared, table, **policy).truth
    both = {**policy, "rows": "common", "classes": "common"}
    return {
        name: Joined(shared, join(shared, table, **both).scores, joined[name].counts)
        for name, table in tables.items()
    }
