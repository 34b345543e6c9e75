"""Reports as radiologists write them, each sentence with the findings that it states."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from benchmark.prompts.lexicon import load_lexicon
from benchmark.twins.case import Finding, Sentence
from benchmark.twins.catalogue import TwinConcept, catalogue
from benchmark.twins.nouns import noun_phrase, tidy, upper
from benchmark.twins.phrases import (
    ABSENT_ONE,
    ABSENT_THREE,
    ABSENT_TWO,
    ALL_NORMAL,
    CALM,
    CLEAR,
    COMPLAINTS,
    ENDINGS,
    FOLLOW_UP,
    FOLLOW_UP_ENDINGS,
    NEAR,
    PRESENT,
    SILENT,
    TOGETHER,
    UNSURE,
    chosen,
    spoken,
)
from benchmark.twins.population import PSEUDO, Visit, generator
from benchmark.twins.sites import Site

_COMMON = 600
"""Positives among PadChest's images from which on a finding is often named without its side."""


def write_report(
    visit: Visit, findings: Sequence[Finding], site: Site, seed: int
) -> tuple[tuple[Sentence, ...], dict[str, str]]:
    """Sentences with their truth, and the sections of the report.

    A finding is reported with probability `site.mention`, hedged with `site.hedge`; concepts in `site.silent`
    are never written, neither stated nor denied. Absences are stated of concepts that are not drawn.
    """
    rng = generator(seed, site.name, "report", visit.number)
    concepts = catalogue()
    told = [f for f in findings if f.concept not in site.silent and rng.random() < site.mention]
    body = _statements([f for f in told if f.concept not in PSEUDO], site, visit, rng)
    if rng.random() < 0.04:
        body += _false_alarm(findings, site, rng)
    body += _denials({f.concept for f in findings}, site, rng, few=len(body) > 3)
    body += [
        Sentence(tidy(spoken(str(text), rng)), "findings")
        for text in rng.choice(SILENT, rng.poisson(0.8), replace=False)
    ]
    order = rng.permutation(len(body))
    body = [body[i] for i in order]
    if any(f.concept == "suboptimal study" for f in told):
        body.insert(0, _plain("suboptimal study", "The study is technically limited.", "findings"))
    conclusion = _conclude(told, findings, concepts, visit, site, rng)
    if rng.random() < 0.18:  # some reports have no findings section
        merged = tuple(Sentence(s.text, "impression", s.findings) for s in body[: 4 + len(told)]) + conclusion
        body, conclusion = [], merged
    sentences = tuple(_typed(s, rng) for s in (*body, *conclusion))
    return sentences, _sections(sentences, visit, rng)


def spanish_report(findings: Sequence[Finding], rng: np.random.Generator) -> str:
    """Lower-case, stemmed, unpunctuated apart from ` . `, as PadChest stores its reports."""
    concepts = catalogue()
    side = {"right": " derech", "left": " izquierd", "bilateral": " bilateral", None: ""}
    grade = ("", " lev", " discret", " moder")
    parts = [
        f"{concepts[f.concept].es}{side[f.side]}{grade[rng.integers(len(grade))]}"
        for f in findings
        if f.presence == "present" and f.concept in concepts
    ]
    if not parts:
        parts = ["sin hallazg patolog significat"]
    return " . ".join(parts) + " ."


def _statements(
    told: Sequence[Finding], site: Site, visit: Visit, rng: np.random.Generator
) -> list[Sentence]:
    """A sentence for each finding, or for two of them together."""
    concepts = catalogue()
    out: list[Sentence] = []
    waiting: Finding | None = None
    for finding in told:
        concept = concepts[finding.concept]
        if rng.random() < site.hedge:
            stated = Finding(concept.id, "uncertain", finding.side, finding.location, None)
            text = UNSURE[rng.integers(len(UNSURE))]
            out.append(Sentence(noun_phrase(concept, stated, rng).fill(text), "findings", (stated,)))
        elif concept.phrases and rng.random() < 0.35:
            out.append(_own_phrase(concept, finding, rng))
        elif waiting is not None:
            out.append(_together(waiting, finding, rng))
            waiting = None
        elif rng.random() < 0.2:
            waiting = finding
        else:
            out.append(_state(finding, visit, rng))
    return [*out, _state(waiting, visit, rng)] if waiting is not None else out


def _state(finding: Finding, visit: Visit, rng: np.random.Generator) -> Sentence:
    stated = _as_told(finding, rng)
    later = visit.order > 0
    pattern = chosen(FOLLOW_UP if later and rng.random() < 0.3 else PRESENT, rng)
    if rng.random() < 0.22:
        pattern += chosen(FOLLOW_UP_ENDINGS if later and rng.random() < 0.6 else ENDINGS, rng)
    phrase = noun_phrase(catalogue()[finding.concept], stated, rng)
    return Sentence(phrase.fill(f"{pattern}."), "findings", (stated,))


def _together(first: Finding, second: Finding, rng: np.random.Generator) -> Sentence:
    stated = (_as_told(first, rng), _as_told(second, rng))
    one, other = (noun_phrase(catalogue()[f.concept], f, rng).text for f in stated)
    text = TOGETHER[rng.integers(len(TOGETHER))].format(one=one, other=other, One=upper(one))
    return Sentence(tidy(text), "findings", stated)


def _as_told(finding: Finding, rng: np.random.Generator) -> Finding:
    """The finding with what a report keeps of side, place and severity: always the side of a rare finding."""
    common = catalogue()[finding.concept].images >= _COMMON
    side = (0.4 if finding.side == "bilateral" else 0.75) if common else 1.0
    keep = rng.random(3) < (side, 0.75, 0.75)
    return Finding(
        finding.concept,
        "present",
        finding.side if keep[0] else None,
        finding.location if keep[1] else None,
        finding.severity if keep[2] else None,
    )


def _own_phrase(concept: TwinConcept, finding: Finding, rng: np.random.Generator) -> Sentence:
    phrase = concept.phrases[rng.integers(len(concept.phrases))]
    used = {key for key in ("side", "place", "severity") if "{" + key + "}" in phrase}
    text = phrase.format(
        side=finding.side or "", place=finding.location or "", severity=finding.severity or ""
    )
    stated = Finding(
        concept.id,
        "present",
        finding.side if "side" in used else None,
        finding.location if "place" in used else None,
        finding.severity if "severity" in used else None,
    )
    return Sentence(tidy(text), "findings", (stated,))


@lru_cache(maxsize=512)
def _covered(concept: str) -> frozenset[str]:
    """The concept, what lies below it in the lexicon, and what makes its denial odd."""
    lexicon = load_lexicon()
    near = (*NEAR.get(concept, ()), *(p for p in catalogue() if concept in catalogue()[p].partners))
    wide = frozenset({concept, *near})
    return wide.union(*(lexicon.descendants(c) for c in wide if c in lexicon))


def _denials(drawn: set[str], site: Site, rng: np.random.Generator, few: bool) -> list[Sentence]:
    """Statements of absence of what is not drawn, and calm sentences about the rest."""
    out: list[Sentence] = []
    concepts = catalogue()

    def free(concept: str) -> bool:
        return concept not in site.silent and not _covered(concept) & drawn

    usual = [
        c
        for c in ("pneumothorax", "pleural effusion", "consolidation", "pulmonary edema", "pneumonia")
        if free(c)
    ]
    rare = [c.id for c in concepts.values() if c.denied and free(c.id) and c.id not in usual]
    pool: list[str] = [
        *map(str, rng.permutation(usual)),
        *([str(rng.choice(rare))] if rare and rng.random() < 0.5 else []),
    ]
    total = int(rng.integers(1, 3 if few else 4))
    pool = pool[:total]
    while pool:
        take = min(len(pool), int(rng.integers(1, 4)))
        group, pool = pool[:take], pool[take:]
        template = (ABSENT_ONE, ABSENT_TWO, ABSENT_THREE)[take - 1]
        names = dict(
            zip(
                "abc",
                (_denied_name(concepts[c], rng) for c in group),
                strict=False,
            )
        )
        names |= {"A": upper(names["a"])}
        text = template[rng.integers(len(template))].format(**names)
        text += chosen(ENDINGS, rng) if rng.random() < 0.06 else ""
        out.append(Sentence(tidy(f"{text}."), "findings", tuple(Finding(c, "absent") for c in group)))
    for stated, texts in CALM.items():
        if rng.random() < (0.08 if few else 0.22) and all(free(c) for c in stated):
            if len(stated) > 1 and drawn - set(PSEUDO):
                continue
            text = tidy(spoken(texts[rng.integers(len(texts))], rng))
            out.append(Sentence(text, "findings", tuple(Finding(c, "absent") for c in stated)))
    return out


def _denied_name(concept: TwinConcept, rng: np.random.Generator) -> str:
    names = [n for n in concept.names if not n.startswith("findings")]
    return names[min(int(rng.exponential(0.5)), len(names) - 1)]


def _false_alarm(findings: Sequence[Finding], site: Site, rng: np.random.Generator) -> list[Sentence]:
    """A doubt about something that is not there."""
    drawn = {f.concept for f in findings}
    pool = [
        c for c in ("pneumonia", "atelectasis", "nodule", "infiltrates", "pleural effusion") if c not in drawn
    ]
    if not pool:
        return []
    concept = catalogue()[str(rng.choice(pool))]
    stated = Finding(concept.id, "uncertain")
    text = noun_phrase(concept, stated, rng).fill(UNSURE[rng.integers(len(UNSURE))])
    return [Sentence(text, "findings", (stated,))]


def _conclude(
    told: Sequence[Finding],
    findings: Sequence[Finding],
    concepts: dict[str, TwinConcept],
    visit: Visit,
    site: Site,
    rng: np.random.Generator,
) -> tuple[Sentence, ...]:
    real = [f for f in told if f.concept not in PSEUDO]
    out: list[Sentence] = []
    if any(f.concept == "unchanged" for f in told):
        out.append(_plain("unchanged", "No significant change compared with the study of ___.", "impression"))
    for finding in sorted(real, key=lambda f: rng.random())[:3]:
        short = Finding(finding.concept, "present", finding.side, None, None)
        text = noun_phrase(concepts[finding.concept], short, rng).fill("{Rest}.")
        out.append(Sentence(text, "impression", (short,)))
    if not real:
        acute = {"consolidation", "pleural effusion", "pneumothorax", "pulmonary edema", "pneumonia"}
        absent = tuple(Finding(c, "absent") for c in sorted(acute - {f.concept for f in findings}))
        clear = CLEAR if findings else CLEAR + ALL_NORMAL
        if not acute & {f.concept for f in findings}:
            out.append(Sentence(tidy(spoken(clear[rng.integers(len(clear))], rng)), "impression", absent))
    return tuple(out)


def _plain(concept: str, text: str, section: str) -> Sentence:
    return Sentence(text, section, (Finding(concept),))  # type: ignore[arg-type]


def _typed(sentence: Sentence, rng: np.random.Generator) -> Sentence:
    """Now and then two neighbouring letters of a long word change places."""
    if rng.random() > 0.012:
        return sentence
    words = sentence.text.split(" ")
    long = [i for i, w in enumerate(words) if len(w) > 6]
    if not long:
        return sentence
    i = long[rng.integers(len(long))]
    at = int(rng.integers(1, len(words[i]) - 3))
    words[i] = words[i][:at] + words[i][at + 1] + words[i][at] + words[i][at + 2 :]
    return Sentence(" ".join(words), sentence.section, sentence.findings)


def _sections(sentences: Sequence[Sentence], visit: Visit, rng: np.random.Generator) -> dict[str, str]:
    views = {"PA": "PA", "AP": "Portable AP", "L": "lateral"}
    named = list(dict.fromkeys(views[v] for v in visit.views))
    who = {"F": "woman", "M": "man"}[visit.patient.sex]
    complaint = COMPLAINTS[rng.integers(len(COMPLAINTS))]
    sections = {
        "examination": "CHEST (" + " AND ".join(n.upper() for n in named) + ")",
        "indication": f"___ year old {who} with {complaint}."
        if rng.random() < 0.85
        else f"History: ___{visit.patient.sex} with {complaint}",
        "technique": f"{upper(' and '.join(named))} view{'s' if len(named) > 1 else ''} of the chest.",
        "comparison": (
            "None." if not visit.order else "Chest radiograph from ___." if rng.random() < 0.7 else "___"
        ),
    }
    for section in ("findings", "impression"):
        text = " ".join(s.text for s in sentences if s.section == section)
        if text:
            sections[section] = text
    return sections
