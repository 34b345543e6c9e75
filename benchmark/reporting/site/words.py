"""Words of the page: its glossary, what would change a verdict, and how to cite it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from markupsafe import Markup

from benchmark.reporting.evidence import Evidence
from benchmark.reporting.verdicts import Judgement, settles

GLOSSARY: Mapping[str, str] = {
    "AUROC": "Area under the receiver operating characteristic: how often a positive image scores above a "
    "negative one; 0.5 is chance.",
    "Average precision": "Mean precision over the positives in the order of their scores; chance is their "
    "share.",
    "Macro": "The plain mean over classes, so that a rare finding counts as much as a frequent one.",
    "Cell": "One method with one set of parameters, texts and prompts, trained once a seed.",
    "Group": "Letters: rows that share one are not separable by the corrected paired test.",
    "Stability": "Share of sets of seeds, drawn again, in which the letters stay the same.",
    "Rank": "The ranks that the corrected tests allow.",
    "MDE": "Minimum detectable effect: the smallest true difference to the best other row that the corrected "
    "test finds with {power} power; none where a score cannot be that much better.",
    "Floor": "What needs no image-text alignment: untrained or shuffled methods, a thumbnail, age and sex. A "
    "method must exceed it.",
    "Ceiling": "A supervised probe on the same features, which learns from true labels.",
    "Synthetic twin": "Generated images and reports in the official layout. No patient is in it.",
    "Stratum": "A group of classes that is averaged by itself: head, medium, tail, or a list of the card.",
    "Head": "Classes with many positives, by the card's official rule.",
    "Medium": "Classes with neither many nor few positives, by the card's official rule.",
    "Tail": "Classes with few positives, by the card's official rule.",
    "Protocol": "A named way to evaluate a set: its images, classes, and what uncertain labels count as.",
    "Holm": "A correction of p values for the number of tests of one declared family.",
    "Family": "The tests that a correction counts together, declared before the results are seen.",
    "Interval": "{level} confidence interval over patients, and over trainings where there "
    "are several seeds.",
    "Seed": "One training from one random start; intervals hold the spread over seeds too.",
    "Prompt": "The text that an image is scored with for a class, as in “There is pleural effusion”.",
    "Ablation": "A cell that differs from a main cell in one setting, to show what that setting is worth.",
    "Verdict": "What the results say of a claim: supported, contradicted, inconclusive, undefined or "
    "not run.",
    "Training studies": "Training studies whose report names the class.",
    "Converged": "Whether the last quarter of the training still improved the validation.",
    "False alarm": "A negative image among as many highest-scoring images as there are positives.",
    "Positives": "Images labelled with the class; negatives are labelled without it, ignored ones neither.",
}
"""Terms of the page, each explained wherever it stands."""

SPELLINGS: Mapping[str, str] = {
    "p (Holm)": "Holm", "Holm p": "Holm", "Macro AUROC": "AUROC", "synthetic twins": "Synthetic twin",
    "twin": "Synthetic twin", "twins": "Synthetic twin", "strata": "Stratum", "families": "Family",
    "minimum detectable effect": "MDE",
}  # fmt: skip
"""Other spellings of terms."""


def slug(text: str) -> str:
    """An id for a fragment."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def term_of(word: str) -> str:
    """The term of the glossary that a word, a heading or a plural stands for; empty where it is none."""
    spelled = {k.lower(): v for k, v in SPELLINGS.items()}
    terms = {term.lower(): term for term in GLOSSARY}
    low = word.lower()
    if low in spelled:
        return spelled[low]
    return terms.get(low) or terms.get(low.removesuffix("s")) or ""


_TERM = re.compile(
    r"(?<![\w-])("
    + "|".join(sorted((f"{re.escape(t)}s?" for t in [*GLOSSARY, *SPELLINGS]), key=len, reverse=True))
    + r")(?![\w-])",
    re.IGNORECASE,
)


def with_terms(text: str) -> Markup:
    """Text for the page, escaped; the first use of every term of the glossary is a link to its meaning."""
    seen: set[str] = set()
    out, end = Markup(""), 0
    for match in _TERM.finditer(text):
        term = term_of(match[0])
        if not term or term in seen:
            continue
        seen.add(term)
        out += Markup('{}<a class="term" href="#term-{}">{}</a>').format(
            text[end : match.start()], slug(term), match[0]
        )
        end = match.end()
    return out + text[end:]


def would_change(judgement: Judgement) -> str:
    """What evidence would change a verdict, in a sentence."""
    if judgement.answer == "not run":
        return "the results that its command makes; none of them are here."
    if judgement.answer == "undefined":
        return "more positive patients, or more seeds, so that an honest test exists."
    if not settles(judgement.evidence, judgement.needs):
        return "results on official data in the official setting, which alone can settle it; here, " + _here(
            judgement
        )
    return _here(judgement)


def _here(judgement: Judgement) -> str:
    if judgement.answer == "inconclusive":
        return "more seeds or patients, until the corrected interval leaves zero on one side."
    return "other seeds or patients whose corrected interval crosses zero."


def bibtex(version: str, evidence: Evidence) -> str:
    return (
        "@software{cxr_alignbench,\n"
        "  title   = {CXR-AlignBench: fair, reproducible comparison of image-text alignment methods in "
        "radiology},\n"
        f"  version = {{{version}}},\n"
        f"  note    = {{commit {evidence.commit or 'unknown'}}}\n"
        "}"
    )
