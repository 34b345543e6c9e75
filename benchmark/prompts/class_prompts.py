"""From the classes of a protocol to the texts that images are scored against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from benchmark.core.errors import BenchError, UnknownName
from benchmark.core.hashing import hash_value
from benchmark.data.cards import Card
from benchmark.prompts.lexicon import load_lexicon
from benchmark.prompts.settings import AGGREGATIONS, STYLES, Aggregation, Style

PARAPHRASES: dict[str, str] = {
    "There is {}": "There is no {}",
    "{}": "no {}",
    "{} is present": "{} is not present",
    "{} is seen": "{} is not seen",
    "Findings consistent with {}": "No findings to suggest {}",
    "Evidence of {}": "No evidence of {}",
    "The radiograph shows {}": "The radiograph does not show {}",
    "The patient has {}": "The patient does not have {}",
    "Chest radiograph with {}": "Chest radiograph without {}",
    "{} is noted on this examination": "{} is not noted on this examination",
}
"""Positive template → its negation. The first is the house template; all are the sensitivity run and the
ensemble. "{}"/"no {}" is CheXzero's pair, "{} is (not) present" CT-CLIP's."""


@dataclass(frozen=True)
class PromptSet:
    """T texts of C classes. class_of_text: (T,) index into `classes`. polarity: (T,) 1 for "there is",
    -1 for "there is no". Every class has a positive text; either all have a negative one or none has."""

    classes: tuple[str, ...]
    texts: tuple[str, ...]
    class_of_text: tuple[int, ...]
    polarity: tuple[Literal[1, -1], ...]
    aggregation: Aggregation
    style: str

    def __post_init__(self) -> None:
        if not (len(self.texts) == len(self.class_of_text) == len(self.polarity)):
            raise BenchError("prompt set: texts, class_of_text and polarity differ in length.")
        sides = list(zip(self.class_of_text, self.polarity, strict=True))
        for index, name in enumerate(self.classes):
            if (index, 1) not in sides:
                raise BenchError(f"prompt set: class '{name}' has no positive text.")
            if self.contrastive and (index, -1) not in sides:
                raise BenchError(f"prompt set: class '{name}' has no negative text, but others have one.")

    @property
    def contrastive(self) -> bool:
        """Are there negative texts (positive-negative scoring)?"""
        return -1 in self.polarity

    @cached_property
    def hash(self) -> str:
        """sha256 of everything that scores depend on."""
        return hash_value(
            [self.classes, self.texts, self.class_of_text, self.polarity, self.aggregation, self.style]
        )


def class_prompts(
    card: Card,
    protocol: str | None = None,
    style: Style = "template",
    *,
    template: str = "There is {}",
    aggregation: Aggregation = "mean-score",
) -> PromptSet:
    """The prompts of a protocol's classes, in evaluation order.

    template: the template around the display name. official: the dataset's own prompts (the protocol's
    set). name: the bare class name. synonyms: the template around the display name and every synonym of the
    card. ensemble: all paraphrases around the display name. pos-neg: template and its negation; the official
    pair where `template` is "official".
    Raises UnknownName for a style, aggregation or protocol, BenchError for a template without exactly one {}.
    """
    if style not in STYLES:
        raise UnknownName("prompt style", style, STYLES, f"Styles: {', '.join(STYLES)}.")
    if aggregation not in AGGREGATIONS:
        raise UnknownName("aggregation", aggregation, AGGREGATIONS, f"Known: {', '.join(AGGREGATIONS)}.")
    classes = card.protocol_classes(protocol)
    official = style == "official" or (style == "pos-neg" and template == "official")
    if not official and template.count("{}") != 1:
        raise BenchError(f"prompt template '{template}': write {{}} exactly once, where the class goes.")
    rows: list[tuple[str, int, Literal[1, -1]]] = []
    for index, name in enumerate(classes):
        rows += [(text, index, 1) for text in _positive(card, protocol, name, style, template)]
        if style == "pos-neg":
            rows.append((_negative(card, name, template), index, -1))
    texts, owners, polarity = zip(*rows, strict=True)
    return PromptSet(classes, texts, owners, polarity, aggregation, _label(style, template))


def display_name(card: Card, name: str) -> str:
    """How a class is called in running text: the card's display name, else the lexicon's name of its only
    concept, else the class name in lower case without underscores."""
    if name in card.prompts.classes:
        return card.prompts.classes[name].display
    concepts = card.concepts.get(name, ())
    if len(concepts) == 1 and concepts[0] in load_lexicon():
        return load_lexicon()[concepts[0]].name
    return name.replace("_", " ").lower()


def _positive(card: Card, protocol: str | None, name: str, style: Style, template: str) -> Sequence[str]:
    display = display_name(card, name)
    if style == "name":
        return [name]
    if style == "official" or template == "official":
        return [card.prompts.text(name, card.protocol(protocol).prompts)]
    if style == "ensemble":
        return [_fill(pattern, display) for pattern in PARAPHRASES]
    names = [display]
    if style == "synonyms" and name in card.prompts.classes:
        names += card.prompts.classes[name].synonyms
    distinct = {text.casefold(): text for text in reversed([_fill(template, n) for n in names])}
    return list(distinct.values())[::-1]


def _negative(card: Card, name: str, template: str) -> str:
    if template == "official":
        if name not in card.prompts.classes:
            raise UnknownName("class", name, card.prompts.classes, "prompts.yaml has no prompt for it.")
        return card.prompts.classes[name].negative
    if template not in PARAPHRASES:
        raise UnknownName(
            "template", template, PARAPHRASES, f"Its negation is not known. Known: {'; '.join(PARAPHRASES)}."
        )
    return _fill(PARAPHRASES[template], display_name(card, name))


def _fill(template: str, name: str) -> str:
    return template.replace("{}", name)


def _label(style: Style, template: str) -> str:
    return f"{style}:{template}" if style in ("template", "synonyms", "pos-neg") else style
