"""Negation and uncertainty: cue phrases and how far they reach.

In the manner of NegEx (Chapman et al. 2001) and ConText (Harkema et al. 2009), with scopes made for
radiology reports: lists behind "no", statements behind a comma, verbs behind the finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmark.core.hashing import hash_value
from benchmark.prompts.cue_phrases import CUES, SEEN
from benchmark.prompts.terms import BREAKS, COPULAS, Match, Matcher, Token

Presence = Literal["present", "absent", "uncertain"]
Verdict = Literal["present", "absent", "uncertain", "not stated"]

_AFFIRMS = frozenset(
    {
        "the",
        "there",
        "a",
        "an",
        "this",
        "these",
        "is",
        "are",
        "stable",
        "unchanged",
        "mild",
        "mildly",
        "moderate",
    }
    | {"moderately", "minimal", "minimally", "small", "tiny", "slight", "slightly", "subtle", "persistent"}
    | {"decreased", "improved", "worsening", "low", "normal", "chronic", "old", "again", "heart", "lung"}
    | {"possible", "possibly", "probable", "probably", "likely", "severe", "marked", "extensive", "status"}
    | {"otherwise", "only", "just", "redemonstrated", "redemonstration", "bibasilar", "few", "mediastinum"}
)
"""Words behind a comma or "and" that start a statement of their own, outside a negation before it."""
_OPENERS = frozenset({"which", "while", "except", "otherwise", "aside", "apart", "with", "despite", "given"})
_OTHER_IMAGES = frozenset({"lateral", "frontal", "prior", "previous", "previously", "earlier", "before"})
_LISTS = frozenset({"or", "nor"})
_PASSIVE = frozenset(word for word in SEEN if " " not in word)
_AGREES = frozenset({"compatible", "consistent", "associated", "comparable", "accordance", "line"})
"""Words whose "with" goes on with what was denied: "no finding compatible with pneumonia"."""

_DENIES = frozenset({"no", "nil", "negative"})
_ANSWERS = frozenset({*_DENIES, "none", "neg", "absent", "excluded", "resolved", "cleared"})
"""Words that deny what stands before them where they end its clause."""
_HEADS, _SEPARATES = frozenset({":", "="}), frozenset({":", "=", "-", "(", ","})
_CLOSES = (BREAKS - {":"}) | {",", ")"}  # "section no: 3" counts sections
_HAS = frozenset({"has", "have"})
_LONGEST_HEAD = 8
_NO_HEADS = frozenset({"note", "complication", "comparison", "change", "history", "recommendation"})
_LEADS_ON = frozenset(
    {"", "the", "a", "an", "now", "with", "of", "interval", "previously", "recently", "and"}
)
"""Words before which "resolved" says what kind of finding follows."""


@dataclass(frozen=True)
class Cue:
    kind: Literal["negated", "uncertain", "hypothetical"]
    start: int
    end: int
    reach: tuple[int, int]
    """Token range in which a finding is under the cue."""


def _matcher() -> Matcher:
    matcher = Matcher()
    for kind, phrases in CUES.items():
        matcher.add(phrases, kind)
    return matcher


_MATCHER = _matcher()


def find_cues(tokens: Sequence[Token]) -> list[Cue]:
    """All cues of a sentence with their reach."""
    matches = _MATCHER.find(tokens)
    longer = {i for match in matches if len(match.used) > 1 for i in match.used}
    cues = [cue for i in range(len(tokens)) if i not in longer and (cue := _answer(tokens, i)) is not None]
    answered = {cue.start for cue in cues}
    for match in matches:
        if match.key == "neutral" or match.start in answered or _elsewhere(tokens, match):
            continue
        kind = match.key.strip("<>")
        before = match.key.startswith("<")
        cues += _of_head(tokens, match, kind)
        if before and not _inverted(tokens, match):
            reach = (_left(tokens, match.start), match.start)
        else:
            reach = (match.end, _right(tokens, match, kind))
        cues.append(Cue(kind, match.start, match.end, reach))  # type: ignore[arg-type]
    return cues


def _answer(tokens: Sequence[Token], i: int) -> Cue | None:
    """The denial of what stands before it, where token i is one in a word or mark that ends its clause:
    "Effusion: none", "edema absent, ...", "effusion (-)", "the effusion has completely resolved"."""
    word = tokens[i].lemma
    behind = i + 2 if word in _DENIES and _lemma(tokens, i + 1) == "evidence" else i + 1
    marked = word == "-" and _lemma(tokens, i - 1) == "(" and _lemma(tokens, i + 1) == ")"
    ends = behind >= len(tokens) or tokens[behind].lemma in _CLOSES
    if not (
        marked or (word in _ANSWERS and ends) or (word == "resolved" and not _before_its_noun(tokens, i))
    ):
        return None
    end = i
    while end and tokens[end - 1].lemma in _SEPARATES:
        end -= 1
    headed = any(t.lemma in _HEADS for t in tokens[end:i])
    stops = BREAKS if headed else BREAKS | {",", ")"}
    start = max((k + 1 for k in range(end) if tokens[k].lemma in stops), default=0)
    if not headed:
        start = max(start, _left(tokens, i))
    elif not _is_head(tokens[start:end]):
        return None
    asked = word == "excluded" and _word_before(tokens, i) == "be"  # "should be clinically excluded"
    return Cue("uncertain" if asked else "negated", i, behind, (start, end)) if start < end else None


def _of_head(tokens: Sequence[Token], match: Match, kind: str) -> list[Cue]:
    """The same of the head that a cue answers: "Pneumonia: cannot be excluded". Of a head whose answer
    denies something with its name the head states nothing: "Pneumothorax: no right pneumothorax"."""
    colon = match.start - 1
    if _lemma(tokens, colon) not in _HEADS:
        return []
    start = max((k + 1 for k in range(colon) if tokens[k].lemma in BREAKS), default=0)
    if not _is_head(tokens[start:colon]):
        return []
    if not match.key.startswith("<"):
        if kind == "negated":
            kind = "hypothetical"
        elif match.end < len(tokens) and tokens[match.end].lemma not in _CLOSES:
            return []
    return [Cue(kind, match.start, match.end, (start, colon))]  # type: ignore[arg-type]


def _is_head(tokens: Sequence[Token]) -> bool:
    """A head names what is answered behind it in few words; it has no verb, and is not about what came of
    something."""
    return (
        len(tokens) <= _LONGEST_HEAD
        and COPULAS.isdisjoint(words := {t.lemma for t in tokens})
        and _NO_HEADS.isdisjoint(words)
    )


def _inverted(tokens: Sequence[Token], match: Match) -> bool:
    """ "No longer seen is the effusion": the finding stands behind."""
    opens = match.start == 0 or tokens[match.start - 1].lemma in BREAKS
    return opens and _lemma(tokens, match.end) in COPULAS


def _before_its_noun(tokens: Sequence[Token], i: int) -> bool:
    """ "Resolved pneumothorax" and "a resolved pneumothorax" against "the pneumothorax resolved"."""
    before = _word_before(tokens, i)
    return before in _LEADS_ON or (before in COPULAS and any(t.lemma == "there" for t in tokens[:i][-4:]))


def _word_before(tokens: Sequence[Token], i: int) -> str:
    """The word before token i, adverbs left out."""
    while _lemma(tokens, i - 1).endswith("ly"):
        i -= 1
    return _lemma(tokens, i - 1)


def _lemma(tokens: Sequence[Token], i: int) -> str:
    return tokens[i].lemma if 0 <= i < len(tokens) else ""


def _elsewhere(tokens: Sequence[Token], match: Match) -> bool:
    """ "Not seen on the lateral view", "not present previously": said of another image."""
    if not match.key.startswith("<negated"):
        return False
    behind = tokens[match.end : match.end + 4]
    until = next((k for k, t in enumerate(behind) if t.lemma in BREAKS or t.lemma == ","), len(behind))
    return any(t.lemma in _OTHER_IMAGES for t in behind[:until])


def verdict(anchor: int, end: int, cues: Sequence[Cue]) -> Verdict:
    """What the cues make of a finding whose decisive words are tokens anchor..end.

    A negation beats an uncertainty in its own reach ("no opacity to suggest pneumonia").
    """
    over = {cue.kind for cue in cues if cue.reach[0] <= anchor and end <= cue.reach[1]}
    if "negated" in over:
        return "absent"
    if "hypothetical" in over:
        return "not stated"
    return "uncertain" if "uncertain" in over else "present"


def _right(tokens: Sequence[Token], match: Match, kind: str) -> int:
    """Where the reach of a cue before its findings ends."""
    if tokens[match.start].lemma == "non":  # "non-specific nodules" denies the adjective alone
        return min(match.end + 1, len(tokens))
    for i in range(match.end, len(tokens)):
        word = tokens[i].lemma
        following = tokens[i + 1].lemma if i + 1 < len(tokens) else ""
        if word in BREAKS:
            return i
        if kind == "negated":
            listed = any(t.lemma == "," for t in tokens[match.end : i])
            agrees = word == "with" and tokens[i - 1].lemma in _AGREES and not listed
            opens = word in _OPENERS and not agrees
            if opens or (word in {"other", "rather"} and following == "than"):
                return i
            if word in {",", "and"} and (tokens[i - 1].lemma in _PASSIVE or _new_statement(tokens, i)):
                return i
            if word == "-" and (_new_statement(tokens, i) or _said_present(tokens, i)):
                return i
        elif (word == "," and following in {"there", "no", "without", "the"}) or word in {"without", "no"}:
            return i
    return len(tokens)


def _new_statement(tokens: Sequence[Token], i: int) -> bool:
    """Does a statement of its own begin behind the comma or "and" at i? Otherwise a list goes on."""
    j = i + 1
    if j < len(tokens) and tokens[j].lemma in {"and", "or", "nor"}:
        j += 1
    if j >= len(tokens):
        return False
    if tokens[j].lemma in _AFFIRMS:
        return True
    for k in range(j, len(tokens)):
        word = tokens[k].lemma
        if word in BREAKS or word in _LISTS or word == ",":
            return False
        if word in COPULAS:
            rest = {t.lemma for t in tokens[k + 1 : k + 4]}
            return not (rest & _PASSIVE)
    return False


def _said_present(tokens: Sequence[Token], i: int) -> bool:
    """ "No effusion - edema present"."""
    until = next((k for k in range(i + 1, len(tokens)) if tokens[k].lemma in _CLOSES), len(tokens))
    return _lemma(tokens, until - 1) == "present" and until - i > 2


def _left(tokens: Sequence[Token], start: int) -> int:
    """Where the reach of a cue behind its findings begins: its clause, one verb deep. A cue that brings its
    own verb takes the last of two statements: "there is an effusion and the pneumothorax has resolved"."""
    verbs, asked = 0, tokens[start].lemma == "?"
    own = tokens[start].lemma in COPULAS | _HAS or _lemma(tokens, start - 1) in COPULAS | _HAS
    joint = None
    for i in range(_before_aside(tokens, start), -1, -1):
        word = tokens[i].lemma
        if own and word == "and" and joint is None:
            joint = i + 1
        if word in BREAKS or word in {"with", "which", "there"}:
            return joint if joint is not None and word == "there" else i + 1
        if asked and word in {"(", ","}:  # "a mosaic pattern (small airways disease?)" asks for the second
            return i + 1
        if word in COPULAS:
            verbs += 1
            if verbs > 1:
                return i + 1
    return 0


def _before_aside(tokens: Sequence[Token], start: int) -> int:
    """The token before a cue, or before an aside that ends there ("a mass, which was seen, is ...")."""
    end = start - 1
    if end > 0 and tokens[end].lemma in COPULAS:
        end -= 1
    if end < 1 or tokens[end].lemma != ",":
        return start - 1
    opened = [
        i for i in range(end) if tokens[i].lemma == "," and tokens[i + 1].lemma in {"which", "that", "who"}
    ]
    return opened[-1] - 1 if opened else start - 1


def all_cues() -> list[str]:
    """Every cue phrase."""
    return [phrase for phrases in CUES.values() for phrase in phrases]


def hash_of_cues() -> str:
    """sha256 of the cue tables."""
    return hash_value({"cues": CUES, "affirms": sorted(_AFFIRMS), "openers": sorted(_OPENERS)})
