"""Concepts that reports state, and the tree they stand in (`datasets/lexicon.yaml`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmark.core.errors import CardError, UnknownName
from benchmark.core.hashing import hash_value
from benchmark.core.located import read_located
from benchmark.data.cards import datasets_folder

Kind = Literal["finding", "device", "anatomy", "organ", "pseudo"]


class Concept(BaseModel):
    """One concept. `name` follows "There is"; the other fields are described in the head of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str
    kind: Kind
    parents: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()
    abbreviations: tuple[str, ...] = ()
    normal: tuple[str, ...] = ()
    preposition: str = "in"
    midline: bool = False


class Lexicon:
    """All concepts by id. place: of the parents of a concept, for errors.

    Raises CardError for an unknown parent or a circle of parents.
    """

    def __init__(self, concepts: Iterable[Concept], place: Callable[[str], str]) -> None:
        self.concepts: Mapping[str, Concept] = {concept.id: concept for concept in concepts}
        self._children: dict[str, list[str]] = {identifier: [] for identifier in self.concepts}
        for concept in self.concepts.values():
            for parent in concept.parents:
                if parent not in self.concepts:
                    raise CardError(
                        f"{place(concept.id)}: '{concept.id}' names the unknown parent '{parent}'."
                    )
                self._children[parent].append(concept.id)
        for identifier in self.concepts:
            if identifier in self._reach(self._children[identifier], self._children):
                raise CardError(f"{place(identifier)}: '{identifier}' is its own ancestor.")

    def __contains__(self, identifier: object) -> bool:
        return identifier in self.concepts

    def __getitem__(self, identifier: str) -> Concept:
        """Raises UnknownName, with the nearest id."""
        if identifier not in self.concepts:
            raise UnknownName("concept", identifier, self.concepts, "See datasets/lexicon.yaml.")
        return self.concepts[identifier]

    def ids(self, *kinds: Kind) -> tuple[str, ...]:
        """Ids of the given kinds (all without any), in file order."""
        return tuple(c.id for c in self.concepts.values() if not kinds or c.kind in kinds)

    def descendants(self, identifier: str) -> frozenset[str]:
        """The concept itself and everything below it."""
        return frozenset(self._reach([self[identifier].id], self._children))

    def ancestors(self, identifier: str) -> frozenset[str]:
        """The concept itself and everything above it."""
        parents = {c.id: list(c.parents) for c in self.concepts.values()}
        return frozenset(self._reach([self[identifier].id], parents))

    @cached_property
    def hash(self) -> str:
        """sha256 of the content, for cache keys."""
        return hash_value([concept.model_dump(mode="json") for concept in self.concepts.values()])

    @staticmethod
    def _reach(start: Iterable[str], edges: Mapping[str, list[str]]) -> set[str]:
        found: set[str] = set()
        queue = list(start)
        while queue:
            node = queue.pop()
            if node not in found:
                found.add(node)
                queue.extend(edges[node])
        return found


def load_lexicon(path: Path | str | None = None) -> Lexicon:
    """Read and check a lexicon; `datasets/lexicon.yaml` by default.

    Raises CardError for an unknown key, kind or parent, naming the file, line and concept.
    """
    return _load(Path(path) if path else datasets_folder() / "lexicon.yaml")


@lru_cache(maxsize=4)
def _load(path: Path) -> Lexicon:
    file = read_located(path, CardError)
    concepts = []
    for identifier, fields in file.value.items():
        if not isinstance(fields, dict) or "id" in fields:
            place = file.place((identifier, "id"))
            raise CardError(f"{place}: concept '{identifier}': not a mapping without an id.")
        try:
            concepts.append(Concept.model_validate({**fields, "id": identifier}))
        except ValidationError as error:
            first = error.errors()[0]
            place, key = file.place((identifier, *first["loc"])), ".".join(map(str, first["loc"]))
            raise CardError(f"{place}: concept '{identifier}': {key}: {first['msg']}.") from None
    return Lexicon(concepts, lambda identifier: file.place((identifier, "parents")))
