"""The summary that a `bench run` prints, used again as long as what it rests on has the same content.

Of a finished run it takes longer than all else: the influences of every row, subgroup and metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmark.core.hashing import hash_value
from benchmark.core.reuse import key_of, reuse
from benchmark.evaluation.evaluation_data import EvaluationData
from benchmark.grid.params import Cell
from benchmark.stages.code import computed_with
from benchmark.stages.references import Referred
from benchmark.stages.run import Session
from benchmark.stages.summarise import FILES, Summary, contents, summarise, summary_key


def summary_of(
    session: Session,
    cells: Sequence[Cell],
    seeds: Sequence[int],
    sets: Sequence[EvaluationData],
    references: Mapping[str, Sequence[Referred]],
) -> Summary:
    """`summarise`, or what it made of the same predictions, labels, references, settings and code.

    One is kept of the same cells, seeds and sets, so that the cache does not grow with every training."""
    key = key_of(
        summary=summary_key(session.params, cells, contents(session.project, session), sets, references),
        params=session.params.model_dump(mode="json"),
        seeds=list(seeds),
        encoders=[at.encoder for at in sets],
        **computed_with(),
    )
    asked = [[cell.name for cell in cells], list(seeds), [at.manifest.dataset for at in sets]]
    folder = session.project.cache / "summaries" / hash_value(asked)[:16]
    files = [folder / f"{name}.parquet" for name in FILES]

    def make() -> None:
        summarise(session, cells, seeds, sets, references).save(folder)

    with session.writing("summary", folder):
        reuse(folder / "made.json", key, files, make)
        return Summary.load(folder)
