"""What `bench run` does and prints."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from benchmark.core.errors import ParamsError
from benchmark.core.files import read_json, write_json
from benchmark.core.hashing import hash_file, hash_value
from benchmark.core.tables import TWIN_NOTICE
from benchmark.core.tasks import CLASSIFICATION
from benchmark.data.cards import load_card
from benchmark.encoders.exposure import (
    Exposure,
    as_records,
    exposure_of,
    joined,
    level,
    trained_on,
)
from benchmark.grid.layout import Project
from benchmark.grid.modality import KINDS
from benchmark.grid.params import Cell, encoders_of
from benchmark.grid.request import Request, RunPlan, plan
from benchmark.official.settings import MEMBER, Checkpoint, Recorded, settings_name
from benchmark.reporting.numbers import p_text, percent, signed_text
from benchmark.reporting.rows import MetricRow
from benchmark.reporting.run_sets import RunSet
from benchmark.reporting.run_summary import summary_of
from benchmark.reporting.seen import encoder_exposure
from benchmark.reporting.task_results import TaskResults, value_text
from benchmark.stages.evaluate import evaluate_task
from benchmark.stages.features import known_image_encoder, known_text_encoder
from benchmark.stages.own_encoders import Sessions, as_evaluated, check_encoders, told, trained
from benchmark.stages.prepare import source_of
from benchmark.stages.references import UNTRAINED, floor_on_disk, probes, referred
from benchmark.stages.released import PairedSession
from benchmark.stages.run import Say, Session
from benchmark.stages.run_record import RunRecord, WeightsRecord, read_run
from benchmark.stages.side_by_side import carry_out_beside
from benchmark.stages.summarise import Summary
from benchmark.stages.texts import texts_used
from benchmark.stages.tracked_results import record_results

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.training.distributed import Group
    from methods.base import Method

RANKING = {"auroc": "macro AUROC", "average_precision": "average precision"}
"""Metrics by which a protocol ranks, with their heads."""
Ahead = Callable[[Session, Cell, str, WeightsRecord, "Method"], None]
"""Called with a session, the cell, a dataset, the run record and the method."""
SHOWN = ("all", "head", "medium", "tail", "findings", "named", "never-named", "padchest20")

RECORDED_OF_TRAINING = (
    "epochs", "best_epoch", "selected_by", "val_auroc", "gain_last_quarter", "converged", "sentences_seen",
    "flops_per_image", "parameters_trained",
)  # fmt: skip


@dataclass(frozen=True)
class RunReport:
    """value: everything, unrounded. text: the table for people."""

    value: dict[str, Any]
    text: str


def carry_out(
    project: Project, request: Request, say: Say, group: Group | None = None, todo: RunPlan | None = None,
    processes: int | None = 1,
) -> RunReport | None:  # fmt: skip
    """Train or reuse every requested cell and seed, evaluate, summarise.

    The processes of `group` share batches and scoring; all but the first return None. todo: the plan of the
    request, where it is made already. processes: that train cells and seeds side by side; None, as many as
    end soonest (`carry_out_beside`).
    """
    todo = todo or plan(project, request)
    session = Session(project, todo.params, say, protocol=request.protocol, group=group)
    for dataset in (todo.params.data.train, *todo.datasets):
        source_of(project, todo.params, dataset)  # refused, if at all, before anything is written
    known_image_encoder(project, todo.params.encoders.image)  # likewise before data is prepared
    known_text_encoder(project, todo.params.encoders.text)
    check_encoders(todo.params, todo.cells)
    for line in filter(None, (told(todo.params, cell) for cell in todo.cells)):
        say(line)
    sessions, tasks = Sessions(session), TaskResults(session)
    beside = carry_out_beside(sessions, request, todo, processes)
    for cell, seed in todo.jobs:
        own, run = sessions.of(cell), beside.get((cell.name, seed))
        if run is None or own.params.encoders.train.trains:
            run, own = trained(sessions, cell, seed)
        found = {}
        for dataset in todo.datasets:
            rows = evaluate_task(own, CLASSIFICATION, cell, seed, dataset, run)
            if rows is not None:
                found[CLASSIFICATION, dataset] = rows
            if cell in todo.cells:
                tasks.add(cell, seed, dataset, run, session=own)
        if session.processes.first:
            record_results(own, cell, seed, run, found)
    train = trained_on(todo.params.data.train)
    seen = [encoder_exposure(todo.params, cell) for cell in todo.cells]
    if request.floor and session.processes.first and request.shard == (0, 1):
        referred(session, todo.datasets, [UNTRAINED])
    with_floor = f"bench run {shlex.join(replace(request, floor=True).options())}"
    return _report(session, todo, tasks, joined([*seen, train]), with_floor)


def carry_out_checkpoint(
    project: Project, request: Request, asked: Checkpoint, say: Say,
    group: Group | None = None, ahead: Ahead | None = None,
) -> RunReport | None:  # fmt: skip
    """Evaluate an official checkpoint with its own encoders, preprocessing and prompts.

    ahead: makes features and scores before a set is evaluated. A checkpoint under settings that are not the
    usual ones is a row of its own.
    """
    from benchmark.official.ensemble import load_with
    from benchmark.official.seen import SEEN

    todo = plan(project, request, published=True)
    model = load_with(request.method, asked)
    prompts = {"style": "official"} if model.pair is None else {"style": "pos-neg", "template": "official"}
    recorded = asked.settings.recorded()
    own = settings_name(recorded)
    name = f"{model.release}-official" + (f"@{own}" if own else "")
    cell = _named(todo.cells[0], name, "official")
    cell = cell.model_copy(update={"prompts": todo.params.prompts.model_copy(update=prompts)})
    _same_modality(f"official {model.release} checkpoint", model.image.modality, todo.datasets)
    digest = hash_file(asked.file)
    if isinstance(members := recorded.get(MEMBER), list):
        digest = hash_value([digest, *members])
    say(f"{name}: official checkpoint {digest[:12]}, {len(model.unused)} tensors that it never uses")
    encoders = (model.image, model.text)
    if model.pair is None:
        session = Session(project, todo.params, say, request.protocol, encoders, group)
    else:
        session = PairedSession(project, todo.params, say, request.protocol, encoders, group, pair=model.pair)
    return _published(session, todo, cell, model.method, digest, SEEN[model.release], recorded, ahead)


def carry_out_model(
    project: Project, request: Request, spec: str, architecture: str | None, say: Say,
    group: Group | None = None, ahead: Ahead | None = None,
) -> RunReport | None:  # fmt: skip
    """Evaluate a model of two towers with its own preprocessing, under the prompts of params.yaml.

    ahead: as of `carry_out_checkpoint`.
    """
    from benchmark.official.models import load_model

    todo = plan(project, request, published=True)
    model = load_model(spec, architecture)
    cell = _named(todo.cells[0], f"{model.name}-model", "model")
    cell = cell.model_copy(update={"table": "models", "label": model.name})
    _same_modality(f"model {model.name}", model.image.modality, todo.datasets)
    maps = "with similarity maps" if model.method.joint else "without similarity maps"
    say(f"{model.name}: weights {model.identity[:12]}, {maps}")
    session = Session(project, todo.params, say, request.protocol, (model.image, model.text), group)
    exposure = joined([exposure_of(model.image.card.seen), exposure_of(model.text.card.seen)])
    return _published(session, todo, cell, model.method, model.identity, exposure, ahead=ahead)


def _named(cell: Cell, name: str, variant: str) -> Cell:
    """The cell of weights that were not trained here; what is of its evaluation alone stays in its name."""
    _, mark, changed = cell.name.partition("~")
    return cell.model_copy(
        update={"name": f"{name}{mark}{changed}", "variant": f"{variant}{mark}{changed}", "more_prompts": ()}
    )


def _published(
    session: Session, todo: RunPlan, cell: Cell, method: Method, identity: str, exposure: Exposure,
    settings: Recorded | None = None, ahead: Ahead | None = None,
) -> RunReport | None:  # fmt: skip
    """Evaluate weights that were not trained here, under the name of `cell`. settings: as asked for."""
    import torch

    from benchmark.stages.features import device
    from benchmark.training.provenance import commit, device_name, versions

    session.params = as_evaluated(session.params)
    _one_row(session.project, cell.name, identity)
    run = WeightsRecord(
        identity=identity,
        method=cell.method,
        model_sha256=identity,
        options=method.config.model_dump(mode="json"),
        commit=commit(),
        device=device_name(torch.device(device())),
        versions=versions(),
        trained_on="as published",
    )
    tasks = TaskResults(session)
    for dataset in todo.datasets:
        if ahead is not None:
            ahead(session, cell, dataset, run, method)
        evaluate_task(session, CLASSIFICATION, cell, 0, dataset, run, method)
        tasks.add(cell, 0, dataset, run, method)
    if session.processes.first:
        write_json(
            session.project.run(cell.name, 0) / "source.json",
            {"identity": run.identity, "trained_on": run.trained_on, "seen": as_records(exposure),
             "settings": dict(settings or {})},
        )  # fmt: skip
    done = RunPlan(todo.params, (cell,), (0,), todo.datasets, ((cell, 0),))
    report = _report(session, done, tasks, exposure)
    if report is None or not settings:
        return report
    return RunReport({**report.value, "settings": dict(settings)}, report.text)


def _one_row(project: Project, cell: str, identity: str) -> None:
    """Raises ParamsError where a row of this name has results of other weights: a part would stay."""
    source = project.run(cell, 0) / "source.json"
    if source.is_file() and (other := str(read_json(source)["identity"])) != identity:
        name = cell.partition("~")[0]
        own = ", or give the model's folder another name" if name.endswith("-model") else ""
        raise ParamsError(
            f"{name}: results of weights {other[:12]} have this name, and these are {identity[:12]}. Remove "
            f"runs/{name} and results/{name}* first{own}."
        )


def _same_modality(what: str, reads: str, datasets: Sequence[str]) -> None:
    """Raises ParamsError where weights for volumes meet radiographs, or the reverse."""
    for name in datasets:
        has = load_card(name).modality
        if has != reads:
            raise ParamsError(
                f"--dataset {name}: it holds {KINDS[has]}, and the {what} "
                f"reads {KINDS[reads]}. `bench ls datasets` says what each set holds."
            )


def _report(
    session: Session, todo: RunPlan, tasks: TaskResults, exposure: Exposure, with_floor: str = ""
) -> RunReport | None:
    """with_floor: the command that makes what is missing of the floor."""
    sets = [session.evaluation_data(dataset) for dataset in todo.datasets]
    if not session.processes.first:
        return None
    below = floor_on_disk(session, todo)
    beside = referred(session, todo.datasets, probes("floor"))
    beside = {dataset: [*below.untrained.get(dataset, ()), *own] for dataset, own in beside.items()}
    others = [cell for cell in below.cells if cell not in todo.cells]
    summary = summary_of(session, [*todo.cells, *others], todo.seeds, sets, beside)
    abouts = [RunSet.of(data, level(exposure, data.manifest.dataset)) for data in sets]
    trained, runs = _trained(session, todo.cells), _runs(session, todo)
    value: dict[str, Any] = {
        "notices": sorted({about.notice for about in abouts}),
        "datasets": [asdict(about) for about in abouts],
        "trained_on": trained,
        "exposure": as_records(exposure),
        "seeds": list(todo.seeds),
        "training": [
            {"cell": cell, "seed": seed, **{k: getattr(run, k) for k in RECORDED_OF_TRAINING}}
            for cell, seed, run in runs
        ],
        "metrics": _records(summary.metrics),
        "comparisons": _records(summary.comparisons),
        "ranks": _records(summary.ranks),
        "references": _records(summary.references),
        "floor": _records(summary.floor),
        "floor_not_run": dict.fromkeys(below.missing, f"`{with_floor}`"),
        "tasks": tasks.rows(),
    }
    lines = []
    if len(sets) > 1:
        lines += [*_overview(summary, abouts, todo.cells, tasks), ""]
    for data, about in zip(sets, abouts, strict=True):
        shown = tasks.lines(data.manifest.dataset, todo.cells)
        own = [*_rows(summary, data, todo.cells), *_floor(summary, data.manifest.dataset)]
        lines += [*about.heading(), *(shown or own), ""]
    if "]*" in "".join(lines):
        lines.append("* few positive patients carry the value: its interval is not assured to cover")
    if below.missing:
        lines.append(f"floor: without {' and '.join(below.missing)}; `{with_floor}` makes it")
    rising = dict.fromkeys(cell for cell, _, run in runs if run.converged is False)
    lines += [f"{cell}: not converged; more epochs would change its values" for cell in rising]
    lines.append(trained)
    return RunReport(value, "\n".join(lines))


def _runs(session: Session, todo: RunPlan) -> list[tuple[str, int, RunRecord]]:
    """Cell, seed and record of each training that is in the tables; none of official checkpoints."""
    return [
        (cell.name, seed, read_run(folder / "run.json"))
        for cell in todo.cells
        for seed, folder in session.project.trainings(cell.name)
        if seed in todo.seeds
    ]


def _overview(
    summary: Summary, abouts: Sequence[RunSet], cells: Sequence[Cell], tasks: TaskResults
) -> list[str]:
    """One row a dataset, one column a method."""
    metrics = summary.metrics
    whole = metrics[(metrics["class"] == "macro") & (metrics["stratum"] == "all")]
    names = [cell.name.removesuffix("-main") for cell in cells]
    wide = max(24, *(len(name) + 2 for name in names))
    lines = [
        f"{'dataset':<20}{'images':>7}{'classes':>9}  {'metric':<18}" + "".join(f"{n:<{wide}}" for n in names)
    ]
    for about in abouts:
        dataset = about.dataset
        metric, values = tasks.headline(dataset), []
        macro = whole[whole["metric"] == about.headline]
        for cell in cells:
            if metric is not None:
                row = tasks.mean(dataset, cell, metric)
            else:
                own = macro[(macro["dataset"] == dataset) & (macro["run_id"] == cell.name)]
                row = next(iter(_metric_rows(own[own["prompts"] == cell.prompts.style])), None)
            values.append(f"{value_text(row):<{wide}}")
        shown = metric.replace("_", " ") if metric else RANKING[about.headline]
        lines.append(
            f"{dataset:<20}{about.images:>7,}{about.classes:>9}  {shown:<18}{''.join(values)}".rstrip()
        )
    return lines


def _rows(summary: Summary, data: EvaluationData, cells: Sequence[Cell]) -> list[str]:
    metrics = summary.metrics
    here = metrics[(metrics["dataset"] == data.manifest.dataset) & (metrics["class"] == "macro")]
    wide = max(34, *(len(cell.name) + 2 for cell in cells))
    order = sorted(RANKING, key=lambda metric: metric != data.chosen.protocol.headline)
    heads = "".join(f"{RANKING[metric]:<25}" for metric in order)
    lines = [f"  {'method':<{wide}}{'stratum':<14}{heads}{'positives':>10}"]
    for cell in cells:
        own = here[here["run_id"] == cell.name]
        own = own[own["prompts"] == cell.prompts.style]
        for stratum in SHOWN:
            rows = {row["metric"]: row for row in _metric_rows(own[own["stratum"] == stratum])}
            auroc = rows.get("auroc")
            if auroc is None or (auroc["value"] is None and stratum != "all"):
                continue
            name = cell.name.removesuffix("-main") if stratum == "all" else ""
            values = "".join(f"{value_text(rows.get(metric)):<25}" for metric in order)
            lines.append(f"  {name:<{wide}}{stratum:<14}{values}{auroc['n_pos']:>10,}")
    return lines


def _floor(summary: Summary, dataset: str) -> list[str]:
    """What stands below the methods, and a warning for each one that is not separable from it."""
    beside = summary.references[summary.references["dataset"] == dataset]
    macro = beside[
        (beside["class"] == "macro") & (beside["stratum"] == "all") & (beside["metric"] == "auroc")
    ]
    title = dict(zip(macro["run_id"], macro["title"], strict=True))
    lines = [f"  floor: {title[row['run_id']]}  {value_text(row)}" for row in _metric_rows(macro)]
    tests = summary.floor[(summary.floor["dataset"] == dataset) & ~summary.floor["above"].astype(bool)]
    for row in _records(tests):
        said = (
            f"{signed_text(row['delta'], row['low'], row['high'])}, corrected p {p_text(row['p_corrected'])}"
        )
        why = row["undefined"] or said
        lines.append(
            f"  WARNING: {row['method']} is not separable from the floor "
            f"({title.get(row['reference'], row['reference'])}: {why})"
        )
    return lines


def _trained(session: Session, cells: Sequence[Cell]) -> str:
    if session.encoders is not None:
        what = "the model's own" if cells[0].table == "models" else "the official checkpoint"
        return f"Weights: {what}, with its own encoders and preprocessing."
    manifest = session.manifest(session.params.data.train)
    kind = TWIN_NOTICE if manifest.origin == "twin" else "official files"
    texts = texts_used(cells[0].texts, manifest)
    own = (encoders_of(session.params, cell) for cell in cells)
    names = (e.names.replace("+", " + ") + ("" if e.train.trains else ", frozen") for e in own)
    return (
        f"Trained on {manifest.dataset} ({kind}), texts: {texts.name}, encoders "
        f"{' or '.join(dict.fromkeys(names))}. "
        f"Intervals: {percent(session.params.statistics.level)}, patients resampled; "
        "with several seeds they include the spread of training."
    )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for JSON; undefined is null."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(k): v for k, v in row.items()} for row in plain.to_dict("records")]


def _metric_rows(frame: pd.DataFrame) -> list[MetricRow]:
    return cast("list[MetricRow]", _records(frame))
