"""`bench evaluate`: evaluate a trained cell again."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.commands.common import JsonOption, emit

EPILOG = "bench evaluate carzero · bench evaluate carzero-global --seeds 0 · bench evaluate clip --json"


def command(
    cell: Annotated[str, typer.Argument(help="A method's main cell (carzero) or a cell of params.yaml.")],
    seeds: Annotated[str | None, typer.Option(help="Comma-separated; default: seeds of params.yaml.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Score a trained cell on every evaluation set; results that are still right are reused."""
    from benchmark.grid.request import parse_seeds
    from benchmark.stages.entry import context, evaluate_stage

    line = evaluate_stage(cell, parse_seeds(seeds) if seeds else context()[1].seeds)
    emit({"cell": cell, "message": line}, line, as_json)
    return 0
