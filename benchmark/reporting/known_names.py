"""Names of sets, strata and metrics in the ledger and the published values, held against the cards: of a
mistyped one there are never results, so that its claim would stand as not run without a word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmark.core.errors import BenchError, closest
from benchmark.data.cards import card_names, load_card
from benchmark.reporting.claims import Claim, Interaction, Paired

STRATA = ("all", "head", "medium", "tail", "named", "never-named", "findings")
"""Groups of classes that any set may have."""
SUBGROUPS = ("sex=", "age=", "view=", "site=")


def check_names(claims: Sequence[Claim], path: Path) -> None:
    """Raises BenchError for the first claim that names a set, stratum or metric of which there is none."""
    for claim in claims:
        own = claim.contrast
        sets = own.datasets if isinstance(own.datasets, tuple) else ()
        strata = (own.stratum, own.against) if isinstance(own, Interaction) else (own.stratum,)
        odd = next(filter(None, (unknown_set(name) for name in sets)), "")
        odd = odd or next(filter(None, (unknown_stratum(name, sets) for name in strata)), "")
        if isinstance(own, Paired):
            odd = odd or _uncompared(own.metric)
        if odd:
            raise BenchError(f"{path}: claim '{claim.id}': {odd}")


def unknown_set(name: str) -> str:
    """What is wrong with the name of a set; empty where it has a card."""
    known = card_names()
    return "" if name in known else f"there is no card of '{name}'.{_guess(name, known)}"


def unknown_stratum(name: str, sets: Sequence[str]) -> str:
    """What is wrong with the name of a stratum of these sets, or of any; empty where a card or every set has
    it."""
    if name in STRATA or name.startswith(SUBGROUPS):
        return ""
    for own in [[one] for one in sets] or [card_names()]:
        known = [*STRATA, *(group for one in own for group in load_card(one).subsets)]
        if name not in known:
            whose = f"{own[0]} has no" if sets else "no set has a"
            return f"{whose} stratum '{name}'.{_guess(name, known)}"
    return ""


def _uncompared(name: str) -> str:
    """What is wrong with the metric of a paired claim; empty where methods are compared by it."""
    from benchmark.evaluation.statistics.metrics import COMPARED

    known = [f"{metric}_macro" for metric in COMPARED]
    there = name in known or name in COMPARED
    return "" if there else f"methods are not compared by '{name}'.{_guess(name, known)}"


def _guess(name: str, known: Iterable[str]) -> str:
    near = closest(name, known)
    return f" Did you mean '{near}'?" if near else ""
