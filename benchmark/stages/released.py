"""Evaluation of released weights that decide between two sentences about a class."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from benchmark.data.cards import Card, ClassPrompt
from benchmark.prompts.class_prompts import display_name
from benchmark.stages.run import Session

if TYPE_CHECKING:
    from benchmark.evaluation.evaluation_data import EvaluationData


@dataclass
class PairedSession(Session):
    """A session in which a class is the two sentences of `pair` in every dataset; {} stands for its name."""

    pair: tuple[str, str] = ("{} is present.", "{} is not present.")
    _paired: dict[tuple[str, str | None], EvaluationData] = field(default_factory=dict)

    def evaluation_data(self, dataset: str, protocol: str | None = None) -> EvaluationData:
        if (dataset, protocol) not in self._paired:
            data = super().evaluation_data(dataset, protocol)
            self._paired[dataset, protocol] = replace(data, card=paired(data.card, self.pair))
        return self._paired[dataset, protocol]


def paired(card: Card, pair: tuple[str, str]) -> Card:
    """The card whose official prompts are the pair, in every set of prompts."""
    classes = {}
    for name in card.classes:
        shown = display_name(card, name)
        positive, negative = (text.replace("{}", shown[:1].upper() + shown[1:]) for text in pair)
        classes[name] = ClassPrompt(prompt=positive, negative=negative, display=shown)
    texts = {name: row.prompt for name, row in classes.items()}
    book = card.prompts.model_copy(
        update={"classes": classes, "sets": dict.fromkeys(card.prompts.sets, texts)}
    )
    return card.model_copy(update={"prompts": book})
