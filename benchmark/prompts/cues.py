"""Negation and uncertainty: cue phrases and how far they reach.

In the manner of NegEx (Chapman et al. 2001) and ConText (Harkema et al. 2009), with scopes made for
radiology reports: lists behind "no", statements behind a comma, verbs behind the finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmark.core.hashing import hash_value
from benchmark.prompts.terms import BREAKS, COPULAS, Match, Matcher, Token

Presence = Literal["present", "absent", "uncertain"]
Verdict = Literal["present", "absent", "uncertain", "not stated"]

_SEEN = (
    *("seen", "identified", "appreciated", "visualized", "visualised", "demonstrated", "detected", "evident"),
    *("noted", "apparent", "observed", "found", "visible", "present", "recognized", "definitely seen"),
    *(
        "clearly seen",
        "definitely identified",
        "clearly identified",
        "encountered",
        "distinguished",
        "selected",
    ),
    *("monitored", "followed", "depicted", "discerned"),
)

_CUES: dict[str, tuple[str, ...]] = {
    "negated>": (
        *("no", "not", "without", "nor", "neither", "never", "non", "no evidence of", "negative for"),
        *("free of", "clear of", "free from", "absence of", "lack of", "absent", "denies", "rather than"),
        *("instead of", "resolution of", "removal of", "resolved", "exclude the presence of", "devoid of"),
        *("fails to demonstrate", "fails to show", "no longer", "clearing of"),
    ),
    "<negated": (
        *(f"not {word}" for word in _SEEN),
        *(f"no longer {word}" for word in _SEEN),
        *(
            "is absent",
            "are absent",
            "has resolved",
            "have resolved",
            "resolved",
            "been removed",
            "ruled out",
        ),
        *("is excluded", "are excluded", "been excluded", "has cleared", "have cleared", "removed"),
        *(
            "nowhere seen",
            "none seen",
            "is negative",
            "disappeared",
            "completely regressed",
            "full regression",
        ),
    ),
    "uncertain>": (
        *("possible", "possibly", "probable", "probably", "may", "might", "could", "perhaps", "suspected"),
        *("suspect", "suspicious", "suspicious for", "suspicion of", "suspicion for", "concern for"),
        *("concerning for", "worrisome for", "questionable", "question", "question of", "questioned"),
        *("suggest", "suggesting", "suggestive of", "suggested", "suggestion of", "cannot exclude"),
        *("can not exclude", "cannot rule out", "can not rule out", "not exclude", "difficult to exclude"),
        *("equivocal", "raise the possibility of", "raising the possibility of", "possibility of"),
        *("presumably", "presumed", "favor", "favored", "favoring", "differential includes", "borderline"),
        *("differential diagnosis includes", "differential considerations include", "considerations include"),
        *("considerations would include", "differential diagnosis including", "differential including"),
        *("cannot entirely exclude", "cannot completely exclude", "doubtful", "uncertain", "likely"),
        *(
            "not clear whether",
            "unclear whether",
            "indeterminate for",
            "in favor of",
            "may be compatible with",
        ),
    ),
    "<uncertain": (
        *("is possible", "are possible", "not excluded", "not be excluded", "not entirely excluded"),
        *("cannot be excluded", "cannot be entirely excluded", "cannot be completely excluded"),
        *("can not be excluded", "cannot be ruled out", "can not be ruled out", "is suspected"),
        *("are suspected", "is questioned", "is questionable", "be considered", "in the differential"),
        *("less likely", "unlikely", "be present", "is likely", "are likely", "is probable", "not ruled out"),
        *("is difficult to exclude", "not completely excluded", "is suggested", "are suggested"),
        *("is another consideration", "is a consideration", "are considerations", "remains a consideration"),
        *("be a consideration", "not well seen", "not well visualized", "not well visualised"),
        *("not well demonstrated", "not well appreciated"),
        "?",
        *("is uncertain", "is doubtful", "also be present", "cannot be fully excluded", "not fully excluded"),
    ),
    "hypothetical>": (
        *(
            "evaluate for",
            "evaluation for",
            "evaluation of",
            "rule out",
            "to exclude",
            "exclude",
            "assess for",
        ),
        *("history of", "risk of", "screening for", "look for", "excluding", "if there is"),
        *("could obscure", "may obscure", "obscure", "obscuring", "risk for", "could mask"),
        *("in terms of", "followed for", "followed up for", "follow up for", "known to have", "operated for"),
        *("in case of", "eval for", "assessment of", "clinical concern for", "to evaluate"),
    ),
    "<hypothetical": (
        *("may not be demonstrated", "may not be seen", "may not be visible", "may not be detected"),
        *(
            "not be evaluated",
            "not be evaluated optimally",
            "not be clearly evaluated",
            "evaluated as suboptimal",
        ),
        *("not evaluated optimally", "not be characterized", "not be differentiated"),
        *("not well evaluated", "cannot be evaluated", "can not be evaluated", "not adequately evaluated"),
    ),
    "neutral": (
        *("no change", "no significant change", "no interval change", "no significant interval change"),
        *("no increase", "no significant increase", "no decrease", "no improvement", "not only"),
        *("without change", "without significant change", "without interval change", "no relevant change"),
        *("no substantial change", "no appreciable change", "not significantly changed", "not changed"),
        *("not necessarily", "no prior", "no comparison", "not been removed", "no further", "no difference"),
        *("no major change", "no acute change", "not substantially changed", "not appreciably changed"),
        *(
            "no significant difference",
            "no obvious difference",
            "no difference was",
            "not differ",
            "no change was",
        ),
        *("not sufficient", "no clear difference", "no apparent difference"),
        *("no definite change", "no progression", "no worsening"),
    ),
}

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
_PASSIVE = frozenset(word for word in _SEEN if " " not in word)
_AGREES = frozenset({"compatible", "consistent", "associated", "comparable", "accordance", "line"})
"""Words whose "with" goes on with what was denied: "no finding compatible with pneumonia"."""


@dataclass(frozen=True)
class Cue:
    kind: Literal["negated", "uncertain", "hypothetical"]
    start: int
    end: int
    reach: tuple[int, int]
    """Token range in which a finding is under the cue."""


def _matcher() -> Matcher:
    matcher = Matcher()
    for kind, phrases in _CUES.items():
        matcher.add(phrases, kind)
    return matcher


_MATCHER = _matcher()


def find_cues(tokens: Sequence[Token]) -> list[Cue]:
    """All cues of a sentence with their reach."""
    cues = []
    for match in _MATCHER.find(tokens):
        if match.key == "neutral" or _elsewhere(tokens, match):
            continue
        kind = match.key.strip("<>")
        if match.key.startswith("<"):
            reach = (_left(tokens, match), match.start)
        else:
            reach = (match.end, _right(tokens, match, kind))
        cues.append(Cue(kind, match.start, match.end, reach))  # type: ignore[arg-type]
    return cues


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


def _left(tokens: Sequence[Token], match: Match) -> int:
    """Where the reach of a cue behind its findings begins: its clause, one verb deep."""
    verbs, asked = 0, tokens[match.start].lemma == "?"
    for i in range(_before_aside(tokens, match.start), -1, -1):
        word = tokens[i].lemma
        if word in BREAKS or word in {"with", "which", "there"}:
            return i + 1
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
    return [phrase for phrases in _CUES.values() for phrase in phrases]


def hash_of_cues() -> str:
    """sha256 of the cue tables."""
    return hash_value({"cues": _CUES, "affirms": sorted(_AFFIRMS), "openers": sorted(_OPENERS)})
