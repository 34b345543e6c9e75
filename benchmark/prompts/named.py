"""What training reports name: in how many studies a concept is stated as present."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.prompts.lexicon import load_lexicon

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Named:
    """What the training reports say. studies: with a report. present: concept → studies that state it as
    present, descendants included. Concepts that no report states are not in it."""

    studies: int
    present: dict[str, int]


def count_named(table: pd.DataFrame) -> Named:
    """Studies per concept that is stated as present, counting what lies below it in the lexicon."""
    lexicon = load_lexicon()
    present = table[table["presence"] == "present"][["study_id", "concept"]].drop_duplicates()
    counts: dict[str, set[str]] = {}
    for study, concept in present.itertuples(index=False):
        for name in (concept, *lexicon.ancestors(concept)):
            counts.setdefault(name, set()).add(study)
    return Named(int(table["study_id"].nunique()), {k: len(v) for k, v in sorted(counts.items())})
