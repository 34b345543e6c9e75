"""Words and phrases: tokens with a light lemma, and a matcher for phrases with and without a gap."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from benchmark.prompts.characters import plain

_TOKEN = re.compile(r"[A-Za-z]+(?:'[a-z]+)?|\d+(?:\.\d+)?|_+|[^\w\s]")
_IRREGULAR = {
    "bases": "base",
    "bullae": "bulla",
    "diseases": "disease",
    "emboli": "embolus",
    "foci": "focus",
    "granulomata": "granuloma",
    "hila": "hilum",
    "apices": "apex",
    "apexes": "apex",
    "indices": "index",
    "vertebrae": "vertebra",
    "oedema": "edema",
    "metastases": "metastasis",
    "prostheses": "prosthesis",
    "sulci": "sulcus",
    "septa": "septum",
    "sequelae": "sequela",
    "sequelaes": "sequela",
    "sequale": "sequela",
    "bronchi": "bronchus",
    "nodi": "node",
    "thickenings": "thickening",
    "scoliotic": "scoliotic",
}
_KEEP = frozenset({"gas", "lens", "has", "was", "his", "as", "always", "perhaps", "versus", "towards"})
COPULAS = frozenset({"is", "are", "was", "were", "remain", "appear", "be", "seem"})
BREAKS = frozenset({";", ":", ".", "!", "?", "but", "however", "although", "though", "whereas", "yet"})
"""Words and marks that end a clause."""
_PREDICATES = frozenset(
    {
        "normal",
        "unremarkable",
        "limit",
        "clear",
        "intact",
        "midline",
        "enlarged",
        "widened",
        "prominent",
        "large",
        *("larger", "bigger", "wider", "natural", "thickened", "homogeneous", "thick"),
        *("broken", "collapsed", "scarred", "swollen", "big", "oversized", "fluid", "emphysematous"),
    }
    | {"increased", "dilated", "tortuous", "ectatic", "unfolded", "uncoiled", "elongated", "calcified"}
    | {"atherosclerotic", "hyperinflated", "hyperexpanded", "flattened", "elevated", "deviated", "shifted"}
    | {"low", "diminished", "decreased", "reduced", "engorged", "congested", "blunted", "size", "absent"}
)
_LISTS = frozenset({",", "or", "and", "nor", "/", "-"})
_LISTED = _LISTS | {"pleural", "pericardial", "left", "right", "bilateral", "mediastinal", "hilar", "minimal"}
_LISTED |= {
    "interlobar",
    "interlobular",
    "intralobular",
    "peribronchial",
    "septal",
    "interstitial",
    "axillary",
}
_LISTED |= {"mild", "small", "free", "effusion", "thickening", "pericardia", "supraclavicular", "the", "in"}
"""Words between the first of several heads and the word that they share."""
_OBSERVED = (["seen"], ["observed"], ["noted"], ["present"], ["identified"], ["detected"], ["visible"])
_PREDICATE_GAP, _PHRASE_GAP = 8, 5
_LONG = 6


@dataclass(frozen=True)
class Token:
    text: str
    lemma: str


@lru_cache(maxsize=65536)
def lemma(word: str) -> str:
    """Lower case, singular. Not a dictionary form: it only has to be the same on both sides of a match."""
    word = word.lower().removesuffix("'s")
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4 or word in _KEEP or not word.isalpha():
        return word
    if word.endswith("oraces"):
        return word.removesuffix("ces") + "x"
    if word.endswith("ies"):
        return word[:-3] + "y"
    if re.search(r"(?:ec|ro|no|cto|cl|st|om)(?:tas|s)es$", word) and not word.endswith(("noses", "sses")):
        return word[:-2] + "is"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    if word.endswith(("ss", "us", "is")):
        return word
    return word[:-1] if word.endswith("s") else word


@lru_cache(maxsize=4096)
def tokenise(text: str) -> tuple[Token, ...]:
    """Tokens of a sentence. A hyphen between letters separates words; other marks are tokens."""
    text = re.sub(r"(?<=[A-Za-z])-(?=[A-Za-z])", " ", plain(text))
    return tuple(Token(t, lemma(t)) for t in _TOKEN.findall(text))


@dataclass(frozen=True)
class Match:
    """A phrase in a sentence. start, end: token span including a gap. anchor: first token of its last part.
    used: indices of the tokens that the phrase itself takes. head: those before a gap."""

    key: str
    start: int
    end: int
    anchor: int
    used: frozenset[int]
    head: frozenset[int]
    shares: bool = False
    """Its gap is a list of such heads ("pericardial or pleural effusion"): the tail belongs to each."""


@dataclass
class Matcher:
    """Finds phrases by their lemmas; "..." in a phrase is a gap of a few words within one clause.

    Of matches that compete for words the one that takes more of them wins, then the one with the
    shorter gap. Two matches may share the words behind their gaps ("heart and mediastinum are normal").
    """

    _whole: dict[str, list[tuple[tuple[str, ...], str]]] = field(default_factory=lambda: defaultdict(list))
    _gapped: dict[str, list[tuple[tuple[str, ...], tuple[str, ...], str]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _exact: dict[str, str] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)

    def add(self, phrases: Iterable[str], key: str) -> None:
        phrases = tuple(phrases)
        self.learn(word for phrase in phrases for word in phrase.replace("-", " ").split())
        for phrase in phrases:
            head, gap, tail = (part.strip() for part in phrase.partition("..."))
            first = tuple(t.lemma for t in tokenise(head))
            if gap:
                self._gapped[first[0]].append((first, tuple(t.lemma for t in tokenise(tail)), key))
            else:
                self._whole[first[0]].append((first, key))

    def add_exact(self, words: Iterable[str], key: str) -> None:
        """Abbreviations: case counts, a plural s does not."""
        for word in words:
            self._exact[word] = self._exact[word + "s"] = key

    def learn(self, words: Iterable[str]) -> None:
        """Words whose misspellings `correct` repairs."""
        self._known |= {lemma(word) for word in words if len(word) >= _LONG}

    def correct(self, tokens: tuple[Token, ...]) -> tuple[Token, ...]:
        """Undo the exchange of two neighbouring letters in long words that are no known word themselves, and
        the cut of a known word at the end of a line ("pneumo- thorax")."""
        if any(t.lemma == "-" for t in tokens):
            tokens = self._joined(tokens)
        return tuple(
            self._repaired(t) if len(t.lemma) >= _LONG and t.lemma not in self._known else t for t in tokens
        )

    def _joined(self, tokens: tuple[Token, ...]) -> tuple[Token, ...]:
        whole: list[Token] = []
        for token in tokens:
            if (
                len(whole) > 1
                and whole[-1].lemma == "-"
                and token.text.isalpha()
                and whole[-2].text.isalpha()
            ):
                word = whole[-2].text + token.text
                if len(word) >= _LONG and lemma(word) in self._known:
                    whole[-2:] = [Token(word, lemma(word))]
                    continue
            whole.append(token)
        return tuple(whole)

    def _repaired(self, token: Token) -> Token:
        word = token.text.lower()
        for i in range(len(word) - 1):
            swapped = lemma(word[:i] + word[i + 1] + word[i] + word[i + 2 :])
            if swapped in self._known:
                return Token(token.text, swapped)
        return token

    def find(self, tokens: Sequence[Token]) -> list[Match]:
        """Matches in order of their first token."""
        lemmas = [token.lemma for token in tokens]
        found: list[Match] = []
        for i, token in enumerate(tokens):
            if token.text in self._exact:
                found.append(_plain(self._exact[token.text], i, i + 1))
            for words, key in self._whole.get(lemmas[i], ()):
                if tuple(lemmas[i : i + len(words)]) == words:
                    found.append(_plain(key, i, i + len(words)))
            for head, tail, key in self._gapped.get(lemmas[i], ()):
                start = i + len(head)
                if tuple(lemmas[i:start]) == head:
                    j = _tail(lemmas, start, tail)
                    if j is not None:
                        used = frozenset(range(i, start)) | frozenset(range(j, j + len(tail)))
                        shares = not _LISTS.isdisjoint(lemmas[start:j])
                        head_span = frozenset(range(i, start))
                        found.append(Match(key, i, j + len(tail), j, used, head_span, shares))
        found.sort(key=lambda m: (-len(m.used), m.end - m.start, m.start))
        kept: list[Match] = []
        for match in found:
            if not any(_compete(match, other) for other in kept):
                kept.append(match)
        return sorted(kept, key=lambda m: (m.start, m.end))


def _ends_phrase(lemmas: Sequence[str], i: int, tail: tuple[str, ...]) -> bool:
    return lemmas[i] in {"no", "not"} or (lemmas[i] in {",", "or"} and not _list_goes_on(lemmas, i, tail))


def _list_goes_on(lemmas: Sequence[str], i: int, tail: tuple[str, ...]) -> bool:
    """Does a list of heads run from the comma or "or" at i to the tail ("pleural, pericardial effusion")?"""
    for j in range(i + 1, min(i + 5, len(lemmas))):
        if tuple(lemmas[j : j + len(tail)]) == tail:
            return True
        if lemmas[j] not in _LISTED:
            return False
    return False


def _plain(key: str, start: int, end: int) -> Match:
    used = frozenset(range(start, end))
    return Match(key, start, end, start, used, used)


def _compete(a: Match, b: Match) -> bool:
    gapped = len(a.head) < len(a.used) and len(b.head) < len(b.used)
    if not gapped and (a.shares or b.shares):
        shared, other = (a, b) if a.shares else (b, a)
        return bool(shared.head & other.used) or other.used <= shared.used
    if gapped:
        return bool(a.head & b.used) or bool(b.head & a.used)
    return bool(a.used & b.used)


def _tail(lemmas: Sequence[str], start: int, tail: tuple[str, ...]) -> int | None:
    """Where the second part of a gapped phrase begins, or None. A gap before a predicate ("heart ...
    enlarged") may hold a list of subjects and one verb; other gaps hold modifiers only."""
    predicate = tail[-1] in _PREDICATES
    copulas = words = 0
    for j in range(start, len(lemmas)):
        if tuple(lemmas[j : j + len(tail)]) == tail:
            return j
        word = lemmas[j]
        if word in BREAKS or word in {"without", "with"}:
            return None
        if word in COPULAS and (predicate or lemmas[j + 1 : j + 2] not in _OBSERVED):
            copulas += 1
        words += word.isalnum()
        if predicate:
            if copulas > 1 or words > _PREDICATE_GAP:
                return None
        elif copulas or words > _PHRASE_GAP or _ends_phrase(lemmas, j, tail):
            return None
    return None
