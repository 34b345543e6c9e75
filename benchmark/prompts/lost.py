"""Sentences that became no aligned text: counted, with the nearest known names, and refused above a share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.core.errors import DataError, closest
from benchmark.data.cards import Card
from benchmark.prompts.class_prompts import display_name
from benchmark.prompts.lexicon import load_lexicon

if TYPE_CHECKING:
    import pandas as pd

OUTSIDE_AT_MOST = 0.01
"""Share of the sentences that may name only classes of the card that the lexicon lacks, and so be no text."""


@dataclass(frozen=True)
class Lost:
    """sentences: of the table. unnamed: those without a finding. outside: those of them that name a class of
    the card which the lexicon lacks. concepts: each such concept → how many of them name it."""

    sentences: int
    unnamed: int
    outside: int
    concepts: Mapping[str, int]

    def said(self) -> list[str]:
        """One line a kind; none where nothing was lost."""
        lines = []
        if self.unnamed:
            lines.append(
                f"{self.unnamed:,} sentences name no concept of the lexicon and do not train as aligned texts"
            )
        if self.concepts:
            more = ", …" if len(self.concepts) > 3 else ""
            shown = [f"{_near(concept)} in {count:,}" for concept, count in list(self.concepts.items())[:3]]
            many = len(self.concepts)
            lines.append(f"{many} concepts of the card are not in it: {', '.join(shown)} of them{more}")
        return lines

    def stop_above(self, dataset: str) -> None:
        """Raises DataError where `outside` is more than OUTSIDE_AT_MOST of the sentences."""
        if self.outside <= OUTSIDE_AT_MOST * self.sentences:
            return
        worst = next(iter(self.concepts))
        raise DataError(
            f"{dataset}: {self.outside:,} of {self.sentences:,} sentences name only classes that the lexicon "
            f"lacks ({_near(worst)} {self.concepts[worst]:,}) and would not train. Add them to "
            "datasets/lexicon.yaml, correct the card's concepts, or train on `texts.wording: raw`."
        )


def lost_sentences(table: pd.DataFrame, card: Card | None) -> Lost:
    """What a table of aligned sentences (ALIGNED_COLUMNS) lost. card: of the set whose reports these are,
    where that is known; concepts that most sentences name come first."""
    sentences = table.groupby(["study_id", "sentence"]).agg({"text": "first", "aligned": "count"})
    unnamed = sentences.loc[sentences["aligned"] == 0, "text"].str.lower()
    named = unnamed.ne(unnamed)
    counts: dict[str, int] = {}
    outside = concepts_outside(card) if card else {}
    for concept, classes in outside.items():
        assert card is not None
        names = {name.lower() for c in classes for name in (concept, c, display_name(card, c))}
        hit = unnamed.str.contains(rf"\b(?:{'|'.join(map(re.escape, sorted(names)))})\b", regex=True)
        counts[concept], named = int(hit.sum()), named | hit
    ranked = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return Lost(len(sentences), len(unnamed), int(named.sum()), ranked)


def concepts_outside(card: Card) -> dict[str, list[str]]:
    """Concept of the card that the lexicon lacks → classes; whether reports name these cannot be told."""
    lexicon = load_lexicon()
    outside: dict[str, list[str]] = {}
    for name, concepts in card.concepts.items():
        for concept in concepts:
            if concept not in lexicon:
                outside.setdefault(concept, []).append(name)
    return outside


def _near(concept: str) -> str:
    near = closest(concept, load_lexicon().concepts)
    return f"'{concept}'" + (f", near '{near}'," if near else "")
