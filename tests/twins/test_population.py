"""Who has what, how often, and in which words."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import yaml
from scipy.stats import spearmanr

from benchmark.prompts.lexicon import load_lexicon
from benchmark.twins.case import Finding, TwinPatient
from benchmark.twins.catalogue import catalogue
from benchmark.twins.population import Visit, detail, findings_of, visits
from benchmark.twins.render import render
from benchmark.twins.reports import spanish_report, write_report
from benchmark.twins.sites import NEVER_NAMED, SITES, site

NEGATION = re.compile(
    r"\b(no|not (identified|widened|enlarged)|neither|without|negative|normal|unremarkable|clear|intact"
    r"|limits|midline)\b",
    re.IGNORECASE,
)
ONLY_TIME = re.compile(
    r"without significant interval change|not significantly changed|of no acute significance", re.I
)
DOUBT = re.compile(
    r"\b(possible|possibility|may|cannot be excluded|not excluded|questionable|question|could|suspected"
    r"|suspicious|probable)\b",
    re.IGNORECASE,
)


def counts(name: str, images: int, seed: int) -> Counter[str]:
    place = site(name)
    found: Counter[str] = Counter()
    for visit in visits(place, images, seed):
        for finding in findings_of(visit, place, seed):
            found[finding.concept] += len(visit.views)
    return found


@pytest.fixture(scope="module")
def padchest() -> Counter[str]:
    return counts("padchest", 2000, 3)


def reported(name: str, number: int, seed: int = 5):
    place = site(name)
    for visit in islice(visits(place, 10**6, seed), number):
        findings = findings_of(visit, place, seed)
        sentences, sections = write_report(visit, findings, place, seed)
        yield findings, sentences, sections


def test_catalogue_counts_are_the_official_ones(shared):
    official = yaml.safe_load((shared / "specs/labels/padchest.yaml").read_text())["classes"]
    images = {c["label"]: c["images"] for c in official}
    drawn = [c for c in catalogue().values() if c.draw]
    assert len(drawn) >= 80
    images.pop("exclude")
    assert {c.id: c.images for c in catalogue().values()} == images


def test_every_concept_is_in_the_lexicon():
    lexicon = load_lexicon()
    assert [c for c in catalogue() if c not in lexicon] == []


def test_frequencies_follow_the_tail(padchest):
    ids = [c.id for c in catalogue().values() if c.draw and c.id not in SITES["padchest"].share]
    rank = spearmanr([catalogue()[i].images for i in ids], [padchest[i] for i in ids]).statistic
    assert rank > 0.75
    assert sum(0 < n <= 10 for n in padchest.values()) >= 12
    assert padchest["cardiomegaly"] == pytest.approx(2000 * 3746 / 39053, rel=0.3)


def test_never_named_concepts_are_common_enough_to_measure(padchest):
    assert len(NEVER_NAMED) >= 6
    assert all(padchest[c] >= 75 for c in NEVER_NAMED)


def test_training_reports_never_name_them():
    names = [n.lower() for c in NEVER_NAMED for n in (*catalogue()[c].names, c)]
    lexicon = load_lexicon()
    named = frozenset().union(*(lexicon.descendants(c) | {c} for c in NEVER_NAMED))
    drawn: set[str] = set()
    for findings, sentences, sections in reported("mimic_cxr", 900):
        drawn |= {f.concept for f in findings}
        assert not {f.concept for s in sentences for f in s.findings} & named
        text = " ".join(sections.values()).lower()
        assert not [n for n in names if n in text]
    assert set(NEVER_NAMED) <= drawn


def test_sentences_say_what_their_truth_says():
    seen: Counter[str] = Counter()
    wrong = []
    for _, sentences, _ in reported("mimic_cxr", 500):
        for sentence in sentences:
            presences = {f.presence for f in sentence.findings}
            assert len(presences) <= 1
            for presence in presences:
                seen[presence] += 1
                if any(f.concept in ("unchanged", "suboptimal study") for f in sentence.findings):
                    continue
                text = ONLY_TIME.sub("", sentence.text)
                denied, doubted = bool(NEGATION.search(text)), bool(DOUBT.search(text))
                if presence == "uncertain":
                    wrong += [] if doubted else [sentence.text]
                elif denied != (presence == "absent") or doubted:
                    wrong.append(sentence.text)
    assert len(wrong) < 0.004 * sum(seen.values()), wrong  # letters swapped in "negative" and the like
    assert min(seen[p] for p in ("present", "absent", "uncertain")) > 20


def test_sides_and_places_of_a_sentence_are_written_in_it():
    for _, sentences, _ in reported("padchest", 300):
        for sentence in sentences:
            for finding in sentence.findings:
                for word in (finding.side, finding.location, finding.severity):
                    if word and sentence.text.isascii() and _untouched(sentence.text):
                        assert word.removesuffix("ly").lower() in sentence.text.lower(), sentence


def _untouched(text: str) -> bool:
    """No letters were swapped: the sentence's long words all belong to the generator's vocabulary."""
    words = set(re.findall(r"[a-z]+", text.lower()))
    return words <= vocabulary()


def vocabulary() -> set[str]:
    if not _WORDS:
        for concept in catalogue().values():
            parts = (*concept.names, *concept.places, *concept.severities, *concept.phrases)
            _WORDS.update(re.findall(r"[a-z]+", " ".join(parts).lower()))
        plain = """there is a an are seen noted present the study shows findings consistent with again
            unchanged new compared previous has have increased since prior possible may represent cannot be
            excluded in at questionable this could reflect suspected left right bilateral zones lobes region
            regions bases lungs"""
        _WORDS.update(plain.split())
    return _WORDS


_WORDS: set[str] = set()


def test_denials_never_contradict_the_picture():
    lexicon = load_lexicon()
    for findings, sentences, _ in reported("padchest", 400):
        drawn = {f.concept for f in findings}
        for sentence in sentences:
            for finding in sentence.findings:
                if finding.presence == "absent":
                    assert not (lexicon.descendants(finding.concept) | {finding.concept}) & drawn
                elif finding.presence == "present":
                    assert finding.concept in drawn


def test_bare_names_occur_in_positives_and_in_negations():
    bare = {"pleural effusion", "pneumothorax", "consolidation", "pneumonia"}
    positive: set[str] = set()
    negative: set[str] = set()
    for _, sentences, _ in reported("mimic_cxr", 700):
        for sentence in sentences:
            hits = {b for b in bare if b in sentence.text.lower()}
            if {f.presence for f in sentence.findings} == {"present"}:
                positive |= hits
            elif {f.presence for f in sentence.findings} == {"absent"}:
                negative |= hits
    assert positive == negative == bare


def test_reports_have_sections_and_removed_words():
    sections = [s for _, _, s in reported("mimic_cxr", 80)]
    assert all("indication" in s and ("findings" in s or "impression" in s) for s in sections)
    assert any("findings" not in s for s in sections)
    assert any("___" in s["indication"] for s in sections)


def test_lasting_findings_stay():
    place = site("mimic_cxr")
    lasting: dict[int, set[str]] = {}
    compared = 0
    for visit in visits(place, 600, 2):
        now = {f.concept for f in findings_of(visit, place, 2) if catalogue()[f.concept].stays}
        before = lasting.setdefault(visit.patient.number, now)
        compared += visit.order > 0
        # a lasting finding may also come along with a passing one
        partners = {p for c in catalogue().values() if not c.stays for p in c.partners}
        assert (before ^ now) <= partners
    assert compared > 50


def test_spanish_report_is_lower_case_and_stemmed():
    findings = (Finding("pleural effusion", side="right"), Finding("nodule", "absent"))
    text = spanish_report(findings, np.random.default_rng(0))
    assert text.startswith("derram pleural derech")
    assert text.endswith(" .")
    assert "nodul" not in text
    assert text == text.lower()
    assert spanish_report((), np.random.default_rng(0)) == "sin hallazg patolog significat ."


def test_reports_repeat_themselves_no_more_than_real_ones():
    """Measured as in perf/twin_realism.py, where the 1,000 real Open-I reports have 0.51 and 6.6 words."""
    words = re.compile(r"[a-z0-9_']+")
    said = [
        " ".join(words.findall(s.text.lower()))
        for _, sentences, _ in reported("mimic_cxr", 450)
        for s in sentences
    ][:4000]
    assert len(said) == 4000
    assert len(set(said)) / len(said) > 0.45
    assert 5.4 < np.mean([len(s.split()) for s in said]) < 7.5
    assert sum(n for _, n in Counter(said).most_common(10)) / len(said) < 0.12


def test_rare_findings_are_told_with_their_side():
    """So that their prompt, which names no side, does not stand word for word in the training texts."""
    for _, sentences, _ in reported("mimic_cxr", 300):
        for finding in (f for s in sentences for f in s.findings if f.presence == "present"):
            concept = catalogue()[finding.concept]
            if concept.images < 600 and concept.sides and not concept.phrases:
                assert finding.side, finding.concept


@pytest.mark.parametrize(
    ("concept", "least"),
    [("nodule", 4.0), ("consolidation", 3.0), ("pleural effusion", 8.0), ("pneumothorax", 6.0)],
)
def test_lesions_have_many_sizes(concept, least):
    """Ratio of the 90th to the 10th percentile of the box area; 10, 8, 26 and 22 in ChestX-Det10."""
    place, rng = site("chestxdet10"), np.random.default_rng(0)
    areas = []
    for number in range(60):
        visit = Visit(TwinPatient(number, "M", 60), number, 0, 0, ("PA",), number)
        image = render(visit, 0, (detail(catalogue()[concept], rng),), place, 128, 0)
        areas += [r.box[2] * r.box[3] for r in image.regions]
    low, high = np.percentile(areas, (10, 90))
    assert high / low > least
