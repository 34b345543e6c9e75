"""What `bench verify` and `bench explain` print, and keeping it when the page is made of the same results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmark.grid.layout import Project
from benchmark.reporting.gather import gather
from benchmark.reporting.kept import Answer, Watch
from benchmark.reporting.predictions import Held, predictions_text
from benchmark.reporting.rests_on import asked_to_explain, asked_to_verify, on_results
from benchmark.reporting.story import Story, explain_text
from benchmark.reporting.verdicts import Judgement, report_text
from benchmark.reporting.verify import verify

if TYPE_CHECKING:
    from benchmark.reporting.outputs import PartReport


def verdicts(judgements: Sequence[Judgement], predicted: Sequence[Held]) -> Answer:
    """Exit status 1 where a required claim is contradicted."""
    failed = [j.claim for j in judgements if j.fails]
    value = {
        "claims": [j.as_json() for j in judgements],
        "predictions": [own.as_json() for own in predicted],
        "required_contradicted": failed,
    }
    said = [predictions_text(predicted)] if predicted else []
    said += [report_text(judgements)] if judgements or not predicted else []
    return Answer(value, "\n\n".join(said), 1 if failed else 0)


def explanation(story: Story) -> Answer:
    return Answer(story.to_json(), explain_text(story))


class Ahead:
    """Answers that are kept before they are asked for. Made before a report, it notes what they rest on."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._results = Watch(project, partial(on_results, project))
        self._with_store = Watch(project, partial(on_results, project, store=True))

    def keep(self, report: PartReport) -> None:
        """The verdicts on all claims, and the macro values of the main cells on every set, of the part that
        `bench verify` and `bench explain` read."""
        part = report.gathered.part
        if part not in ("all", "main") or part != gather(self._project).part:
            return
        self._results.keep([(asked_to_verify([]), verdicts(*verify(self._project, [], report.gathered)))])
        self._with_store.keep(list(_explained(report)))


def _explained(report: PartReport) -> Iterator[tuple[Mapping[str, Any], Answer]]:
    """Questions by the name of the cell, and of the method where no cell is called so, and their answers."""
    evidence = report.gathered.evidence
    for cell in evidence.mains:
        method = cell.removesuffix("-main")
        for dataset in evidence.datasets:
            found = explanation(report.stories.of(cell, dataset))
            for name in (cell, method) if method not in evidence.names else (cell,):
                yield asked_to_explain(name, dataset, None), found
