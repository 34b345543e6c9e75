"""`bench init`: a project of one's own, outside the checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.common import JsonOption, emit

EPILOG = "bench init my-study · bench init my-study --profile smoke"


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to start in; made where missing.")],
    profile: Annotated[
        str | None, typer.Option(help="Start from a profile of params.yaml instead of the default.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Start a project: params.yaml, the DVC pipeline, claims and published values.

    Everything that a clone can do then runs in DIR, from an installed package alone. Nothing is overwritten.
    """
    from benchmark.grid.start import start_project

    written = start_project(folder, profile)
    text = "\n".join(
        [
            f"{folder}: {', '.join(written)}",
            f"cd {folder}, then: bench doctor; bench run --method clip --dataset chestxray14; dvc repro",
        ]
    )
    emit({"folder": str(folder.resolve()), "written": written}, text, as_json)
    return 0
