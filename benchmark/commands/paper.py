"""`bench paper`: a paper's table, recomputed from its prediction files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.common import JsonOption, emit

EPILOG = "bench paper claims.yaml · bench paper claims.yaml --out paper-table --json"


def command(
    claims: Annotated[Path, typer.Argument(help="YAML: labels, rows with their prediction files, claims.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the tables as Markdown, CSV and LaTeX.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Recompute a paper's table: intervals, whether printed values are found again, and verdicts.

    p values are corrected over the claims of the file. Exit 1 where a printed value is not found again or a
    claim is contradicted. `.github/actions/paper-table` runs it on pull requests.
    """
    from benchmark.reporting.paper import recompute

    paper = recompute(claims)
    if out is not None:
        paper.check_out(out, claims)
    files = [] if out is None else [str(path) for path in paper.save(out)]
    emit({**paper.as_json(), "files": files}, paper.text, as_json)
    return 0 if paper.holds else 1
