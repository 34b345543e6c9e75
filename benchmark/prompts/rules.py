"""The rule aligner: deterministic, offline, no model. Lexicon, cues and places in one pass a sentence."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cached_property, lru_cache

from benchmark.core.hashing import hash_value
from benchmark.prompts import cues as cue_rules
from benchmark.prompts.aligned import ALIGNERS, Statement
from benchmark.prompts.cues import Presence, find_cues, verdict
from benchmark.prompts.lexicon import Lexicon, load_lexicon
from benchmark.prompts.organs import OrganFinder
from benchmark.prompts.places import Place, PlaceFinder
from benchmark.prompts.terms import Match, Matcher, Token, tokenise

VERSION = 3
_ALTERNATIVES = frozenset({"or", "versus", "vs"})
_LUNG_PLACES = frozenset(
    {"upper lobe", "middle lobe", "lower lobe", "lingula", "lung apex", "lung base", "upper lung", "mid lung"}
    | {"lower lung", "perihilar region", "hilar region", "retrocardiac region", "lung"}
)
_BY_PLACE: dict[str, dict[str, frozenset[str]]] = {
    "mass": {
        "pulmonary mass": _LUNG_PLACES,
        "mediastinal mass": frozenset({"mediastinum"}),
        "breast mass": frozenset({"breast"}),
        "soft tissue mass": frozenset({"chest wall"}),
    },
    "fracture": {
        "rib fracture": frozenset({"rib"}),
        "clavicle fracture": frozenset({"clavicle"}),
        "humeral fracture": frozenset({"humerus"}),
        "vertebral fracture": frozenset({"thoracic spine", "lumbar spine", "cervical spine"}),
    },
}
_NORMAL = "normal:"
_GENERAL = frozenset({"increased density", "lung lesion"})
"""Concepts whose words also end the name of another finding."""
_VAGUE = frozenset(
    {"bone deformity", "inflammation", "distention", "dilation or ectasia", "decreased density"}
)
"""Findings that count only where a sentence names none that is more definite."""


@ALIGNERS.register("rules")
class RuleAligner:
    """Sentence → statements. Longest lexicon phrase wins; presence by cues and their scopes."""

    def __init__(self, lexicon: Lexicon | None = None) -> None:
        self.lexicon = lexicon or load_lexicon()
        self._places = PlaceFinder(self.lexicon)
        self._organs = OrganFinder(self.lexicon)
        self._matcher = Matcher()
        self._denied: dict[str, list[str]] = {}
        """Phrases of normality → the concepts that they deny."""
        for identifier in self.lexicon.ids("finding", "device", "pseudo"):
            concept = self.lexicon[identifier]
            self._matcher.add([concept.name, *concept.synonyms], identifier)
            self._matcher.add_exact(concept.abbreviations, identifier)
            for phrase in concept.normal:
                self._denied.setdefault(_NORMAL + phrase, []).append(identifier)
        for key in self._denied:
            self._matcher.add([key.removeprefix(_NORMAL)], key)
        self._matcher.learn(word for phrase in cue_rules.all_cues() for word in phrase.split())
        self.statements = lru_cache(maxsize=200_000)(self._statements)

    @cached_property
    def hash(self) -> str:
        return hash_value({"rules": VERSION, "lexicon": self.lexicon.hash, "cues": cue_rules.hash_of_cues()})

    def _statements(self, sentence: str) -> tuple[Statement, ...]:
        """Statements of one sentence in order of their words; equal ones once."""
        tokens = self._matcher.correct(tokenise(sentence))
        matches = _specific(tokens, self._without_remarks(self._matcher.find(tokens)))
        if not matches:
            return ()
        cues = find_cues(tokens)
        places = self._places.places(tokens, matches)
        organs = self._organs.organs(tokens)
        unsure = _alternatives(tokens, matches)
        found: dict[tuple[str, str | None, str | None], Statement] = {}
        for match, its_places in zip(matches, places, strict=True):
            presence = verdict(match.anchor, match.end, cues)
            if match in unsure and presence == "present":
                presence = "uncertain"
            if match.key in self._denied and _qualified(tokens, match):
                continue
            concepts = self._organs.concepts(tokens, match, matches, organs)
            for statement in self._read(match, concepts, its_places, presence):
                key = (statement.concept, statement.side, statement.location)
                found.setdefault(key, statement)
        return tuple(found.values())

    def _read(
        self, match: Match, concepts: tuple[str, ...], places: list[Place], presence: str
    ) -> Iterator[Statement]:
        if match.key in self._denied:
            if presence in ("present", "uncertain"):
                yield from (Statement(concept, "absent") for concept in self._denied[match.key])
            return
        if presence == "not stated":
            return
        for concept, place in itertools.product(concepts, places):
            finer = [f for f, where in _BY_PLACE.get(concept, {}).items() if place.location in where]
            named = finer[-1] if finer else concept
            yield Statement(named, _presence(presence), place.side, place.location, place.severity)

    def _without_remarks(self, matches: list[Match]) -> list[Match]:
        """Remarks ("unchanged") count only where a sentence says nothing else, vague findings before them."""
        remarks = self.lexicon.ids("pseudo")
        findings = [m for m in matches if m.key not in remarks]
        return [m for m in findings if m.key not in _VAGUE] or findings or matches


def _presence(value: str) -> Presence:
    assert value in ("present", "absent", "uncertain")
    return value  # type: ignore[return-value]


def _specific(tokens: tuple[Token, ...], matches: list[Match]) -> list[Match]:
    """Without general heads beside a finding of their own phrase ("cavitating lesion", "ground-glass
    density"), and without a sequela of something that is named ("sequela of granulomatous disease")."""
    kept = [m for m in matches if m.key not in _GENERAL or not any(_touch(m, other) for other in matches)]
    return [
        m for m in kept if not (m.key == "fibrotic sequelae" and len(m.used) == 1 and _of(tokens, m, matches))
    ]


def _touch(a: Match, b: Match) -> bool:
    return a.end == b.start or b.end == a.start


def _of(tokens: tuple[Token, ...], match: Match, matches: list[Match]) -> bool:
    following = tokens[match.end].lemma if match.end < len(tokens) else ""
    return following in {"of", "from"} and any(m.start > match.end for m in matches)


def _qualified(tokens: tuple[Token, ...], match: Match) -> bool:
    """ "Clear of ...", "clear without ...": the list behind says what is denied."""
    following = tokens[match.end].lemma if match.end < len(tokens) else ""
    return tokens[match.end - 1].lemma == "clear" and following in {"of", "from", "without"}


def _alternatives(tokens: tuple[Token, ...], matches: list[Match]) -> set[Match]:
    """Findings named as alternatives of one another: "atelectasis or scarring"."""
    unsure: set[Match] = set()
    for first, second in itertools.pairwise(matches):
        between = [t.lemma for t in tokens[first.end : second.start]]
        if 1 <= len(between) <= 3 and between[0] in _ALTERNATIVES:
            unsure |= {first, second}
    return unsure
