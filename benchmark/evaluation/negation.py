"""Whether a score knows "there is" from "there is no": ranks of absence, and choice among statements.

Choice follows CXR-Align (Ko & Park, CVPR 2025, arXiv:2505.22079): of a report that states a finding of the
image, the same report with the finding denied, and the same without a word of it, the first must score
highest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.core.hashing import derive_seed
from benchmark.core.settings import StatisticsConfig
from benchmark.evaluation.evaluate import evaluate
from benchmark.evaluation.statistics.metric_values import values_of
from benchmark.evaluation.statistics.trials import Trials, wins
from benchmark.evaluation.trial_rows import Rows, trial_rows

FORMS = ("true", "negated", "omitted")
"""What the three statements about an image say of one finding that it shows."""
BESIDE = 2
"""Other findings of the image that a statement names at most, beside one that the image does not show."""


@dataclass(frozen=True)
class Statements:
    """images: (I,) rows of the evaluation set. texts: (I, 3), in the order of FORMS."""

    images: np.ndarray
    texts: tuple[tuple[str, str, str], ...]


def statements_of(
    labels: np.ndarray,
    images: Sequence[str],
    present: Sequence[str],
    absent: Sequence[str],
    most: int,
) -> Statements:
    """Statements about at most `most` images that show a finding, chosen by a hash of their id.

    labels: (N, C) in {1, 0, -1}. images: (N,) ids. present, absent: (C,) sentences that state and deny each
    class. A text names one finding, at most BESIDE others of the image, and denies one that it does not show,
    in an order drawn by the id; without the last, an omission would leave nothing of many texts.
    """
    usable = [i for i in range(len(images)) if (labels[i] == 1).any() and (labels[i] == 0).any()]
    order = sorted(usable, key=lambda i: (derive_seed(0, "negation", images[i]), images[i]))
    rows = np.array(sorted(order[:most]), dtype=np.int64)
    texts = []
    for i in rows.tolist():
        rng = np.random.default_rng(derive_seed(0, "statement", images[i]))
        here, away = rng.permutation(np.flatnonzero(labels[i] == 1)), np.flatnonzero(labels[i] == 0)
        asked, beside = here[0], here[1 : 1 + BESIDE]
        others = [*(present[c] for c in beside), absent[rng.choice(away)]]
        place = int(rng.integers(len(others) + 1))
        others = [others[k] for k in rng.permutation(len(others))]

        def said(*sentence: str, others: list[str] = others, place: int = place) -> str:
            return " ".join(f"{s}." for s in (*others[:place], *sentence, *others[place:]))

        texts.append((said(present[asked]), said(absent[asked]), said()))
    return Statements(rows, tuple(texts))


def choice_rows(scores: np.ndarray, codes: np.ndarray, clusters: int, level: float) -> Rows:
    """`choice_<form>`: how often each of the three statements scores highest, a third by chance, ties shared;
    `true_over_<form>`: how often the true one beats one of the others, a half by chance.

    scores: (I, 3) in the order of FORMS. codes: (I,) patients 0..clusters-1.
    """
    top = scores == scores.max(axis=1, keepdims=True)
    share = top / top.sum(axis=1, keepdims=True)
    rows: Rows = []
    for k, form in enumerate(FORMS):
        rows += trial_rows(
            f"choice_{form}", [Trials("all", share[:, k], codes)], clusters, level, "chance 1/3"
        )
    for k, form in enumerate(FORMS[1:], start=1):
        won = wins(scores[:, 0], scores[:, k])
        rows += trial_rows(f"true_over_{form}", [Trials("all", won, codes)], clusters, level, "chance 1/2")
    return rows


def polarity_rows(
    positive: np.ndarray,
    negated: np.ndarray,
    labels: np.ndarray,
    patients: np.ndarray,
    classes: Sequence[str],
    strata: Mapping[str, Sequence[str]],
    config: StatisticsConfig,
) -> Rows:
    """`auroc_present`: AUROC of presence by positive prompts; `auroc_absent`: of absence by their denials;
    `auroc_contrast`: of presence by the difference. A score that reads over "no" has 1 minus the first for
    the second. By class, macro and stratum.

    positive, negated: (N, C) scores of the two prompts of each class. labels: (N, C) in {1, 0, -1}.
    """
    plain = config.model_copy(update={"thresholded": False})
    rows: Rows = []
    for metric, scores in (
        ("auroc_present", positive),
        ("auroc_absent", -negated),
        ("auroc_contrast", positive - negated),
    ):
        frame = evaluate(scores, labels, patients, classes, strata=strata, config=plain)
        kept = frame[(frame["metric"] == "auroc") & ~frame["class"].isin(["micro", "weighted"])]
        rows += values_of(kept.assign(metric=metric))
    return rows


def preference_rows(
    positive: np.ndarray,
    negated: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    codes: np.ndarray,
    clusters: int,
    level: float,
) -> Rows:
    """`present_over_denied`: share of images with a finding that score "there is" above "there is no";
    `denied_over_present`: share of images without it that score the denial higher. A score that prefers one
    of the two whatever the image shows has 1 in one and 0 in the other."""
    rows: Rows = []
    for metric, state, won in (
        ("present_over_denied", 1, wins(positive, negated)),
        ("denied_over_present", 0, wins(negated, positive)),
    ):
        there = [labels[:, c] == state for c in range(len(classes))]
        groups = [
            Trials(name, won[own, c], codes[own])
            for c, (name, own) in enumerate(zip(classes, there, strict=True))
        ]
        rows += trial_rows(metric, groups, clusters, level, "")
    return rows


def scored_in_parts(
    statements: Statements, score: Callable[[np.ndarray, list[str]], np.ndarray], part: int = 32
) -> np.ndarray:
    """(I, 3) scores of each image with its own texts. score: (rows of the evaluation set, texts) → (n, T)
    scores; it is asked for `part` images at a time, as all images with all texts would be far more."""
    found = np.empty((len(statements.images), len(FORMS)), np.float32)
    for first in range(0, len(found), part):
        own = statements.texts[first : first + part]
        scores = score(statements.images[first : first + part], [text for three in own for text in three])
        each = scores.reshape(len(own), len(own), len(FORMS))
        found[first : first + part] = each[np.arange(len(own)), np.arange(len(own))]
    return found
