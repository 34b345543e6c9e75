"""Side, place and severity of a finding from the words around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmark.prompts.lexicon import Lexicon
from benchmark.prompts.terms import BREAKS, COPULAS, Match, Matcher, Token

Side = Literal["left", "right", "bilateral"]

SIDES: dict[str, Side] = {
    **dict.fromkeys(("left", "lt", "leftward"), "left"),
    **dict.fromkeys(("right", "rt", "rightward"), "right"),
    **dict.fromkeys(
        ("bilateral", "bilaterally", "both", "bibasilar", "bibasal", "biapical", "biapically", "bihilar"),
        "bilateral",
    ),
}
SIDED: dict[str, Side] = {"RUL": "right", "RML": "right", "RLL": "right", "LUL": "left", "LLL": "left"}
SEVERITIES = {
    **{word: word for word in ("trace", "tiny", "minimal", "minor", "small", "mild", "moderate", "large")},
    **{word: word for word in ("severe", "marked", "extensive", "massive", "subtle", "slight", "borderline")},
    "mildly": "mild",
    "minimally": "minimal",
    "moderately": "moderate",
    "severely": "severe",
    "markedly": "marked",
    "slightly": "slight",
    "extensively": "extensive",
    "massively": "massive",
    "subtly": "subtle",
}
_PREPOSITIONS = frozenset(
    {"in", "at", "on", "over", "within", "of", "overlying", "involving", "projecting", "along", "throughout"}
    | {"near", "into", "overly", "above", "below", "adjacent", "affecting", "occupying", "to"}
)
_DELIMITERS = frozenset(
    {",", "and", "or", "nor", "with", "without", "versus", "vs", "/", "plus", "no", "due", "from"}
)
_LINKS = frozenset(
    {"may", "might", "could", "likely", "suggesting", "suggest", "representing", "represent", "reflect"}
)


@dataclass(frozen=True)
class Place:
    """location: id of an anatomy concept of the lexicon."""

    side: Side | None = None
    location: str | None = None
    severity: str | None = None


class PlaceFinder:
    """Reads places; one instance serves all sentences."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._matcher = Matcher()
        for identifier in lexicon.ids("anatomy"):
            concept = lexicon[identifier]
            self._matcher.add([concept.name, *concept.synonyms], identifier)
            self._matcher.add_exact(concept.abbreviations, identifier)

    def places(self, tokens: Sequence[Token], mentions: Sequence[Match]) -> list[list[Place]]:
        """The places of each mention, at least one (it may be empty).

        Words before a finding belong to it back to the last delimiter; words behind it up to the last
        delimiter before the next finding.
        """
        anatomy = self._matcher.find(tokens)
        result = []
        for index, mention in enumerate(mentions):
            earlier = [m.end for m in mentions[:index] if m.end <= mention.start]
            later = [m.start for m in mentions[index + 1 :] if m.start >= mention.end]
            low, first = self._clause_start(tokens, mention.start), not earlier
            before = range(max([low, *earlier]), mention.start)
            after = range(mention.end, min([self._clause_end(tokens, mention.end), *later]))
            if first or max(earlier) <= low:
                before = self._opening(tokens, before)
            else:
                before = range(self._cut(tokens, before), mention.start)
            if later and min(later) == after.stop:
                after = range(after.start, self._cut(tokens, after, keep_all=True))
            inside = [i for i in range(mention.start, mention.end) if i not in mention.used]
            result.append(self._read(tokens, anatomy, mention, list(before) + inside, list(after)))
        return result

    def _read(
        self,
        tokens: Sequence[Token],
        anatomy: Sequence[Match],
        mention: Match,
        near: list[int],
        after: list[int],
    ) -> list[Place]:
        severity = self._severity(tokens, near, after)
        behind = [m for m in anatomy if m.used <= set(after)]
        sided = [m for m in behind if not self._lexicon[m.key].midline]
        parts = _split(tokens, after, sided)
        if len(parts) > 1:
            return [Place(self._side(tokens, part), where, severity) for part, where in parts]
        where = behind or [m for m in anatomy if m.used <= set(near)][::-1]
        words = [i for i in near + after if i not in self._midline(anatomy)]
        side = self._side(tokens, words) or self._own_side(tokens, mention)
        return [Place(side, where[0].key if where else None, severity)]

    def _own_side(self, tokens: Sequence[Token], mention: Match) -> Side | None:
        """Side inside the phrase ("biapical thickening"), unless the concept's name has it too."""
        side = self._side(tokens, sorted(mention.used))
        named = mention.key in self._lexicon and side and side in self._lexicon[mention.key].name
        return None if named else side

    def _midline(self, anatomy: Sequence[Match]) -> frozenset[int]:
        return frozenset(i for m in anatomy if self._lexicon[m.key].midline for i in m.used)

    @staticmethod
    def _side(tokens: Sequence[Token], words: Sequence[int]) -> Side | None:
        sides = {SIDES[tokens[i].lemma] for i in words if tokens[i].lemma in SIDES}
        sides |= {SIDED[tokens[i].text] for i in words if tokens[i].text in SIDED}
        return (next(iter(sides)) if len(sides) == 1 else "bilateral") if sides else None

    @staticmethod
    def _severity(tokens: Sequence[Token], near: Sequence[int], after: Sequence[int]) -> str | None:
        stop = next((k for k, i in enumerate(after) if tokens[i].lemma in _DELIMITERS), len(after))
        for words in (near, after[:stop]):
            grades = [SEVERITIES[tokens[i].lemma] for i in words if tokens[i].lemma in SEVERITIES]
            if grades:
                return grades[-1]
        return None

    @staticmethod
    def _clause_start(tokens: Sequence[Token], end: int) -> int:
        return next((i + 1 for i in range(end - 1, -1, -1) if tokens[i].lemma in BREAKS), 0)

    @staticmethod
    def _clause_end(tokens: Sequence[Token], start: int) -> int:
        return next((i for i in range(start, len(tokens)) if tokens[i].lemma in BREAKS), len(tokens))

    @staticmethod
    def _opening(tokens: Sequence[Token], before: range) -> range:
        """Words before the first finding: all of them where they open with a place ("In the left base, ...")
        or name the subject of a verb, else those behind the last comma."""
        words = [tokens[i].lemma for i in before]
        if not words or words[0] in _PREPOSITIONS or "," not in words:
            return before
        cut = max(k for k, word in enumerate(words) if word == ",")
        return range(before.start + cut + 1, before.stop)

    @staticmethod
    def _cut(tokens: Sequence[Token], between: range, keep_all: bool = False) -> int:
        """Where the words between two findings stop belonging to the first one."""
        for i in reversed(between):
            word = tokens[i].lemma
            if word in _DELIMITERS or word in _LINKS or word in COPULAS:
                if word == "and" and _joins_sides(tokens, i, between):
                    continue
                return i if keep_all else i + 1
        leads = bool(between) and tokens[between.start].lemma in _PREPOSITIONS
        return between.stop if leads else between.start


def _joins_sides(tokens: Sequence[Token], i: int, between: range) -> bool:
    """ "right and left", "upper and lower lobes": an "and" inside a place."""
    return (
        i > between.start
        and i + 1 < between.stop
        and tokens[i - 1].lemma in SIDES
        and tokens[i + 1].lemma in SIDES
    )


def _split(
    tokens: Sequence[Token], after: Sequence[int], anatomy: Sequence[Match]
) -> list[tuple[list[int], str]]:
    """Several places behind one finding ("in the right upper lobe and left lower lobe"): words and place
    of each, if every one of them has a side."""
    parts: list[tuple[list[int], str]] = []
    start = after[0] if after else 0
    for match in anatomy:
        words = list(range(start, match.end))
        if not any(tokens[i].lemma in SIDES or tokens[i].text in SIDED for i in words):
            return []
        parts.append((words, match.key))
        start = match.end
    return parts
