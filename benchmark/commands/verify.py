"""`bench verify`: the papers' claims against the results of this project."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.commands.common import JsonOption, emit

EPILOG = "bench verify · bench verify cross-attention-beats-cosine · bench verify --json"


def command(
    claims: Annotated[
        list[str] | None, typer.Argument(help="Ids of reports/claims.yaml; default: all.", metavar="[CLAIM]…")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Say of each claim whether it is supported, contradicted, inconclusive, undefined or not run.

    p values are corrected over all claims of a declared family, run or not. A result on synthetic twins is
    never one about patients, nor a result with shared encoders one about the published recipe; both are
    worded so. Exit 1 if a required claim is contradicted.
    """
    from benchmark.grid.layout import Project
    from benchmark.reporting.claims import claims_of

    if claims:
        claims_of(Project.find(), claims)
    from benchmark.reporting.outputs import verify
    from benchmark.reporting.verdicts import report_text

    judgements = verify(Project.find(), claims or [])
    failed = [j.claim for j in judgements if j.fails]
    value = {"claims": [j.as_json() for j in judgements], "required_contradicted": failed}
    emit(value, report_text(judgements), as_json)
    return 1 if failed else 0
