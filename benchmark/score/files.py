"""The work of `bench score`, as one function from files to tables."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.core.cells import NOBODY, known_clusters
from benchmark.core.errors import BenchError, DataError, closest
from benchmark.core.patient_ids import check_one_form
from benchmark.core.settings import StatisticsConfig
from benchmark.evaluation.comparison import Run, compare, ranking, summarise_runs
from benchmark.evaluation.evaluate import evaluate
from benchmark.evaluation.statistics.metric_values import RowIdentity
from benchmark.evaluation.statistics.strata import frequency_deciles
from benchmark.score.joining import (
    Joined,
    Truth,
    age_bands,
    dataset_truth,
    is_age,
    join,
    same_patients,
    subgroups_of,
    truth_of_table,
)
from benchmark.score.naming import by_affix, by_position
from benchmark.score.predictions_file import ClassTable, Layout, class_table, is_long, read_patients
from benchmark.score.raw_table import RawTable, open_table

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
    columns: Any = "name"
    layout: Any = "auto"
    id_columns: tuple[str, ...] = ()
    patients: str | None = None
    rows: Any = "strict"
    classes: Any = "strict"
    bad_scores: Any = "error"
    uncertain: Any = "ignore"
    blank: Any = "ignore"
    subgroups: tuple[str, ...] = ()
    interval: Any = "analytic"
    draws: int | None = None
    level: float = 0.95
    thresholded: bool = False
    deciles: bool = False
    seed: int | None = None

    @property
    def drawn(self) -> tuple[int, int]:
        """Draws and seed of the bootstrap. Raises BenchError where they were given and nothing is drawn."""
        for option, given in (("--draws", self.draws), ("--seed", self.seed)):
            if given is not None and self.interval == "analytic" and not self.thresholded:
                raise BenchError(
                    f"{option} {given}: nothing is drawn for analytic intervals. Leave it out, or give "
                    "--interval percentile or bca, or --thresholded."
                )
        return self.draws or 2000, self.seed or 0


@dataclass(frozen=True)
class ScoreResult:
    """metrics: METRIC_COLUMNS, `method` is the file's name. comparisons, ranks: with a second file. bands: of
    age, where it was asked for."""

    source: str
    metrics: pd.DataFrame
    counts: dict[str, dict[str, int]]
    mapping: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    aside: tuple[str, ...] = ()
    by_order: bool = False
    comparisons: pd.DataFrame | None = None
    ranks: pd.DataFrame | None = None
    bands: tuple[str, ...] = ()


def score_files(request: ScoreRequest) -> ScoreResult:
    """Read, join, evaluate. Raises BenchError with one line on anything that does not fit."""
    import pandas as pd

    by_order = request.rows == "by-order"
    draws, seed = request.drawn
    read = read_joined(request)
    joined, truth = read.joined, read.truth
    names = list(joined)
    final = joined[names[0]].truth
    strata = dict(final.strata)
    if request.deciles:
        strata |= frequency_deciles((final.labels == 1).sum(axis=0), final.classes)
    subgroups = subgroups_of(final, request.subgroups)
    config = StatisticsConfig(
        level=request.level,
        interval=request.interval,
        draws=draws,
        thresholded=request.thresholded,
    )
    shared: dict[str, Any] = {"strata": strata, "subgroups": subgroups, "config": config}
    identity = RowIdentity(dataset=request.dataset, origin="official" if request.dataset else None)
    frames = [
        evaluate(
            item.scores,
            final.labels,
            final.patients,
            final.classes,
            identity=replace(identity, method=name, task="classification"),
            seed=seed,
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
    rows = pd.concat(frames, ignore_index=True)
    every_age = age_bands(np.arange(200)) if any(map(is_age, request.subgroups)) else ()
    return ScoreResult(
        truth.source, rows, counts, read.mapping, truth.aside, by_order, comparisons, ranks,
        tuple(dict.fromkeys(every_age)),
    )  # fmt: skip


@dataclass(frozen=True)
class Read:
    """truth: labels as read. joined: file → its scores on the labels that all files share. mapping: file →
    which column became which class."""

    truth: Truth
    joined: dict[str, Joined]
    mapping: dict[str, list[tuple[str, str]]]


def read_joined(request: ScoreRequest) -> Read:
    """Read the files and join them. Raises BenchError with one line on anything that does not fit."""
    import pyarrow as pa

    files = [request.predictions] + ([request.second] if request.second else [])
    if request.second == request.predictions:
        raise BenchError(f"{request.second}: given twice; name another file to compare it with.")
    names = _names(files)
    ids = _id_columns(request, len(files))
    by_order = request.rows == "by-order"
    tables = {}
    for name, file, column in zip(names, files, ids, strict=False):
        raw = open_table(file, id_column=column, patient_column=request.patients)
        common = request.classes == "common"
        tables[name] = class_table(raw, "score", layout=request.layout, by_order=by_order, skip_text=common)
        del raw
    labels = _labels(request, ids, tables[names[0]])
    pa.default_memory_pool().release_unused()
    mapping: dict[str, list[tuple[str, str]]] = {}
    if request.columns == "affix":
        known = labels.classes if isinstance(labels, Truth) else _headings(labels)
        for name in names:
            tables[name], mapping[name] = by_affix(tables[name], known)
    truth = labels if isinstance(labels, Truth) else _truth(request, labels, tables)
    if request.columns == "positional":
        for name in names:
            tables[name], mapping[name] = by_position(tables[name], truth.classes)
    truth = _with_patients(request, truth, list(tables.values()))
    joined = _join_all(request, truth, tables)
    tables.clear()
    return Read(truth, joined, mapping)


def _names(files: list[Path]) -> list[str]:
    stems = [f.stem for f in files]
    return stems if len(set(stems)) == len(stems) else [str(f) for f in files]


def _id_columns(request: ScoreRequest, files: int) -> list[str | None]:
    """The id column of every prediction file and of the labels, None where it is to be found."""
    given = request.id_columns
    every = files + (request.labels is not None)
    if len(given) > 1 and len(given) != every:
        raise BenchError(
            f"--id was given {len(given)} times for {every} files; give it once, or once a file."
        )
    if len(given) > 1:
        return [*given, *[None] * (files + 1 - every)]
    return [*(given * files or [None] * files), *given, None][: files + 1]


def _labels(request: ScoreRequest, ids: list[str | None], first: ClassTable) -> RawTable | Truth:
    """Labels of a dataset, or the table that holds them, before its columns are told apart."""
    if request.labels is not None and request.dataset is not None:
        raise BenchError("--labels and --dataset were both given; choose one source of labels.")
    _check_source(request)
    if request.dataset is not None:
        if request.data_root is None:
            raise BenchError(f"--dataset {request.dataset} needs --data-root, its folder of official files.")
        if request.rows == "by-order":
            raise BenchError("--rows by-order needs --labels: official files have no order of their own.")
        return dataset_truth(request.dataset, request.data_root, request.protocol)
    if request.labels is not None:
        raw = open_table(request.labels, patient_column=request.patients)
        column = ids[-1]
        if column is not None and (len(request.id_columns) > 1 or column in raw.table.column_names):
            raw = open_table(request.labels, id_column=column, patient_column=request.patients)
        return raw
    if first.long_label:
        return open_table(request.predictions, id_column=ids[0], patient_column=request.patients)
    raise BenchError("no labels: give --labels FILE, or --dataset NAME with --data-root DIR.")


def _check_source(request: ScoreRequest) -> None:
    """Raises BenchError for an option of the other source of labels, which would be ignored."""
    if request.dataset is None:
        given = {"--data-root": request.data_root, "--protocol": request.protocol}
        why = "goes with --dataset; leave it out, or give that instead of a file of labels"
    else:
        policies = {"--uncertain": request.uncertain, "--blank": request.blank}
        given = {option: None if policy == "ignore" else policy for option, policy in policies.items()}
        why = "goes with --labels; of --dataset the protocol of the card decides, see --protocol"
    for option, value in given.items():
        if value is not None:
            raise BenchError(f"{option} {value}: {why}.")


def _headings(raw: RawTable) -> list[str]:
    """Names that columns of a label file may give to classes."""
    if is_long(raw, "label", "auto"):
        return sorted(set(raw.text("class")))
    return list(class_table(raw, "label", wanted=(), by_order=True).classes)


def _truth(request: ScoreRequest, raw: RawTable, tables: dict[str, ClassTable]) -> Truth:
    wanted: set[str] | None = {c for table in tables.values() for c in table.classes}
    if request.columns == "positional":
        wanted = None
    layout: Layout = "auto" if request.labels is not None else "long"
    table = class_table(raw, "label", layout=layout, wanted=wanted, by_order=request.rows == "by-order")
    return truth_of_table(table, request.uncertain, request.blank)


def _with_patients(request: ScoreRequest, truth: Truth, tables: list[ClassTable]) -> Truth:
    """Patients from the option, else from the labels, else from the predictions. Images of unknown patients
    are clusters of their own and are counted."""
    patients = _patients(request, truth, tables)
    if patients is None:
        return replace(truth, patients=None)
    clusters, unknown = known_clusters(patients, truth.ids)
    if unknown == len(clusters):
        return replace(truth, patients=None)
    counts = {**truth.counts, **({"images of unknown patients": unknown} if unknown else {})}
    return replace(truth, patients=clusters, counts=counts)


def _patients(request: ScoreRequest, truth: Truth, tables: list[ClassTable]) -> np.ndarray | None:
    asked = request.patients
    if asked == "none":
        return None
    if asked is not None and Path(asked).is_file():
        return read_patients(asked, truth.ids)
    if asked is not None and asked in truth.columns:
        return truth.columns[asked]
    sources = [(truth.source, truth.ids, truth.patients, truth.patient_column)]
    sources += [(str(table.path), table.ids, table.patients, table.patient_column) for table in tables]
    if asked is not None and asked not in (name for *_, name in sources):
        known = [*truth.columns, *(str(name) for *_, name in sources if name)]
        known += [name for table in tables for name in table.others]
        near = closest(asked, known)
        guess = f" Did you mean '{near}'?" if near else ""
        raise DataError(f"--patients {asked}: neither a file nor a column of labels or predictions.{guess}")
    found: tuple[str, np.ndarray] | None = None
    for source, ids, patients, name in sources:
        if patients is None or asked not in (None, name):
            continue
        if request.rows != "by-order":
            known_patients = dict(zip(ids, patients, strict=True))
            patients = np.array([known_patients.get(i, "") for i in truth.ids], dtype=object)
        patients = np.array(["" if p.strip().lower() in NOBODY else p for p in patients], dtype=object)
        check_one_form(patients, source, lambda row: f"image '{truth.ids[row]}'")
        if found is not None:
            same_patients(truth.ids, *found, source, patients)
        elif (patients != "").any():
            found = (source, patients)
    return None if found is None else found[1]


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
    (first, own), (second, other) = joined.items()
    if not set(own.truth.ids) & set(other.truth.ids):
        raise BenchError(
            f"{tables[first].path}, {tables[second].path}: no image in common, so there is nothing to "
            "compare; give scores of the same images."
        )
    shared = truth
    for table in tables.values():
        shared = join(shared, table, **policy).truth
    rows = request.rows if request.rows == "by-order" else "common"
    both = {**policy, "rows": rows, "classes": "common"}
    return {
        name: Joined(shared, join(shared, table, **both).scores, joined[name].counts)
        for name, table in tables.items()
    }
