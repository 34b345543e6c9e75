"""Whether a difference of two rows is another one on other classes, from saved scores.

Of all that `bench verify` says it takes longest: the influences of every patient on both strata. It is kept
under the content of what it rests on, so that a first answer after a change finds it again only where its own
scores, labels or settings changed, or the code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.core.hashing import hash_file, hash_value
from benchmark.core.kept_value import kept_value
from benchmark.core.reuse import Key, key_of
from benchmark.data.cards import load_card
from benchmark.evaluation.statistics.effects import Effect
from benchmark.evaluation.statistics.paired import difference
from benchmark.evaluation.statistics.seeds import summarise
from benchmark.prompts.lexicon import load_lexicon
from benchmark.reporting.joint import contrasts_of
from benchmark.stages.code import code_digest, computed_with

if TYPE_CHECKING:
    from benchmark.reporting.gather import Gathered


def interaction(
    gathered: Gathered, a: str, b: str, dataset: str, stratum: str, against: str
) -> Effect | None:
    """(a - b) on `stratum` minus (a - b) on `against`, from the joint influences of both strata; None without
    predictions or without one of the strata."""
    rows = a, b
    paths = [list(gathered.predicted(name, dataset).values()) for name in rows]
    if not all(paths):
        return None
    asked = [gathered.part, *rows, dataset, stratum, against]
    place = gathered.project.cache / "interactions" / f"{hash_value(asked)[:16]}.json"

    def key() -> Key:
        hashes = [list(map(hash_file, own)) for own in paths]
        return key_of(asked=asked, predictions=hashes, **_rests(gathered, dataset))

    value = kept_value(place, key, lambda: _found(gathered, rows, dataset, stratum, against))
    if value is None:
        return None
    known = gathered.evidence.rounding
    rounding = tuple(
        known[one] - known[other] if one in known and other in known else np.zeros(0)
        for one, other in (
            ((name, dataset, stratum, "auroc"), (name, dataset, against, "auroc")) for name in rows
        )
    )
    seeds = tuple(np.array(values) for values in value["seeds"])
    return Effect(**{**value, "datasets": (dataset,), "seeds": seeds, "rounding": rounding})


def _found(
    gathered: Gathered, rows: Sequence[str], dataset: str, stratum: str, against: str
) -> dict[str, Any] | None:
    """The fields of the effect without its set and what rounding changes, as JSON takes them."""
    summaries = []
    for name in rows:
        own = gathered.scores(name, dataset)
        panels = None if own is None else contrasts_of(own, stratum, against)
        if not panels:
            return None
        summaries.append(summarise(panels))
    config = gathered.config
    found = difference(summaries[0], summaries[1], 0, config.level, config.power)
    fields = {name: getattr(found, name) for name in ("value", "low", "high", "se", "df", "note")}
    return {**fields, "seeds": [s.values[:, 0].tolist() for s in summaries]}


def _rests(gathered: Gathered, dataset: str) -> dict[str, object]:
    """What an interaction rests on beside the scores of its rows: labels and strata, settings and code."""
    named = gathered.named
    return {
        "manifest": hash_file(gathered.prepared(dataset) / "manifest.parquet"),
        "card": load_card(dataset).model_dump(mode="json"),
        "lexicon": load_lexicon().hash,
        "named": None if named is None else [named.studies, dict(named.present)],
        "statistics": gathered.config.model_dump(mode="json"),
        "code": code_digest(),
        **computed_with(),
    }
