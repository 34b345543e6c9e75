"""`bench submit`: check a bundle and add its row to the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.common import JsonOption, emit
from benchmark.core.errors import BenchError

EPILOG = "bench submit bundle · bench submit bundle --dry-run · bench submit --check"


def command(
    bundle: Annotated[Path | None, typer.Argument(help="A folder that `bench export` wrote.")] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of the official files, to recompute with their labels.")
    ] = None,
    quoted: Annotated[
        bool, typer.Option("--quoted", help="Take numbers that nothing here can recompute and nobody signed.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check it, and add nothing.")] = False,
    check_all: Annotated[
        bool, typer.Option("--check", help="Recompute every row that is in the registry instead.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Recompute every number of a bundle and add it to results-registry/, one folder a row.

    Refused are numbers that do not agree to 1e-6, columns that are no scores, another version of the card and
    missing provenance. Rows stand in a table of their own under their evidence: recomputed, signed or quoted.
    """
    from benchmark.exchange.submit import add, check, check_registry
    from benchmark.grid.layout import Project

    project = Project.find()
    if check_all == (bundle is not None):
        raise BenchError("bench submit: give one bundle, or --check for the whole registry.")
    if bundle is None:
        options = {"--data-root": data_root is not None, "--quoted": quoted, "--dry-run": dry_run}
        if given := next((option for option, on in options.items() if on), None):
            raise BenchError(
                f"{given}: goes with a bundle; --check takes this project's labels. Leave it out."
            )
        lines = check_registry(project)
        emit({"rows": lines}, "\n".join(lines) or "results-registry: no rows", as_json)
        return
    checked = check(project, bundle, data_root=data_root, quoted=quoted)
    added = None if dry_run else project.relative(add(project, checked))
    text = f"{checked.text}\n{f'added {added}' if added else 'checked, and nothing was added'}"
    emit({**checked.as_json(), "added": added}, text, as_json)
