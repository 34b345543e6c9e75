"""Reports of chest CT in the manner of CT-RATE: organ by organ, in translated English, with denials."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.prompts.lexicon import load_lexicon
from benchmark.twins.case import Finding, Sentence
from benchmark.twins.ct.catalogue import CTSite, catalogue
from benchmark.twins.nouns import noun_phrase, tidy
from benchmark.twins.phrases import chosen, spoken
from benchmark.twins.population import Visit, generator

PRESENT: dict[str, float] = {
    "{Rest} is observed": 4,
    "{Rest} was observed": 4,
    "There is {article}{rest}": 4,
    "{Rest} was detected": 1.5,
    "{Rest} is present": 1,
    "{Rest} is seen": 1,
    "In the examination, {article}{rest} is observed": 0.5,
    "An appearance compatible with {rest} is observed": 0.4,
}
UNSURE = (
    "Suspicious {rest}.",
    "Possible {rest}.",
    "{Rest} cannot be excluded.",
    "Findings may be compatible with {rest}.",
)
NORMAL: dict[tuple[str, ...], tuple[str, ...]] = {
    ("cardiomegaly",): (
        "Heart size [is|was] [normal|within normal limits].",
        "[The heart|Heart] contour and size are [normal|natural].",
        "Cardiothoracic ratio is normal.",
    ),
    ("pericardial effusion",): (
        "[Pericardial effusion|Pericardial effusion or thickening] was not [observed|detected].",
        "No pericardial effusion [is seen|was detected].",
    ),
    ("adenopathy", "lymph node"): (
        "No [pathologically enlarged lymph node|enlarged lymph node] was [detected|observed] in the "
        "mediastinum[| or hilar regions].",
        "No lymphadenopathy [was detected|is observed] at mediastinal and hilar levels.",
    ),
    ("pleural effusion",): (
        "Pleural effusion was not [observed|detected][| on either side].",
        "No pleural effusion [is seen|was detected].",
    ),
    ("pleural effusion", "pneumothorax"): ("No pleural effusion or pneumothorax was [detected|observed].",),
    ("pneumothorax",): ("No pneumothorax was detected.",),
    ("consolidation", "pneumonia", "ground glass pattern"): (
        "[No active infiltration|No infiltration or consolidation|No consolidation] was [detected|observed] "
        "in [both lungs|the lung parenchyma].",
    ),
    ("nodule", "pulmonary mass", "multiple nodules", "calcified granuloma"): (
        "No [mass or nodule|nodule or mass|nodular lesion] was [detected|observed] in "
        "[both lungs|the lungs].",
    ),
    ("pulmonary mass",): ("No mass lesion was detected in the lungs.",),
    ("rib fracture",): ("No fracture was detected in the ribs.",),
}
SILENT = (
    "[The trachea|Trachea] and both main bronchi are [open|patent|in the midline].",
    "[Calibration|Diameter] of the [great|main] mediastinal vessels is [natural|normal].",
    "Thoracic aorta diameter is [normal|natural].",
    "[The esophagus|Esophagus] is of normal calibration within the sections.",
    "[Upper abdominal organs|The upper abdominal organs] in the sections are [natural|normal|"
    "partially included].",
    "Both adrenal glands are [natural|normal].",
    "Vertebral heights are preserved.",
    "Mediastinal structures could not be evaluated optimally [because no contrast was given|without "
    "contrast].",
    "Bone structures within the sections are natural.",
)
COMPLAINTS = ("Cough", "Fever", "Chest pain", "Shortness of breath", "Control", "Weight loss", "Trauma")
NOT_GIVEN = "Not given."


def write_report(
    visit: Visit, findings: Sequence[Finding], site: CTSite, enhanced: bool, seed: int
) -> tuple[tuple[Sentence, ...], dict[str, str]]:
    """Sentences with their truth and the four sections of CT-RATE's table."""
    rng = generator(seed, site.people.name, "report", visit.number)
    told = [f for f in findings if rng.random() < site.people.mention]
    body = [_state(f, site, rng) for f in told] + _denials({f.concept for f in findings}, rng)
    body += [
        Sentence(tidy(spoken(str(t), rng)), "findings")
        for t in rng.choice(SILENT, int(rng.integers(2, 6)), replace=False)
    ]
    body = [body[i] for i in rng.permutation(len(body))]
    named = [told[i] for i in rng.permutation(len(told))[: int(rng.integers(2, 6))]]
    end = [
        Sentence(
            _filled(f, "{Rest}.", rng), "impression", (Finding(f.concept, "present", f.side, None, None),)
        )
        for f in named
    ]
    if not told:
        end = [Sentence("Thoracic CT examination within normal limits.", "impression")]
    sentences = (*body, *end)
    thick = ("1.5", "3", "5")[rng.integers(3)]
    given = "with" if enhanced else "without"
    sections = {
        "clinical": COMPLAINTS[rng.integers(len(COMPLAINTS))] + "." if rng.random() < 0.35 else NOT_GIVEN,
        "technique": f"Sections of {thick} mm were taken in the axial plane {given} contrast material.",
    }
    for section in ("findings", "impression"):
        sections[section] = " ".join(s.text for s in sentences if s.section == section) or NOT_GIVEN
    return sentences, sections


def _filled(finding: Finding, pattern: str, rng: np.random.Generator) -> str:
    phrase = noun_phrase(catalogue()[finding.concept], finding, rng)
    text = phrase.fill(pattern)
    return text.replace(" was ", " were ") if phrase.several else text


def _state(finding: Finding, site: CTSite, rng: np.random.Generator) -> Sentence:
    if rng.random() < site.people.hedge:
        stated = Finding(finding.concept, "uncertain", finding.side, finding.location)
        return Sentence(_filled(stated, UNSURE[rng.integers(len(UNSURE))], rng), "findings", (stated,))
    keep = rng.random(2) < 0.85
    stated = Finding(
        finding.concept, "present", finding.side, finding.location if keep[0] else None,
        finding.severity if keep[1] else None,
    )  # fmt: skip
    return Sentence(_filled(stated, f"{chosen(PRESENT, rng)}.", rng), "findings", (stated,))


def _denials(drawn: set[str], rng: np.random.Generator) -> list[Sentence]:
    """What is stated not to be there, only of what is not drawn."""
    lexicon = load_lexicon()
    above = {d for d in drawn if d in lexicon} | {
        p for d in drawn if d in lexicon for p in lexicon[d].parents
    }
    out = []
    for concepts, texts in NORMAL.items():
        if not above & set(concepts) and rng.random() < 0.6:
            text = tidy(spoken(texts[rng.integers(len(texts))], rng))
            out.append(Sentence(text, "findings", tuple(Finding(c, "absent") for c in concepts)))
    return out
