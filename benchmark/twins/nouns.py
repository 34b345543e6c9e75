"""Noun phrases: a finding with severity, side and place, and a sentence pattern around it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from benchmark.twins.case import Finding
from benchmark.twins.catalogue import TwinConcept
from benchmark.twins.phrases import LOCATED

_INTERRUPTION = re.compile(r"\s+")


@dataclass(frozen=True)
class NounPhrase:
    """text without article; article: "a ", "an " or nothing; several: it takes a plural verb."""

    text: str
    article: str
    several: bool

    def fill(self, template: str) -> str:
        """The sentence that a pattern with {rest}, {Rest} and {article} makes of it."""
        text = template.format(rest=self.text, Rest=upper(self.text), article=self.article)
        if self.several:
            for one, many in (
                (" is ", " are "),
                (" has increased", " have increased"),
                (" appears to", " appear to"),
            ):
                text = text.replace(one, many, 1)
        return tidy(text)


def noun_phrase(concept: TwinConcept, finding: Finding, rng: np.random.Generator) -> NounPhrase:
    """What the finding is called, with its severity, side and place, and agreement of number."""
    name = concept.names[min(int(rng.exponential(1.1)), len(concept.names) - 1)]
    front, behind = [], ""
    severity = finding.severity
    if severity:
        front.append(severity.removesuffix("ly") if severity in ("mildly", "markedly") else severity)
    place = finding.location
    if finding.side and place in ("base", "apex", "costophrenic angle"):
        front.append({"left": "left", "right": "right", "bilateral": "bilateral"}[finding.side])
        behind = f" at the {'bases' if finding.side == 'bilateral' and place == 'base' else place}"
    elif place and place in LOCATED:
        front += [finding.side] if finding.side else []
        behind = f" {LOCATED[place]}"
    elif place and finding.side in ("left", "right") and (" " in place or place == "lingula"):
        behind = f" in the {finding.side} {place}"
    elif place in ("lateral", "basal", "apical"):
        front += [place] if place not in name else []
        front += [finding.side] if finding.side else []
    else:
        front += [finding.side] if finding.side else []
        behind = f" in the {place}" if place and place not in name else ""
        if finding.side == "bilateral" and place and behind:
            behind += "s" if not place.endswith("s") else ""
    noun = " ".join([*front, name])
    several = not name.startswith(("a ", "an ")) and (
        concept.plural or _plural(name) or (finding.side == "bilateral" and not _mass_noun(name))
    )
    if several and not concept.plural and not _plural(name):
        noun = noun.removesuffix(name) + _pluralised(name)
    article = (
        ""
        if several or name.startswith(("a ", "an ")) or _mass_noun(name)
        else ("an " if noun[0].lower() in "aeiou" else "a ")
    )
    return NounPhrase(noun + behind, article, several)


def _plural(name: str) -> bool:
    return name.endswith(("ae", "ases", "s")) and not name.endswith(("sis", "us", "ss", "thorax"))


def _pluralised(name: str) -> str:
    """Plural of a countable noun phrase; of "x of y" its head."""
    head, of, rest = name.partition(" of ")
    return f"{head}s{of}{rest}"


def _mass_noun(name: str) -> bool:
    return name.endswith(
        (
            "sis",
            "edema",
            "emphysema",
            "cardiomegaly",
            "congestion",
            "thickening",
            "fluid",
            "air",
            "enlargement",
            "fibrosis",
            "consolidation",
            "tuberculosis",
            "pneumonia",
            "redistribution",
            "volume",
            "hypoinflation",
            "material",
            "metal",
            "osteopenia",
            "elongation",
            "hypertension",
            "obesity",
            "trapping",
            "hypoexpansion",
            "cement",
            "density",
            "thorax",
            "gynecomastia",
            "narrowing",
            "sternotomy",
            "surgery",
            "dextrocardia",
            "adenopathy",
            "distress",
            "hyperinflation",
        )
    )


def upper(text: str) -> str:
    """First letter in upper case."""
    return text[:1].upper() + text[1:]


def tidy(text: str) -> str:
    """One space between words, none before a mark, a capital in front."""
    return upper(_INTERRUPTION.sub(" ", text).replace(" .", ".").replace(" ,", ",").strip())
