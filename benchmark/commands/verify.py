"""`bench verify`: the papers' claims against the results of this project."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.commands.common import JsonOption, emit

EPILOG = "bench verify · bench verify cross-attention-beats-cosine · bench verify --json"


def command(
    claims: Annotated[
        list[str] | None,
        typer.Argument(help="Ids of claims and predictions; default: all.", metavar="[CLAIM]…"),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Say of each claim whether it is supported, contradicted, inconclusive, undefined or not run.

    p values are corrected over all claims of a declared family, run or not. A result on synthetic twins is
    never one about patients, nor a result with shared encoders one about the published recipe; both are
    worded so. Then, how many signs of each prediction are those found here. Exit 1 if a required claim is
    contradicted.
    """
    from benchmark.grid.layout import Project
    from benchmark.reporting.claims import claims_of
    from benchmark.reporting.kept import Answer, answered
    from benchmark.reporting.rests_on import asked_to_verify, on_results

    project, wanted = Project.find(), claims or []
    claims_of(project, wanted)

    def find() -> Answer:
        from benchmark.reporting.answers import verdicts
        from benchmark.reporting.verify import verify

        return verdicts(*verify(project, wanted))

    found = answered(project, asked_to_verify(wanted), lambda: on_results(project), find)
    emit(found.value, found.text, as_json)
    return found.code
