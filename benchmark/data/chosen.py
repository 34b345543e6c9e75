"""What a protocol evaluates, refused where it would become a wrong number or a wrong command. It stands
beside `evaluation_set`, whose code is in the key of every result."""

from __future__ import annotations

from benchmark.core.errors import CardError, DataError
from benchmark.core.tables import Manifest
from benchmark.data.cards import Card
from benchmark.data.dataset import EvaluationSet, evaluation_set


def chosen_set(manifest: Manifest, card: Card, protocol: str | None = None) -> EvaluationSet:
    """`evaluation_set`; its errors name the folder of official files in the command that they advise, as
    without it that command prepares the twin. Raises CardError for a class that the protocol lists twice."""
    try:
        found = evaluation_set(manifest, card, protocol)
    except DataError as error:
        if manifest.origin == "twin":
            raise
        plain = f"bench data prepare {card.name}"
        raise DataError(str(error).replace(plain, f"{plain} --data-root {manifest.root}")) from None
    for name in found.classes:
        if found.classes.count(name) > 1:
            raise CardError(
                f"{card.name}: protocol '{found.info.protocol}' lists class '{name}' twice, which would "
                "count twice in every mean. List it once in the card."
            )
    return found
