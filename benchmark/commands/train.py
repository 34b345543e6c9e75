"""`bench train`: train methods of the project and print their table, on one process or under torchrun."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.commands.common import JsonOption

EPILOG = (
    "bench train --method carzero · "
    "bench train --method carzero --dataset padchest --seeds 0 --recipe official · "
    "torchrun --nproc-per-node 2 -m benchmark train --method carzero --dataset padchest"
)


def command(
    method: Annotated[str, typer.Option("--method", help="A method, or all; see `bench ls methods`.")],
    dataset: Annotated[
        str, typer.Option("--dataset", help="Dataset to evaluate on; all: data.evaluate.")
    ] = "all",
    train: Annotated[str | None, typer.Option(help="Dataset to train on; default: data.train.")] = None,
    train_root: Annotated[str | None, typer.Option(help="Folder of official files to train on.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Comma-separated; default: seeds of params.yaml.")] = None,
    profile: Annotated[
        str | None, typer.Option(help="Profile of params.yaml: smoke, twin, official.")
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="equal-budget: as configured; official: each method's own settings.")
    ] = "equal-budget",
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="Override a parameter: training.epochs=3. Repeatable.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Train methods on the project's data and evaluate them.

    Under torchrun the processes share each batch and each evaluation and give the table of one process.
    A finished run is reused, an unfinished one goes on from its last saved state.
    """
    from benchmark.commands.run import carry
    from benchmark.grid.request import Request, parse_seeds

    request = Request(
        method=method,
        dataset=dataset,
        train=train,
        train_root=train_root,
        seeds=parse_seeds(seeds) if seeds else None,
        profile=profile,
        recipe=recipe,
        sets=tuple(sets or ()),
    )
    return carry(request, as_json)
