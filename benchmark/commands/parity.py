"""`bench parity`: our methods on official fixtures, with the largest difference of every output."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.common import JsonOption, emit

EPILOG = (
    "bench parity fixtures/carzero · bench parity fixtures/radzero/mpnce.npz --all · "
    "bench parity fixtures --json"
)


def command(
    fixtures: Annotated[
        list[Path], typer.Argument(help="Fixture files (.json or .npz) or folders, searched recursively.")
    ],
    everything: Annotated[
        bool, typer.Option("--all", help="List every output; by default parameter gradients are folded.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check our methods against inputs, weights and outputs of the official implementations.

    Exit 0: all within tolerance; 1: an output is off; 2: an unknown or incomplete fixture.
    """
    from benchmark.official.parity.report import as_object, as_text
    from benchmark.official.parity.runner import run_parity

    rows = run_parity(fixtures)
    emit(as_object(rows), as_text(rows, everything), as_json)
    if any(row.verdict == "off" for row in rows):
        raise typer.Exit(1)
