"""Words of the page: its glossary, what would change a verdict, and how to cite it."""

from __future__ import annotations

from collections.abc import Mapping

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
    "test finds with 80% power; none where a score cannot be that much better.",
    "Floor": "What needs no image-text alignment: untrained or shuffled methods, a thumbnail, age and sex. A "
    "method must exceed it.",
    "Ceiling": "A supervised probe on the same features, which learns from true labels.",
    "Synthetic twin": "Generated images and reports in the official layout. No patient is in it.",
    "Head, medium, tail": "Groups of classes by how many positives they have, by the card's official rule.",
    "Protocol": "A named way to evaluate a set: its images, classes, and what uncertain labels count as.",
    "Holm": "A correction of p values for the number of tests of one declared family.",
    "Seed": "One training from one random start; intervals hold the spread over seeds too.",
}


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
