"""Which sets hold images of which others: cards say it of ids in common, overlaps.yaml of the rest."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from benchmark.core.errors import CardError
from benchmark.core.guard import parse_yaml, read_text
from benchmark.data.cards import Card, card_names, datasets_folder, load_card

FILE = "overlaps.yaml"


class Overlap(BaseModel):
    """Sets that hold images of one another, and where that is stated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sets: tuple[str, ...] = Field(min_length=2)
    source: str = Field(min_length=1)


def all_cards() -> dict[str, Card]:
    """Name → card of every set. Raises CardError for a broken one."""
    return {name: load_card(name) for name in card_names()}


def overlapping(dataset: str, cards: Mapping[str, Card] | None = None) -> dict[str, str]:
    """Other sets with images of this one → where that is stated. cards: `all_cards`, where many sets are
    asked for. Raises CardError for a broken file."""
    found = {}
    cards = all_cards() if cards is None else cards
    own = cards.get(dataset) or load_card(dataset)
    for name, other in cards.items():
        if name != dataset and (name in own.overlaps or dataset in other.overlaps):
            found[name] = f"cards: `overlaps` of {dataset if name in own.overlaps else name}"
    for row in _declared(datasets_folder() / FILE):
        if dataset in row.sets:
            found |= {name: row.source for name in row.sets if name != dataset and name not in found}
    return found


@lru_cache(maxsize=2)
def _declared(path: Path) -> tuple[Overlap, ...]:
    raw = parse_yaml(read_text(path, "a YAML file"), path)
    try:
        return tuple(TypeAdapter(list[Overlap]).validate_python(raw))
    except ValidationError as error:
        first = error.errors()[0]
        raise CardError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from None
