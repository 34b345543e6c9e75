"""A cell's results, or prediction files made elsewhere, → a bundle."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from benchmark import __version__
from benchmark.core.errors import BenchError, DataError
from benchmark.core.files import remove_left, temporary_prefix, write_json
from benchmark.core.hashing import hash_file
from benchmark.core.located import read_located
from benchmark.core.tables import Origin, Predictions, read_table, write_table
from benchmark.data.cards import Card, load_card
from benchmark.exchange.bundle import (
    LABELS,
    METRICS,
    RECORD,
    RUN_FIELDS,
    Bundle,
    BundleRecord,
    Provenance,
    card_record,
    predictions_name,
    read_bundle,
)
from benchmark.exchange.recompute import TOLERANCE, check_scores, metric_rows
from benchmark.exchange.truth import Labelled, labels_here, may_travel
from benchmark.grid.layout import Project, source_name
from benchmark.grid.params_file import load_params
from benchmark.stages.run_record import read_run

if TYPE_CHECKING:
    import pandas as pd


class About(BaseModel):
    """about.yaml of predictions made elsewhere: what the suite's own runs record by themselves. commit: of
    the code that made the scores; source: the address or paper of the code; weights: what identifies them."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")
    title: str = Field(min_length=1)
    encoder: str = Field(min_length=1)
    trained_on: str = Field(min_length=1)
    prompts: str = Field(min_length=1)
    commit: str = Field(min_length=1)
    source: str = Field(min_length=1)
    weights: str = ""


@dataclass(frozen=True)
class Exported:
    """scores: seed → image_id and one column a class. strata: named groups of classes."""

    name: str
    title: str
    method: str
    variant: str
    dataset: str
    origin: Origin
    protocol: str
    scores: Mapping[int, pd.DataFrame]
    labels: Labelled
    strata: Mapping[str, tuple[str, ...]]
    provenance: Provenance


Remarks = tuple[str, ...]
"""What the reading of the labels noticed, one line each."""


def export_cell(project: Project, cell: str, dataset: str, site: str, out: Path) -> tuple[Bundle, Remarks]:
    """A bundle of a cell's own prompts on one set, over all its seeds.

    Raises BenchError where the cell has no results there, or where its predictions no longer give them.
    """
    from methods.base import METHODS

    params = load_params(project.params)
    origin: Origin = "official" if dataset in params.data.roots else "twin"
    place = source_name(dataset, origin)
    folders = [(seed, f / place) for seed, f in project.evaluations(cell)]
    paths = {seed: f / "predictions.parquet" for seed, f in folders if (f / "predictions.parquet").is_file()}
    if not paths:
        raise BenchError(
            f"results/{cell}: no predictions on {dataset}. See `bench ls results`, or run "
            f"`bench run --method METHOD --dataset {dataset}`."
        )
    loaded = {seed: Predictions.load(path) for seed, path in paths.items()}
    info = next(iter(loaded.values())).info
    labels = labels_here(project, dataset, origin, info.protocol)
    if labels is None:
        raise BenchError(f"{dataset}: its labels are not here. Run `bench stage prepare {dataset}`.")
    scores = {seed: p.frame[["image_id", *labels.classes]] for seed, p in loaded.items()}
    runs = {str(seed): _run(f / "run.json") for seed, f in project.trainings(cell) if seed in paths}
    provenance = Provenance(
        site=site,
        commit=info.commit or f"v{__version__}",
        encoder=info.encoder,
        trained_on=info.trained_on or "nothing here: an official checkpoint",
        prompts=info.prompts,
        source=f"cxr-alignbench {__version__}",
        weights={str(seed): p.info.weights_hash for seed, p in loaded.items()},
        versions=info.versions,
        runs=runs,
    )
    made = Exported(
        cell, METHODS.get(info.method).title, info.method, info.variant, dataset,
        origin, info.protocol, scores, labels, _strata(project, dataset, labels), provenance,
    )  # fmt: skip
    bundle = write_bundle(made, out)
    _as_stored(bundle, {seed: path.parent / METRICS for seed, path in paths.items()})
    return bundle, labels.remarks


def export_files(
    project: Project | None,
    files: Sequence[Path],
    about: Path,
    dataset: str,
    site: str,
    out: Path,
    data_root: Path | None = None,
) -> tuple[Bundle, Remarks]:
    """A bundle of prediction files that another program wrote, one a seed, as `bench score` reads them.

    Raises BenchError on anything that does not fit, as `bench score` does.
    """
    import pandas as pd
    from pydantic import ValidationError

    from benchmark.score.joining import check_another_training
    from benchmark.score.predictions_file import class_table
    from benchmark.score.raw_table import open_table

    file = read_located(about, BenchError)
    try:
        said = About.model_validate(file.value)
    except ValidationError as error:
        place, loc, reason = file.first_fault(error)
        raise BenchError(f"{place}: {'.'.join(map(str, loc))}: {reason}.") from None
    card = load_card(dataset)
    official = data_root is not None or (
        project is not None and dataset in load_params(project.params).data.roots
    )
    origin: Origin = "official" if official else "twin"
    protocol = str(card.default_protocol)
    labels = labels_here(project, dataset, origin, protocol, data_root)
    if labels is None:
        raise BenchError(f"{dataset}: its labels are not here. Give --data-root DIR, its official files.")
    scores: dict[int, pd.DataFrame] = {}
    read: dict[Path, np.ndarray] = {}
    for seed, path in enumerate(files):
        table = class_table(open_table(path), "score")
        odd = next((c for c in table.classes if c not in labels.classes), None)
        lost = next((c for c in labels.classes if c not in table.classes), None)
        if odd or lost:
            what = f"column '{odd}' is no class" if odd else f"no column for class '{lost}'"
            raise DataError(f"{path}: {what} of {dataset} (protocol {protocol}). See `bench ls datasets`.")
        bad = ~np.isfinite(table.values)
        if bad.any():
            row, column = map(int, np.argwhere(bad)[0])
            raise DataError(
                f"{path}: image '{table.ids[row]}', class '{table.classes[column]}': the score is no number "
                f"({int(bad.sum()):,} such). Score those images again."
            )
        frame = pd.DataFrame(table.values, columns=list(table.classes))[list(labels.classes)]
        frame.insert(0, "image_id", table.ids)
        check_scores(path, frame, labels, dataset)
        values = frame.set_index("image_id").loc[list(labels.ids)].to_numpy()
        check_another_training(path, values, read)
        read[path], scores[seed] = values, frame
    provenance = Provenance(
        site=site, commit=said.commit, encoder=said.encoder, trained_on=said.trained_on, prompts=said.prompts,
        source=said.source, weights={"0": said.weights} if said.weights else {}, versions={}, runs={},
    )  # fmt: skip
    made = Exported(
        said.name, said.title, said.name, "elsewhere", dataset, origin, protocol, scores, labels,
        _strata(project, dataset, labels), provenance,
    )  # fmt: skip
    return write_bundle(made, out), labels.remarks


def write_bundle(made: Exported, out: Path) -> Bundle:
    """Write the folder `out` in one step. Raises BenchError where it is already there."""
    if out.exists():
        raise BenchError(f"--out {out}: is already there. Name a new folder, or remove that one.")
    out.parent.mkdir(parents=True, exist_ok=True)
    remove_left(out.parent)
    card = load_card(made.dataset)
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=temporary_prefix(out.name)))
    try:
        for seed, frame in made.scores.items():
            path = folder / predictions_name(seed)
            check_scores(path, frame, made.labels, made.dataset)
            ordered = frame.set_index("image_id").loc[list(made.labels.ids)].reset_index()
            scores = ordered.astype(dict.fromkeys(made.labels.classes, np.float32))
            write_table(path, scores, {"classes": list(made.labels.classes)})
        travel = may_travel(card, made.origin)
        if travel:
            made.labels.save(folder / LABELS)
        record = _record(made, card, travel)
        saved = {seed: read_table(folder / predictions_name(seed))[0] for seed in made.scores}
        rows = metric_rows(saved, made.labels, record.strata, record.identity())
        write_table(folder / METRICS, rows, {})
        files = {path.name: hash_file(path) for path in sorted(folder.iterdir())}
        write_json(folder / RECORD, record.model_copy(update={"files": files}).model_dump(mode="json"))
        folder.chmod(0o755)
        folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return read_bundle(out)


def _record(made: Exported, card: Card, travel: bool) -> BundleRecord:
    return BundleRecord(
        format="cxr-alignbench-bundle/1",
        name=made.name,
        title=made.title,
        method=made.method,
        variant=made.variant,
        dataset=made.dataset,
        origin=made.origin,
        protocol=made.protocol,
        card=card_record(card, made.protocol),
        seeds=tuple(made.scores),
        images=len(made.labels.ids),
        strata={k: tuple(v) for k, v in made.strata.items()},
        labels="of a synthetic twin: included" if travel and made.origin == "twin"
        else "included" if travel else f"not included: {card.licence}",
        provenance=made.provenance,
        files={},
    )  # fmt: skip


def _strata(project: Project | None, dataset: str, labels: Labelled) -> dict[str, tuple[str, ...]]:
    """The card's groups and, where training reports were read here, the classes that they name."""
    from benchmark.evaluation.evaluation_data import strata_of
    from benchmark.stages.texts import read_named, texts_folder

    named = None
    if project is not None:
        params = load_params(project.params)
        try:
            found = read_named(texts_folder(project, params, params.data.train))
            named = found.present if found.studies else None
        except DataError:
            named = None
    return strata_of(load_card(dataset), labels.classes, named)


def _run(path: Path) -> dict[str, Any]:
    return read_run(path).model_dump(include=set(RUN_FIELDS), exclude_unset=True)


def _as_stored(bundle: Bundle, stored: Mapping[int, Path]) -> None:
    """Raises DataError where the predictions on disk no longer give the metrics on disk."""
    rows = _macro(bundle.metrics())
    for seed, path in stored.items():
        own = _macro(read_table(path)[0])
        before = own.loc[own["prompts"] == bundle.record.provenance.prompts, "value"].to_numpy(dtype=float)
        now = rows.loc[rows["seed"] == seed, "value"].to_numpy(dtype=float)[0]
        if len(before) and abs(before[0] - now) > TOLERANCE:
            shutil.rmtree(bundle.folder)
            raise DataError(
                f"{path}: macro AUROC {before[0]:.6f}, but its predictions give {now:.6f}. "
                "Evaluate the cell again."
            )


def _macro(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[(rows["class"] == "macro") & (rows["stratum"] == "all") & (rows["metric"] == "auroc")]
