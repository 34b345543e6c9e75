"""What a finding is by what it belongs to: a mass of the breast, calcification of a coronary artery.

Words of reports are often general ("lesion", "calcified plaque", "effusion"), and the organ beside them
decides. Places that only say where ("right lower lobe") are read in `places.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.prompts.lexicon import Lexicon
from benchmark.prompts.terms import BREAKS, Match, Matcher, Token

_ARTERIES = {"aorta": "aortic atheromatosis", "other arteries": "aortic atheromatosis"}
_CALCIFIED = {
    **_ARTERIES,
    "coronary arteries": "coronary calcification",
    "heart valves": "heart valve calcified",
    "pericardium": "pericardial calcification",
    "abdominal vessels": "abdominal calcification",
}
_OUTSIDE = {
    "abdominal organs": "abdominal abnormality",
    "abdominal vessels": "abdominal abnormality",
    "thyroid": "thyroid nodule",
    "breasts": "breast mass",
    "bones": "bony abnormality",
    "soft tissues": "soft tissue abnormality",
}
_FLUID = {
    "pleural surfaces": "pleural effusion",
    "thoracic cavities": "pleural effusion",
    "pericardium": "pericardial effusion",
    "abdominal organs": "ascites",
    "soft tissues": "soft tissue abnormality",
}

_VAGUE = (
    *("increased density", "decreased density", "lung opacity", "linear opacity", "infiltrates", "scarring"),
    *("fibrotic sequelae", "pulmonary fibrosis", "inflammation"),
)
_LUMPS = ("nodule", "multiple nodules", "lung lesion", "cyst", "mass", "cavitation")

_BY_ORGAN: dict[str, dict[str, str]] = {
    "aortic atheromatosis": _CALCIFIED,
    "coronary calcification": _CALCIFIED,
    "calcified pleural plaques": _CALCIFIED,
    "calcified densities": {
        **_CALCIFIED,
        "pleural surfaces": "calcified pleura",
        "abdominal organs": "abdominal calcification",
        "thyroid": "thyroid nodule",
    },
    **dict.fromkeys((*_LUMPS, *_VAGUE), _OUTSIDE),
    "pleural effusion": _FLUID,
}
"""Concept → organ → what the concept is there. An organ that is not named leaves the concept as it is."""
_SPREADS = frozenset({"aortic atheromatosis", "coronary calcification", "calcified densities"})
_SPREADS |= {"calcified pleural plaques", "pleural effusion"}
"""Said of each organ of a list: "calcified plaques in the aorta and the coronary arteries"."""
_EXPLICIT = frozenset({"lung", "pulmonary", "pleural", "parenchymal", "pleuroparenchymal", "hydrothorax"})
"""Words of a phrase that name its organ already."""
_LANDMARKS = frozenset({"overlying", "over", "overly", "projecting", "projected", "adjacent", "near"})
_LANDMARKS |= {"neighborhood", "abutting", "vicinity", "beside", "behind", "superimposed", "beyond", "toward"}
_LANDMARKS |= {"towards", "obscured"}


class OrganFinder:
    """Which organs a finding belongs to; one instance serves all sentences."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._matcher = Matcher()
        for identifier in lexicon.ids("organ"):
            concept = lexicon[identifier]
            self._matcher.add([concept.name, *concept.synonyms], identifier)
            self._matcher.add_exact(concept.abbreviations, identifier)

    def organs(self, tokens: Sequence[Token]) -> list[Match]:
        """Mentions of organs, in order."""
        return [m for m in self._matcher.find(tokens) if not _beside(tokens, m.start)]

    def concepts(
        self, tokens: Sequence[Token], mention: Match, mentions: Sequence[Match], organs: Sequence[Match]
    ) -> tuple[str, ...]:
        """What a mention is where it stands; its own concept where no organ decides."""
        table = _BY_ORGAN.get(mention.key)
        if table is None or any(tokens[i].lemma in _EXPLICIT for i in mention.used):
            return (mention.key,)
        behind, before = _surroundings(tokens, mention, mentions)
        inside = [m for m in organs if m.start >= mention.start and m.end <= mention.end]
        after = [m for m in organs if m.start >= mention.end and m.end <= behind]
        earlier = [m for m in organs if m.end <= mention.start and m.start >= before][::-1]
        near = [*inside, *after] or earlier
        if not near:
            near = [m for m in organs if all(o.key == m.key for o in organs)]
        if mention.key in _SPREADS:
            named = [table[m.key] for m in near if m.key in table]
            return tuple(dict.fromkeys(named)) or (mention.key,)
        return (table.get(near[0].key, mention.key),) if near else (mention.key,)


def _beside(tokens: Sequence[Token], start: int) -> bool:
    """Is the organ at `start` only a landmark ("overlying the ninth rib", "adjacent to the left kidney")?"""
    for i in range(start - 1, max(start - 5, -1), -1):
        if tokens[i].lemma in _LANDMARKS:
            return True
        if tokens[i].lemma in BREAKS or tokens[i].lemma in {",", "and", "in", "of"}:
            return False
    return False


def _surroundings(tokens: Sequence[Token], mention: Match, mentions: Sequence[Match]) -> tuple[int, int]:
    """Up to where behind a mention, and from where before it, organs are its own."""
    later = [m.start for m in mentions if m.start >= mention.end]
    stops = [i for i in range(mention.end, len(tokens)) if tokens[i].lemma in BREAKS]
    previous = [m.end for m in mentions if m.end <= mention.start]
    opens = [i for i in range(mention.start) if tokens[i].lemma in BREAKS]
    return min([len(tokens), *later[:1], *stops[:1]]), max([0, *previous[-1:], *opens[-1:]])
