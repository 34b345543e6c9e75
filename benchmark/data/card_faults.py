"""What a card of one's own may not say, because a number would then be another than the one it is called.

Every card of `datasets/` keeps these rules, so that commands ask only those of $CXR_ALIGNBENCH_DATASETS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmark.core.errors import CardError, closest
from benchmark.core.tables import META_COLUMNS
from benchmark.data.cards import Card, card_folders, card_names, datasets_folder, load_card
from benchmark.data.table_options import LabelColumns

SEVERAL = ("main", "all")
"""Words that stand for several sets where a command takes one."""
AVERAGES = ("macro", "micro", "weighted")
"""What the column `class` of metrics holds of an average."""


def check_own_card(name: str) -> None:
    """Raises CardError for the first fault of a card that is not of `datasets/`, or what `load_card` does."""
    folder = card_folders().get(name)
    if folder is not None and folder.parent == datasets_folder():
        return
    card = load_card(name)
    for fault in faults(card):
        raise CardError(f"{folder}/{fault}")


def faults(card: Card) -> Iterator[str]:
    """One line a fault: the file it stands in and what to do."""
    if card.name in SEVERAL:
        yield (
            f"card.yaml: name: '{card.name}' stands for several sets in `--dataset {card.name}`. "
            "Give the set and its folder another name."
        )
    for label in card.classes:
        reason = _taken(label)
        if reason is not None:
            yield f"card.yaml: concepts: class '{label}' {reason}. {_rename(card)}"
    yield from _one_column(card)
    for key in card.protocols:
        if not card.protocol_classes(key):
            yield f"card.yaml: protocols.{key}.classes: names no class. Write `all`, a subset or a list."
    known = card_names()
    for other in card.overlaps:
        if other not in known:
            near = closest(other, known)
            guess = f"Did you mean '{near}'?" if near else "See `bench ls datasets`."
            yield f"card.yaml: overlaps: no set is called '{other}'. {guess}"
    yield from _texts(card)


def _taken(label: str) -> str | None:
    """Why a class cannot have this name; None where it can."""
    if label in META_COLUMNS:
        return f"has the name of a column of every manifest ({', '.join(META_COLUMNS)})"
    if label in AVERAGES:
        return f"has the name of an average ({', '.join(AVERAGES)})"
    if label != label.strip() or not label:
        return "is blank, or begins or ends with a blank"
    if "@" in label or label.startswith("list:"):
        return "is written as a second set of labels (CLASS@SOURCE) or an image list (list:NAME)"
    return None


def _rename(card: Card) -> str:
    if card.table is not None and isinstance(card.table.labels, LabelColumns):
        return "Give it another one, and its column in `table.labels.columns`."
    return "Give it another one, and the label of the files in `aliases`."


def _one_column(card: Card) -> Iterator[str]:
    if card.table is None or not isinstance(card.table.labels, LabelColumns):
        return
    own = card.table.labels.columns
    for first, second, column in _twice({label: own.get(label, label) for label in card.classes}):
        yield (
            f"card.yaml: table.labels: classes '{first}' and '{second}' both read column '{column}'. "
            "Give each its own in `columns`."
        )


def _texts(card: Card) -> Iterator[str]:
    """A blank text, and one of two classes, whose scores would be equal on every image."""
    of_class = card.prompts.classes
    kinds = {
        "classes.{}.prompt": {label: own.prompt for label, own in of_class.items()},
        "classes.{}.negative": {label: own.negative for label, own in of_class.items()},
        "classes.{}.display": {label: own.display for label, own in of_class.items()},
        **{f"sets.{name}.{{}}": texts for name, texts in card.prompts.sets.items()},
    }
    for place, texts in kinds.items():
        for label, text in texts.items():
            if not text.strip():
                yield f"prompts.yaml: {place.format(label)}: is blank. Write the text of the class."
        if place.endswith("negative"):  # what classes may share
            continue
        for first, second, text in _twice({label: text.strip().lower() for label, text in texts.items()}):
            if text:
                yield (
                    f"prompts.yaml: {place.format(second)}: '{text:.60}' is that of class '{first}' too, so "
                    "that the two would score alike. Give each its own text."
                )


def _twice(values: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """First key, later key and the value that they share."""
    seen: dict[str, str] = {}
    for key, value in values.items():
        if value in seen:
            yield seen[value], key, value
        seen.setdefault(value, key)
