"""`bench run`: one cell of the table, or a row, or all of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.common import JsonOption, emit

if TYPE_CHECKING:
    from benchmark.grid.request import Request
    from benchmark.official.settings import Checkpoint
    from benchmark.reporting.run_report import RunReport
    from benchmark.stages.cluster import Resources
    from benchmark.training.distributed import Group

EPILOG = (
    "bench run --method carzero --dataset padchest · "
    "bench run --method all --dataset all --seeds 0 --jobs 1 · "
    "bench run --model hf:/models/medsiglip-448 --dataset padchest · "
    "bench run --method carzero --dataset chestxray14 --data-root /data/ChestX-ray14 · "
    "bench run --method all --dataset all --profile official --cluster slurm --gpus 1 --partition gpu"
)

PAST_ONE = "Past one process"
MODELS_METHOD = "clip"
"""How a model of two towers is scored: by the cosine of its own vectors."""


def command(
    dataset: Annotated[
        str,
        typer.Option("--dataset", help="A dataset, main (data.evaluate) or all; see `bench ls datasets`."),
    ],
    method: Annotated[
        str | None, typer.Option("--method", help="A method, or all; see `bench ls methods`.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="In place of --method, a model of two towers: hf:FOLDER, open_clip:FOLDER, hf:NAME of cards."
        ),
    ] = None,
    architecture: Annotated[
        str | None, typer.Option(help="open_clip's name of the network of --model open_clip:FILE.")
    ] = None,
    data_root: Annotated[
        str | None, typer.Option(help="Folder of the dataset's official files. Without it: the twin.")
    ] = None,
    train: Annotated[str | None, typer.Option(help="Dataset to train on; default: data.train.")] = None,
    train_root: Annotated[str | None, typer.Option(help="Folder of official files to train on.")] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Official checkpoint to evaluate instead of training.")
    ] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Folder of the tokenizer of --checkpoint.")] = None,
    layout: Annotated[
        str | None,
        typer.Option(help="chexzero: what --checkpoint is, where its tensors are also those of open_clip."),
    ] = None,
    official: Annotated[
        list[str] | None,
        typer.Option(
            "--official",
            help="Setting of --checkpoint: size=224 (radzero), pooling=all_positions (medclip), head=linear, "
            "features=local or text_columns=40 (carzero), member=FILE (CheXzero's ensemble). Repeatable.",
        ),
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="Evaluation protocol of the dataset's card.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Comma-separated; default: seeds of params.yaml.")] = None,
    profile: Annotated[
        str | None, typer.Option(help="Profile of params.yaml: smoke, twin, official.")
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="equal-budget: as configured; official: each method's own settings.")
    ] = "equal-budget",
    floor: Annotated[
        bool, typer.Option("--floor", help="Also make what stands below: shuffled pairs, untrained methods.")
    ] = False,
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="Override a parameter: training.epochs=3. Repeatable.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Train and evaluate only the i-th of n parts of the cells: i/n.", rich_help_panel=PAST_ONE
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes on this machine that train cells and seeds side by side; default: as many as end "
            "soonest on its free cores, 1 where little is to train.",
            rich_help_panel=PAST_ONE,
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="slurm: submit the cells as an array of jobs and return; local: the same on this machine; "
            "ray: cells as tasks of a Ray cluster, waited for.",
            rich_help_panel=PAST_ONE,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT of the head for --cluster ray; default: RAY_ADDRESS, or this machine's cluster.",
            rich_help_panel=PAST_ONE,
        ),
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(
            min=1, help="Jobs of the array; default: one a cell and seed.", rich_help_panel=PAST_ONE
        ),
    ] = None,
    minutes: Annotated[
        int | None,
        typer.Option(
            min=1, help="Time limit of a job, then queued again; default: 240.", rich_help_panel=PAST_ONE
        ),
    ] = None,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs of a job.", rich_help_panel=PAST_ONE)] = 0,
    cpus: Annotated[int, typer.Option(min=1, help="Processor cores of a job.", rich_help_panel=PAST_ONE)] = 4,
    memory_gb: Annotated[
        int, typer.Option(min=1, help="Main memory of a job, in GB.", rich_help_panel=PAST_ONE)
    ] = 16,
    partition: Annotated[
        str | None, typer.Option(help="Slurm partition of the jobs.", rich_help_panel=PAST_ONE)
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="With --cluster: print what would be submitted.", rich_help_panel=PAST_ONE
        ),
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Prepare what is missing, train or reuse, evaluate, and print the table with intervals.

    A run that was killed goes on where it was; finished work is reused and named.
    """
    from benchmark.core.errors import ParamsError
    from benchmark.grid.asked import check_asked, check_layout, check_model, check_published, known_methods

    if method == "all" and method in known_methods().names():
        known_methods().get(method)  # says that no method can have this name
    check_asked(None if method == "all" else method, None if dataset in ("all", "main") else dataset)
    from benchmark.grid.request import Request, parse_seeds, parse_shard

    if (method is None) == (model is None):
        raise ParamsError(
            "give --method NAME, or --model hf:FOLDER (open_clip:FOLDER) for a model of two towers."
        )
    check_model(model, architecture, checkpoint, tokenizer)
    check_layout(layout, checkpoint)
    if official and checkpoint is None:
        raise ParamsError("--official says how --checkpoint is evaluated; give both.")
    weights = _weights(method, checkpoint, tokenizer, layout, official or ())
    request = Request(
        method=method or MODELS_METHOD,
        dataset=dataset,
        data_root=data_root,
        train=train,
        train_root=train_root,
        protocol=protocol,
        seeds=parse_seeds(seeds) if seeds else None,
        profile=profile,
        recipe=recipe,
        sets=tuple(sets or ()),
        shard=parse_shard(shard or "1/1"),
        floor=floor,
    )
    several = jobs is not None and jobs > 1
    many = several or cluster is not None
    published = checkpoint is not None or model is not None
    if published:
        check_published(request, official=checkpoint is not None)
    if floor and published:
        raise ParamsError("--floor stands below what trains here: leave it out with published weights.")
    if many and (
        (published and (cluster != "ray" or dry_run))
        or request.shard != (0, 1)
        or (several and (cluster is not None or "RANK" in os.environ))
    ):
        raise ParamsError("--jobs and --cluster part the cells themselves: give one of them, without --shard "
                          "and torchrun; with --checkpoint and --model, --cluster ray.")  # fmt: skip
    if dry_run and cluster is None:
        raise ParamsError("--dry-run says what --cluster would submit; add --cluster slurm.")
    if cluster is None and (shards or minutes or gpus or partition or (cpus, memory_gb) != (4, 16)):
        raise ParamsError(
            "--shards, --minutes, --gpus, --cpus, --memory-gb and --partition go with --cluster."
        )
    if address is not None and cluster != "ray":
        raise ParamsError("--address goes with --cluster ray.")
    if cluster is not None:
        from benchmark.stages.cluster import MINUTES, Resources

        if cluster == "ray" and (minutes is not None or partition is not None):
            raise ParamsError("--minutes and --partition are Slurm's; leave them out with --cluster ray.")
        asked = Resources(shards, minutes or MINUTES, gpus, cpus, memory_gb, partition)
        if published:
            if shards is not None:
                raise ParamsError("--shards parts cells; leave it out with --checkpoint and --model.")
            return _published_on_ray(request, asked, address, as_json, model, architecture, weights)
        if cluster == "ray" and not dry_run:
            return _ray(request, asked, address, as_json)
        return _submit(request, cluster, asked, dry_run, as_json)
    if model is not None:
        return _model(request, model, architecture, as_json)
    if weights is not None:
        return _checkpoint(request, weights, as_json)
    return carry(request, as_json, jobs if shard is None else 1)


def _weights(
    method: str | None, file: str | None, tokenizer: str | None, layout: str | None, official: Sequence[str]
) -> Checkpoint | None:
    """What --checkpoint and the options beside it name; None without it."""
    if file is None:
        return None
    from benchmark.official.settings import Checkpoint, parse_settings

    return Checkpoint(file, tokenizer, layout, parse_settings(str(method), official))


def _model(request: Request, model: str, architecture: str | None, as_json: bool) -> int:
    from benchmark.grid.layout import Project
    from benchmark.reporting.run_report import carry_out_model

    project = Project.find()
    return _on_ranks(
        lambda group, said: carry_out_model(project, request, model, architecture, said, group), as_json
    )


def _checkpoint(request: Request, checkpoint: Checkpoint, as_json: bool) -> int:
    from benchmark.grid.layout import Project
    from benchmark.reporting.run_report import carry_out_checkpoint

    project = Project.find()
    return _on_ranks(
        lambda group, said: carry_out_checkpoint(project, request, checkpoint, said, group), as_json
    )


def _say(line: str) -> None:
    """A line of progress, above the bars that are shown: `typer.echo` would write across them."""
    print(line, file=sys.stderr)


def _on_ranks(work: Callable[[Group, Callable[[str], None]], RunReport | None], as_json: bool) -> int:
    """Do `work` here or on every rank of torchrun, and print its table once."""
    from benchmark.stages.processes import with_ranks

    report, code = with_ranks(work, _say)
    if report is not None:
        emit(report.value, report.text, as_json)
    return code


def carry(request: Request, as_json: bool, jobs: int | None = 1) -> int:
    """Carry a request out and print its table. What was finished and printed, and rests on nothing that
    changed since, is printed again, without torch and without a look at features.

    jobs: processes, as `processes` of `carry_out`; under torchrun its ranks take their place."""
    from benchmark.grid.layout import Project
    from benchmark.grid.request import plan
    from benchmark.reporting.kept import Answer, answered
    from benchmark.reporting.rests_on import on_run

    project = Project.find()
    todo = plan(project, request)  # what is mistyped is told before torch is loaded
    said: list[str] = []

    def say(line: str) -> None:
        _say(line)
        said.append(line)

    def find() -> Answer:
        from benchmark.reporting.run_report import carry_out

        report = carry_out(project, request, say, todo=todo, processes=jobs)
        assert report is not None
        return Answer(report.value, report.text, 0, tuple(said))

    if "RANK" in os.environ:
        from benchmark.reporting.run_report import carry_out

        return _on_ranks(lambda group, tell: carry_out(project, request, tell, group, todo), as_json)
    asked = {"command": "run", **asdict(request)}
    found = answered(project, asked, lambda: on_run(project, todo, request.protocol), find, say)
    emit(found.value, found.text, as_json)
    return found.code


def _ray(request: Request, asked: Resources, address: str | None, as_json: bool) -> int:
    from benchmark.grid.layout import Project
    from benchmark.stages.ray_tasks import run_ray

    run_ray(Project.find(), request, asked, address, _say)
    return carry(request, as_json)


def _published_on_ray(
    request: Request, asked: Resources, address: str | None, as_json: bool, model: str | None,
    architecture: str | None, checkpoint: Checkpoint | None,
) -> int:  # fmt: skip
    """Weights that were not trained here: their images are encoded and scored on the cluster, and evaluated
    here."""
    from functools import partial

    from benchmark.grid.layout import Project
    from benchmark.reporting.run_report import carry_out_checkpoint, carry_out_model
    from benchmark.stages.ray_cluster import connected
    from benchmark.stages.ray_scores import score_ahead
    from benchmark.stages.ray_stream import OnRay

    project = Project.find()

    with connected(address) as ray:
        ahead = partial(score_ahead, OnRay(ray, asked, project.root))
        if checkpoint is not None:
            report = carry_out_checkpoint(project, request, checkpoint, _say, ahead=ahead)
        else:
            report = carry_out_model(project, request, str(model), architecture, _say, ahead=ahead)
    assert report is not None
    emit(report.value, report.text, as_json)
    return 0


def _submit(request: Request, cluster: str, asked: Resources, dry_run: bool, as_json: bool) -> int:
    from benchmark.core.errors import ParamsError
    from benchmark.grid.layout import Project
    from benchmark.stages.cluster import submit, words_of
    from benchmark.stages.ray_tasks import submission

    if cluster not in ("slurm", "local", "ray"):
        raise ParamsError(f"--cluster {cluster}: expected slurm, local or ray.")
    project = Project.find()
    if cluster == "ray":
        done = submission(project, request, asked)
    else:
        done = submit(project, request, cluster, asked, dry_run)
    settings = ", ".join(f"{key} {value}" for key, value in done.asked.items() if key != "name")
    verb = "would submit" if dry_run else "submitted"
    kind = "tasks" if cluster == "ray" else "jobs"
    lines = [f"{verb} {len(done.commands)} {kind} to {cluster}: {settings}"]
    ids = done.jobs or ("",) * len(done.commands)
    lines += [f"  {job:<12}{words_of(command)}" for job, command in zip(ids, done.commands, strict=True)]
    if not dry_run:
        lines.append(f"logs: {project.relative(done.logs)}. When the jobs are done, the same command without "
                     "--cluster prints the table from what they made.")  # fmt: skip
    value = {"cluster": cluster, "jobs": list(done.jobs), "asked": done.asked, "dry_run": dry_run,
             "commands": [words_of(command) for command in done.commands]}  # fmt: skip
    emit(value, "\n".join(lines), as_json)
    return 0
