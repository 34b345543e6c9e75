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
    from benchmark.reporting.rests_on import on_results

    project, wanted = Project.find(), claims or []
    claims_of(project, wanted)

    def find() -> Answer:
        from benchmark.reporting.outputs import verify
        from benchmark.reporting.predictions import predictions_text
        from benchmark.reporting.verdicts import report_text

        judgements, predicted = verify(project, wanted)
        failed = [j.claim for j in judgements if j.fails]
        value = {
            "claims": [j.as_json() for j in judgements],
            "predictions": [own.as_json() for own in predicted],
            "required_contradicted": failed,
        }
        said = [predictions_text(predicted)] if predicted else []
        said += [report_text(judgements)] if judgements or not predicted else []
        return Answer(value, "\n\n".join(said), 1 if failed else 0)

    found = answered(project, {"command": "verify", "claims": wanted}, lambda: on_results(project), find)
    emit(found.value, found.text, as_json)
    return found.code
