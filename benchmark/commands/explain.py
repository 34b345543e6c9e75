"""`bench explain`: how a number of the tables came about."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.commands.common import JsonOption, emit

EPILOG = (
    "bench explain carzero padchest · bench explain carzero padchest pneumonia · "
    "bench explain carzero-global chestxray14 --json"
)


def command(
    cell: Annotated[str, typer.Argument(help="A method's main cell (carzero) or a cell of params.yaml.")],
    dataset: Annotated[str, typer.Argument(help="An evaluation set with results.")],
    class_name: Annotated[
        str | None, typer.Argument(metavar="[CLASS]", help="One class; default: macro.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Seeds, labels, prompt, interval, comparisons, provenance and command behind one AUROC."""
    from benchmark.grid.asked import check_evaluated
    from benchmark.grid.layout import Project

    project = Project.find()
    check_evaluated(project, cell, dataset)
    from benchmark.reporting.kept import Answer, answered
    from benchmark.reporting.rests_on import asked_to_explain, on_results

    def find() -> Answer:
        from benchmark.reporting.answers import explanation
        from benchmark.reporting.explain import explain

        return explanation(explain(project, cell, dataset, class_name))

    asked = asked_to_explain(cell, dataset, class_name)
    found = answered(project, asked, lambda: on_results(project, store=True), find)
    emit(found.value, found.text, as_json)
