"""Whether a difference of two rows is another one on other classes, from saved scores.

Of all that `bench verify` says it takes longest: the influences of every patient on both strata. It is kept
under the content of what it rests on, so that a first answer after a change finds it again only where its own
scores, labels or settings changed, or the code.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core import numerics
from benchmark.core.errors import BenchError
from benchmark.core.files import read_json, write_json
from benchmark.core.hashing import hash_file, hash_value
from benchmark.core.reuse import Key, is_made, key_of, record
from benchmark.data.cards import load_card
from benchmark.evaluation.statistics.effects import Effect
from benchmark.evaluation.statistics.paired import difference
from benchmark.evaluation.statistics.seeds import summarise
from benchmark.prompts.lexicon import load_lexicon
from benchmark.reporting.joint import contrasts_of
from benchmark.stages.code import code_digest

if TYPE_CHECKING:
    from benchmark.reporting.gather import Gathered

PACKAGES = ("numpy", "pandas", "pyarrow", "scipy")
"""What computes an interaction beside the code of this project."""


def interaction(
    gathered: Gathered, rows: tuple[str, str], dataset: str, stratum: str, against: str
) -> Effect | None:
    """(a - b) on `stratum` minus (a - b) on `against`, from the joint influences of both strata; None without
    predictions or without one of the strata."""
    paths = [list(gathered.predicted(name, dataset).values()) for name in rows]
    if not all(paths):
        return None
    asked = [gathered.part, *rows, dataset, stratum, against]
    path = gathered.project.cache / "interactions" / f"{hash_value(asked)[:16]}.json"
    key = key_of(
        asked=asked, predictions=[list(map(hash_file, own)) for own in paths], **_rests(gathered, dataset)
    )
    found = _kept(path, key)
    if found is None:
        found = _found(gathered, rows, dataset, stratum, against)
        if found is None:
            return None
        _keep(path, key, found)
    known = gathered.evidence.rounding
    rounding = tuple(
        known[one] - known[other] if one in known and other in known else np.zeros(0)
        for one, other in (
            ((name, dataset, stratum, "auroc"), (name, dataset, against, "auroc")) for name in rows
        )
    )
    return replace(found, rounding=rounding)


def _found(
    gathered: Gathered, rows: Sequence[str], dataset: str, stratum: str, against: str
) -> Effect | None:
    """Without what rounding changes."""
    summaries = []
    for name in rows:
        own = gathered.scores(name, dataset)
        panels = None if own is None else contrasts_of(own, stratum, against)
        if not panels:
            return None
        summaries.append(summarise(panels))
    config = gathered.config
    found = difference(summaries[0], summaries[1], 0, config.level, config.power)
    seeds = tuple(s.values[:, 0] for s in summaries)
    return Effect(found.value, found.low, found.high, found.se, found.df, (dataset,), found.note, seeds)


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
        "numerics": numerics.state(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def _kept(path: Path, key: Key) -> Effect | None:
    with suppress(BenchError, OSError, TypeError, KeyError):
        if is_made(_mark(path), key, [path]):
            own = read_json(path)
            seeds = tuple(np.array(values) for values in own["seeds"])
            return Effect(**{**own, "datasets": tuple(own["datasets"]), "seeds": seeds})
    return None


def _keep(path: Path, key: Key, found: Effect) -> None:
    """A folder that takes no file keeps none."""
    own = {k: v for k, v in asdict(found).items() if k != "rounding"}
    with suppress(BenchError, OSError):
        write_json(path, {**own, "seeds": [values.tolist() for values in found.seeds]})
        record(_mark(path), key, [path])


def _mark(path: Path) -> Path:
    return path.with_suffix(".made.json")
