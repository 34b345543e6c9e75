"""`bench run`: one cell of the table, or a row, or all of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from benchmark.commands.common import JsonOption, emit

EPILOG = (
    "bench run --method carzero --dataset padchest · "
    "bench run --method all --dataset all --seeds 0 · "
    "bench run --method carzero --dataset chestxray14 --data-root /data/ChestX-ray14"
)


def command(
    method: Annotated[str, typer.Option("--method", help="A method, or all; see `bench ls methods`.")],
    dataset: Annotated[str, typer.Option("--dataset", help="A dataset, or all; see `bench ls datasets`.")],
    data_root: Annotated[
        str | None, typer.Option(help="Folder of the dataset's official files. Without it: the twin.")
    ] = None,
    train: Annotated[str | None, typer.Option(help="Dataset to train on; default: data.train.")] = None,
    train_root: Annotated[str | None, typer.Option(help="Folder of official files to train on.")] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Official checkpoint to evaluate instead of training.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Folder or hub name of the tokenizer of --checkpoint.")
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="Evaluation protocol of the dataset's card.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Comma-separated; default: seeds of params.yaml.")] = None,
    profile: Annotated[
        str | None, typer.Option(help="Profile of params.yaml: smoke, twin, official.")
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="Override a parameter: training.epochs=3. Repeatable.")
    ] = None,
    shard: Annotated[
        str, typer.Option(help="Train and evaluate only the i-th of n parts of the cells: i/n.")
    ] = "1/1",
    as_json: JsonOption = False,
) -> int:
    """Prepare what is missing, train or reuse, evaluate, and print the table with intervals.

    A run that was killed goes on where it was; finished work is reused and named.
    """
    from benchmark.pipeline.project import Project
    from benchmark.pipeline.report_run import carry_out, carry_out_checkpoint
    from benchmark.pipeline.request import Request, parse_seeds, parse_shard

    request = Request(
        method=method,
        dataset=dataset,
        data_root=data_root,
        train=train,
        train_root=train_root,
        protocol=protocol,
        seeds=parse_seeds(seeds) if seeds else None,
        profile=profile,
        sets=tuple(sets or ()),
        shard=parse_shard(shard),
    )
    say: Any = lambda line: typer.echo(line, err=True)  # noqa: E731
    project = Project.find()
    if checkpoint is None:
        report = carry_out(project, request, say)
    else:
        report = carry_out_checkpoint(project, request, checkpoint, tokenizer, say)
    emit(report.value, report.text, as_json)
    return 0
