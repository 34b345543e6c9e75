"""Stage summarise: all cells and seeds on one evaluation set → means with intervals, comparisons, ranks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.core.errors import DataError
from benchmark.core.hashing import hash_file
from benchmark.core.reuse import Key, key_of, source
from benchmark.core.tables import METRIC_COLUMNS, Predictions, read_table, write_table
from benchmark.core.tasks import CLASSIFICATION
from benchmark.evaluation.statistics.metric_values import RowIdentity
from benchmark.grid.encoder_params import EncoderChanges
from benchmark.grid.layout import Project
from benchmark.grid.params import FLOOR, Cell, Params, ablation_cell, command_for, encoders_of, main_cell

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.evaluation.comparison import Comparison, Macro, Run
    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.evaluation.statistics.stability import Trainings
    from benchmark.stages.references import Referred
    from benchmark.stages.run import Session

REFERENCE_COLUMNS = (*METRIC_COLUMNS, "title", "about")
OF_DATA = ("train", "protocols", "train_views", "train_images", "validation")
FILES = ("metrics", "comparisons", "ranks", "references", "floor")


@dataclass(frozen=True)
class Summary:
    """metrics: METRIC_COLUMNS, `seed` null, one row a cell and value. comparisons, ranks: as in
    evaluation.comparison; their methods are cell names (with ` · prompts` for other prompts). references:
    REFERENCE_COLUMNS of what stands below and above the methods, `variant` floor or ceiling. floor: as in
    evaluation.floor. settings: `settings_of` the parameters that it was made with."""

    metrics: pd.DataFrame
    comparisons: pd.DataFrame
    ranks: pd.DataFrame
    references: pd.DataFrame
    floor: pd.DataFrame
    settings: Mapping[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        for name in FILES:
            about = {"table": name, "settings": self.settings} if name == FILES[0] else {"table": name}
            write_table(folder / f"{name}.parquet", getattr(self, name), about)

    @classmethod
    def load(cls, folder: Path) -> Summary:
        found = [read_table(folder / f"{name}.parquet") for name in FILES]
        metrics, comparisons, ranks, references, floor = (frame for frame, _ in found)
        settings = found[0][1].get("settings", {})
        return cls(metrics, comparisons, ranks, references, floor, settings)


def settings_of(params: Params) -> dict[str, Any]:
    """What decides the results of every cell, beside the settings of trainings, which their records hold:
    section of params.yaml → its values. official: datasets that are read from official files."""
    whole = params.model_dump(mode="json")
    found = {name: whole[name] for name in ("statistics", "prompts", "encoders", "texts", "twins")}
    data = {key: value for key, value in whole["data"].items() if key in OF_DATA}
    return {**found, "data": {**data, "official": sorted(params.data.roots)}, "numerics": whole["numerics"]}


@dataclass(frozen=True)
class Scored:
    """One predictions file: cell name (with prompts, where they are not the cell's own), seed, path."""

    cell: Cell
    name: str
    seed: int
    path: Path


def scored(session: Session, cells: Sequence[Cell], seeds: Sequence[int], at: EvaluationData) -> list[Scored]:
    """The predictions of these cells on this evaluation set, where they are those that would be made now, in
    a fixed order."""
    found = []
    for cell in (c for c in cells if c.table != FLOOR):
        for seed in cell.seeds or seeds:
            files = session.evaluated.get((cell.name, seed, at.manifest.dataset, CLASSIFICATION), ())
            for path in sorted(files[1:]):
                extra = path.stem.removeprefix("predictions").removeprefix("-")
                found.append(Scored(cell, f"{cell.name} · {extra}" if extra else cell.name, seed, path))
    return found


def compare_scored(files: Sequence[Scored | Referred], at: EvaluationData, params: Params) -> Comparison:
    """Join each file's rows by image and columns by class, never by position, and summarise over seeds."""
    from benchmark.evaluation.comparison import Run, summarise_runs

    def runs() -> Iterator[Run]:
        for file in files:
            yield Run(file.name, file.seed, aligned_scores(Predictions.load(file.path), at))

    return summarise_runs(
        runs(),
        at.chosen.labels,
        at.chosen.patients,
        at.chosen.classes,
        strata=at.strata,
        subgroups=at.subgroups,
        config=params.statistics,
    )


def aligned_scores(predictions: Predictions, at: EvaluationData) -> np.ndarray:
    """(N, C) in the order of the evaluation set."""
    frame = predictions.frame.set_index("image_id")
    return frame.loc[at.chosen.frame["image_id"], list(at.chosen.classes)].to_numpy(dtype=np.float64)


def summary_key(
    params: Params, cells: Sequence[Cell], files: Mapping[str, str], sets: Sequence[EvaluationData],
    references: Mapping[str, Sequence[Referred]],
) -> Key:  # fmt: skip
    """Key of a summary: predictions, labels and patients, `settings_of` and the source of the statistics.

    files: path → content of the predictions and metric rows. references: as in `summarise`.
    """
    beside = {d: [[r.name, r.note, r.seed, hash_file(r.path)] for r in own] for d, own in references.items()}
    return key_of(
        references=beside,
        results=dict(files),
        labels={
            at.manifest.dataset: [at.identity, at.content("labels"), at.chosen.info.as_json()] for at in sets
        },
        cells=[cell.model_dump(mode="json") for cell in cells],
        settings=settings_of(params),
        source=source("benchmark.stages.summarise", "benchmark.evaluation.comparison"),
    )


def means_of(metrics: pd.DataFrame, cells: Sequence[Cell]) -> dict[str, dict[str, float]]:
    """Cell → set and metric → macro value under its own prompts, as `dvc metrics show` prints them. Rows
    of the other prompts that a main cell was asked with are of the same cell, and left out."""
    asked = metrics["run_id"].map({cell.name: cell.prompts.style for cell in cells})
    own = metrics[
        (metrics["prompts"] == asked)
        & (metrics["class"] == "macro")
        & (metrics["stratum"] == "all")
        & metrics["value"].notna()
    ]
    found: dict[str, dict[str, float]] = {}
    for cell, dataset, metric, value in own[["run_id", "dataset", "metric", "value"]].itertuples(index=False):
        found.setdefault(cell, {}).setdefault(f"{dataset}_{metric}", round(float(value), 6))
    return found


def contents(project: Project, session: Session) -> dict[str, str]:
    """Path below the project → sha256 of every file of results that counts in this session."""
    found = (path for files in session.evaluated.values() for path in files)
    return {path.relative_to(project.root).as_posix(): hash_file(path) for path in sorted(found)}


def summarise(
    session: Session,
    cells: Sequence[Cell],
    seeds: Sequence[int],
    sets: Sequence[EvaluationData],
    references: Mapping[str, Sequence[Referred]] | None = None,
) -> Summary:
    """Means over seeds; paired comparisons, corrected over the classes and methods of one family on each set;
    ranks of the main cells; and which of them are above the floor. What params.yaml names and was not run
    counts in every family.

    references: dataset → scores of its references, which are in no ranking and no family of the methods.
    """
    import pandas as pd

    from benchmark.evaluation.comparison import (
        COMPARISON_COLUMNS,
        RANK_COLUMNS,
        Comparison,
        compare,
        over_seeds,
        ranking,
        trainings_of,
    )
    from benchmark.evaluation.floor import FLOOR_COLUMNS, against_floor
    from benchmark.stages.references import floor_cells

    config = session.params.statistics
    means: list[pd.DataFrame] = []
    beside: list[pd.DataFrame] = []
    floors: list[pd.DataFrame] = []
    families: dict[tuple[str, str], list[pd.DataFrame]] = {}
    trainings: dict[Macro, Trainings] = {}
    for at in sets:
        files = scored(session, cells, seeds, at)
        if not files:
            continue
        others = [
            *floor_cells(session, cells, seeds, at),
            *(references or {}).get(at.manifest.dataset, ()),
        ]
        comparison = compare_scored([*files, *others], at, session.params)
        trainings |= trainings_of(comparison, at.manifest.dataset)
        place = RowIdentity(
            dataset=at.manifest.dataset, origin=at.manifest.origin, split=at.chosen.info.protocol
        )
        identity = {file.name: _identity(place, _encoder(session, at, file), file) for file in files}
        own = Comparison({n: comparison.summaries[n] for n in identity}, comparison.grouped)
        means.append(over_seeds(own, identity=identity, config=config))
        if others:
            beside.append(_beside(comparison, others, replace(place, encoder=at.encoder), session.params))
            below = dict.fromkeys(o.name for o in others if o.kind == "floor")
            tried = held_to_floor(files)
            floors.append(
                against_floor(
                    comparison,
                    tried,
                    list(below),
                    identity=place,
                    declared=len(session.params.methods),
                    config=config,
                )
            )
        for family, names in families_of(files).items():
            part = Comparison({n: comparison.summaries[n] for n in names}, comparison.grouped)
            planned = planned_rows(session.params, family)
            families.setdefault(family, []).append(
                compare(part, identity=place, methods=planned, config=config)
            )
    if not means:
        raise DataError(f"no predictions to summarise. Run `{command_for(session.params)}` first.")
    metrics = pd.concat(means, ignore_index=True)
    paired = {family: pd.concat(parts, ignore_index=True) for family, parts in families.items()}
    comparisons = pd.DataFrame(columns=list(COMPARISON_COLUMNS))
    ranks = pd.DataFrame(columns=list(RANK_COLUMNS))
    if paired:
        comparisons = pd.concat(paired.values(), ignore_index=True)
    if MAINS in paired:
        pairs = comb(planned_rows(session.params, MAINS), 2)
        ranks = ranking(
            paired[MAINS], level=config.level, power=config.power, pairs=pairs, trainings=trainings
        )
    stand = pd.concat(beside, ignore_index=True) if beside else pd.DataFrame(columns=list(REFERENCE_COLUMNS))
    floor = pd.concat(floors, ignore_index=True) if floors else pd.DataFrame(columns=list(FLOOR_COLUMNS))
    return Summary(metrics, comparisons, ranks, stand, floor, settings_of(session.params))


def _beside(
    comparison: Comparison, others: Sequence[Referred], place: RowIdentity, params: Params
) -> pd.DataFrame:
    """REFERENCE_COLUMNS of the references on one set, floors first."""
    from benchmark.evaluation.comparison import Comparison, over_seeds

    about = {o.name: o for o in others}
    own = Comparison({n: comparison.summaries[n] for n in about}, comparison.grouped)
    identity = {n: replace(place, run_id=n, variant=o.kind, task="classification") for n, o in about.items()}
    rows = over_seeds(own, identity=identity, config=params.statistics)
    rows["title"] = [about[n].title for n in rows["run_id"]]
    rows["about"] = [about[n].note for n in rows["run_id"]]
    return rows


MAINS = ("", "")


def families_of(files: Sequence[Scored]) -> dict[tuple[str, str], list[str]]:
    """Which rows are compared with which, by (method, table): under MAINS the main cells with one another;
    then the cells of one method and ablation table with that method's main cell and with one another. Other
    prompts of a main cell stand with those of its prompt alignment. Each family is corrected on its own:
    comparing everything would only cost power."""
    mains = {f.cell.method: f.name for f in files if f.cell.variant == "main" and f.name == f.cell.name}
    found: dict[tuple[str, str], list[str]] = {MAINS: list(mains.values())}
    for file in files:
        if file.name in mains.values():
            continue
        table = "prompt_alignment" if file.cell.variant == "main" else file.cell.table
        family = found.setdefault((file.cell.method, table), [])
        own = [mains[file.cell.method]] if file.cell.method in mains else []
        family += [n for n in (*own, file.name) if n not in family]
    return {family: names for family, names in found.items() if len(names) > 1}


def planned_rows(params: Params, family: tuple[str, str]) -> int:
    """How many rows are compared with one another in a family of `families_of` once everything was run that
    params.yaml names."""
    if family == MAINS:
        return len(params.methods)
    method, table = family
    cells = [ablation_cell(params, name) for name in params.cells]
    own = [cell for cell in cells if (cell.method, cell.table) == family]
    prompted = [main_cell(params, method), *own] if table == "prompt_alignment" else own
    return 1 + len(own) + sum(len(cell.more_prompts) for cell in prompted)


def held_to_floor(files: Sequence[Scored]) -> list[str]:
    """Rows that must stand above the floor: the main cells, or without any two of them every cell, each under
    its own prompts, as a variant of them is no method."""
    own = list(dict.fromkeys(file.name for file in files if file.name == file.cell.name))
    return families_of(files).get(MAINS, own)


def _encoder(session: Session, at: EvaluationData, file: Scored) -> str:
    """The names of the encoders of a file's cell: its own, or those under which the set was read."""
    own = file.cell.encoders != EncoderChanges()
    return encoders_of(session.params, file.cell).names if own else at.encoder


def _identity(place: RowIdentity, encoder: str, file: Scored) -> RowIdentity:
    _, _, prompts = file.name.partition(" · ")
    return replace(
        place,
        run_id=file.cell.name,
        method=file.cell.method,
        variant=file.cell.variant,
        encoder=encoder,
        prompts=prompts or file.cell.prompts.style,
        task="classification",
    )
