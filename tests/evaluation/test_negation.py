"""Negation on scores whose answer is known, and the statements that images are asked with."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.core.settings import StatisticsConfig
from benchmark.evaluation.negation import (
    FORMS,
    choice_rows,
    polarity_rows,
    preference_rows,
    scored_in_parts,
    statements_of,
)

CLASSES = ("a", "b", "c")
PRESENT = [f"There is {c}" for c in CLASSES]
ABSENT = [f"There is no {c}" for c in CLASSES]
IMAGES = [f"i{k}" for k in range(40)]
LABELS = (np.random.default_rng(0).random((40, 3)) < 0.4).astype(np.int8)
PATIENTS = np.array([f"p{k // 2}" for k in range(40)])
CODES = np.arange(40) // 2


def value(rows, metric, name="macro"):
    return next(r.value for r in rows if (r.metric, r.cls, r.stratum) == (metric, name, "all"))


@pytest.mark.parametrize(("sign", "absent", "contrast"), [(-1.0, 1.0, 1.0), (1.0, 0.0, 0.5), (0.0, 0.5, 1.0)])
def test_a_score_that_reads_over_no_ranks_absence_upside_down(sign, absent, contrast):
    seen = LABELS + np.random.default_rng(1).random((40, 3)) / 10
    rows = polarity_rows(seen, sign * seen, LABELS, PATIENTS, CLASSES, {}, StatisticsConfig())
    assert value(rows, "auroc_present") == 1
    assert value(rows, "auroc_absent") == pytest.approx(absent)
    assert value(rows, "auroc_contrast") == pytest.approx(contrast)
    assert {r.cls for r in rows} == {*CLASSES, "macro"}


def test_a_score_that_always_denies_has_one_and_zero():
    positive, negated = np.zeros((40, 3)), np.ones((40, 3))
    rows = preference_rows(positive, negated, LABELS, CLASSES, CODES, 20, 0.95)
    assert value(rows, "present_over_denied") == 0
    assert value(rows, "denied_over_present") == 1
    right = preference_rows(LABELS * 1.0, 1.0 - LABELS, LABELS, CLASSES, CODES, 20, 0.95)
    assert value(right, "present_over_denied") == value(right, "denied_over_present") == 1
    tied = preference_rows(positive, positive, LABELS, CLASSES, CODES, 20, 0.95)
    assert value(tied, "present_over_denied") == value(tied, "denied_over_present", "b") == 0.5


def test_statements_say_one_finding_in_three_ways():
    found = statements_of(LABELS, IMAGES, PRESENT, ABSENT, 10)
    assert len(found.images) == 10
    for row, (true, negated, omitted) in zip(found.images, found.texts, strict=True):
        said, denied, kept = ([s for s in text.split(".") if s] for text in (true, negated, omitted))
        said, denied, kept = ([s.strip() for s in text] for text in (said, denied, kept))
        (asked,) = set(said) - set(kept)
        (against,) = set(denied) - set(kept)
        assert LABELS[row, PRESENT.index(asked)] == 1
        assert against == ABSENT[PRESENT.index(asked)]
        assert [s for s in said if s != asked] == [s for s in denied if s != against] == kept
        assert all(LABELS[row, PRESENT.index(s)] == 1 for s in kept if s in PRESENT)
        assert sum(s in ABSENT and LABELS[row, ABSENT.index(s)] == 0 for s in kept) == 1


def test_statements_do_not_depend_on_the_order_of_the_images_and_skip_unknown_labels():
    order = np.random.default_rng(2).permutation(40)
    once = statements_of(LABELS, IMAGES, PRESENT, ABSENT, 10)
    again = statements_of(LABELS[order], [IMAGES[k] for k in order], PRESENT, ABSENT, 10)
    first = {IMAGES[row]: texts for row, texts in zip(once.images, once.texts, strict=True)}
    assert {IMAGES[order[row]]: t for row, t in zip(again.images, again.texts, strict=True)} == first
    assert not statements_of(np.where(LABELS == 1, -1, LABELS), IMAGES, PRESENT, ABSENT, 10).texts


def test_choice_counts_the_highest_and_shares_ties():
    scores = np.array([[3.0, 1, 2], [1, 3, 2], [1, 1, 1], [2, 2, 0]])
    rows = choice_rows(scores, np.arange(4), 4, 0.95)
    assert [value(rows, f"choice_{form}") for form in FORMS] == pytest.approx([11 / 24, 11 / 24, 1 / 12])
    assert value(rows, "true_over_negated") == 0.5
    assert value(rows, "true_over_omitted") == pytest.approx(2.5 / 4)


def test_each_image_is_scored_with_its_own_texts():
    found = statements_of(LABELS, IMAGES, PRESENT, ABSENT, 9)
    number = {text: k for k, text in enumerate(dict.fromkeys(t for own in found.texts for t in own))}

    def score(rows, texts):
        return rows[:, None] * 1000.0 + np.array([number[t] for t in texts])

    whole = scored_in_parts(found, score, part=4)
    want = [
        [row * 1000.0 + number[t] for t in own] for row, own in zip(found.images, found.texts, strict=True)
    ]
    np.testing.assert_array_equal(whole, want)
