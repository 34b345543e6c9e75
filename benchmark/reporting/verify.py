"""The ledger against the results of this project: what `bench verify` says, and tables of claims hold.

No table or page is made here, so that an answer waits for none of their modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmark.grid.layout import Project
from benchmark.grid.parts import VOLUMES
from benchmark.reporting.claims import (
    CLAIMS,
    CT_FAMILY,
    Claim,
    Prediction,
    claims_of,
    load_ledger,
    source_file,
)
from benchmark.reporting.gather import Gathered, gather
from benchmark.reporting.interactions import interaction
from benchmark.reporting.known_names import check_names, check_rows
from benchmark.reporting.predictions import Computed, Held, Results, Summarised, held
from benchmark.reporting.published import Published, load_published
from benchmark.reporting.verdicts import Judgement, judge

PUBLISHED = "published.yaml"


def published(project: Project) -> Published:
    return load_published(source_file(project, PUBLISHED))


def verify(
    project: Project, wanted: Sequence[str], radiographs: Gathered | None = None
) -> tuple[list[Judgement], list[Held]]:
    """Judge the whole ledger (its claims are corrected together) and return the claims and predictions asked
    for; no prediction where nothing was summarised.

    radiographs: the results of its part, where they were gathered before. Raises UnknownName for a claim that
    the ledger does not hold, and BenchError where it names a cell, set, stratum or metric that is not there.
    """
    ledger = claims_of(project, wanted)
    check_names(ledger.claims, source_file(project, CLAIMS))
    check_rows(ledger, project)
    gathered, on_ct = radiographs or _gathered(project, volumes=False), _gathered(project, volumes=True)
    asked = [own for own in ledger.predictions if not wanted or own.id in wanted]
    predicted = [] if gathered is None else predictions_held(project, gathered, asked)
    found = [*_judged(ledger.claims, False, gathered), *_judged(ledger.claims, True, on_ct)]
    kept = {j.claim: j for j in found if not wanted or j.claim in wanted}
    return [kept[claim.id] for claim in ledger.claims if claim.id in kept], predicted


def predictions_held(
    project: Project, gathered: Gathered, predictions: Sequence[Prediction], computed: bool = False
) -> list[Held]:
    """Predictions, which are about radiographs, against the results of a part. computed: as tables hold them,
    all from the saved scores; otherwise as the summary holds them."""
    if gathered.part == VOLUMES:
        return []
    evidence, config = gathered.evidence, gathered.config
    scores = Computed(gathered.summary, config)
    summarised = Summarised(evidence, lambda *at: bool(gathered.predicted(*at)), scores)
    results: Results = scores if computed else summarised
    return held(predictions, published(project), evidence.cells, results, config.level)


def judge_all(project: Project, gathered: Gathered) -> list[Judgement]:
    """Every claim of the ledger that is about these results: those on CT volumes, or all others."""
    path = source_file(project, CLAIMS)
    ledger = load_ledger(path)
    check_names(ledger.claims, path)
    check_rows(ledger, project)
    return _judged(ledger.claims, gathered.part == VOLUMES, gathered)


def _judged(claims: Sequence[Claim], volumes: bool, gathered: Gathered | None) -> list[Judgement]:
    """Claims on CT volumes or all others; `not run` throughout where nothing was summarised."""
    own = [claim for claim in claims if (claim.family == CT_FAMILY) == volumes]
    if gathered is None:
        return judge(own, None, lambda *_: None)
    return judge(own, gathered.evidence, partial(interaction, gathered))


def _gathered(project: Project, volumes: bool) -> Gathered | None:
    """The results on volumes or on radiographs; None where these were not summarised."""
    parts = [VOLUMES] if volumes else ["all", "main"]
    if not any((project.summary(part) / "metrics.parquet").is_file() for part in parts):
        return None
    return gather(project, VOLUMES if volumes else None)
