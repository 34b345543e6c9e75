"""Intervals of decisions cover where positives are few, and are those of scipy elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmark.evaluation.evaluate import StatisticsConfig, evaluate
from benchmark.evaluation.statistics.decision_intervals import (
    decision_interval,
    mean_of_decisions,
    rate_interval,
)
from benchmark.evaluation.statistics.thresholds import (
    F1,
    MCC,
    RECALL,
    Thresholds,
    cluster_counts,
    decision,
    fit_thresholds,
)

METRICS = {"f1": F1, "mcc": MCC, "sensitivity_at_specificity_0.9": RECALL}
IMAGES = 1000
AT = 2.0
"""Threshold; positives lie 1.5 standard deviations higher than negatives."""
FOUND, FALSE = stats.norm.sf(AT - 1.5), stats.norm.sf(AT)


def rows(rng: np.random.Generator, positives: list[int], alike: float = 0.0, images: int = 1):
    """The rows of one made-up evaluation set; the positives of a class are whole patients of `images` images,
    whose scores correlate by `alike`."""
    labels = np.zeros((IMAGES, len(positives)), dtype=np.int8)
    for j, count in enumerate(positives):
        first = rng.choice(IMAGES // images, max(count // images, 1), replace=False) * images
        labels[(first[:, None] + np.arange(min(images, count))).ravel(), j] = 1
    codes = np.arange(IMAGES) // images
    shared = rng.standard_normal((IMAGES // images, len(positives)))[codes]
    scores = np.sqrt(1 - alike) * rng.standard_normal(labels.shape) + np.sqrt(alike) * shared + 1.5 * labels
    names = [f"c{j}" for j in range(len(positives))]
    frame = evaluate(
        scores, labels, codes.astype(str), names,
        thresholds=Thresholds({metric: dict.fromkeys(names, AT) for metric in METRICS}),
        config=StatisticsConfig(thresholded=True, draws=100, top_k=()),
    )  # fmt: skip
    return frame[(frame.stratum == "all") & frame.metric.isin(METRICS)]


def truth(positives: list[int]) -> dict[str, np.ndarray]:
    """Metric → (C,) value of the counts that are expected."""
    n = np.array(positives)
    counts = np.stack([n * FOUND, (IMAGES - n) * FALSE, n * (1 - FOUND), (IMAGES - n) * (1 - FALSE)], axis=-1)
    return {name: metric.of(counts) for name, metric in METRICS.items()}


@pytest.mark.parametrize(("alike", "images"), [(0.0, 1), (0.6, 4)])
def test_the_interval_of_a_class_covers_at_every_number_of_positives(alike, images):
    """MCC of a class with one positive covered 30%, with three 65%, and nothing marked it."""
    rng, positives = np.random.default_rng(0), [1, 2, 4, 8, 20, 100]
    expected = truth(positives)
    inside = {name: np.zeros(len(positives)) for name in METRICS}
    for _ in range(60):
        frame = rows(rng, positives, alike, images)
        for name in METRICS:
            own = frame[(frame.metric == name) & (frame["class"] != "macro")]
            assert own.low.notna().all()
            inside[name] += (own.low <= expected[name]) & (expected[name] <= own.high)
            few = own.note.str.contains("few positive patients")
            assert list(few) == [n / images < 20 for n in positives]
    for name, count in inside.items():
        assert (count / 60 > 0.83).all(), (name, count / 60)
        assert count.mean() / 60 > 0.93, (name, count / 60)


@pytest.mark.parametrize("positives", [[1] * 12, [3] * 12, [1, 1, 2, 3, 5, 8, 12, 20, 40, 80, 150, 300]])
def test_the_interval_of_a_mean_over_rare_classes_covers(positives):
    rng = np.random.default_rng(1)
    expected = {name: values.mean() for name, values in truth(positives).items()}
    inside = dict.fromkeys(METRICS, 0)
    for _ in range(60):
        frame = rows(rng, positives).set_index(["class", "metric"])
        for name in METRICS:
            row = frame.loc[("macro", name)]
            inside[name] += row.low <= expected[name] <= row.high
    assert min(inside.values()) >= 52, inside


def test_a_mean_over_classes_none_of_whose_positives_is_found_has_a_width():
    counts = [np.zeros((50, 4)) for _ in range(6)]
    for c, own in enumerate(counts):
        own[c, 2], own[10:13, 1], own[20:, 3] = 1, 1, 1
    for metric in METRICS.values():
        found = [decision(own, metric) for own in counts]
        influence, lacking = mean_of_decisions([one for one in found if one])
        assert influence @ influence + lacking > 0


def test_a_rate_of_one_image_a_patient_has_the_limits_of_wilson():
    above = np.zeros(4000)
    above[:37] = 1
    expected = stats.binomtest(37, 4000).proportion_ci(method="wilson")
    assert rate_interval(above, np.ones(4000), 0.95) == pytest.approx((expected.low, expected.high), rel=2e-3)
    low, high = rate_interval(np.zeros(5), np.ones(5), 0.95)
    assert low == 0
    assert 0.43 < high < 0.5


def test_images_of_one_patient_that_are_decided_alike_count_as_one():
    alone = rate_interval(np.repeat([1.0, 0.0], [30, 70]), np.ones(100), 0.95)
    alike = rate_interval(np.repeat([5.0, 0.0], [30, 70]), np.full(100, 5.0), 0.95)
    assert alike == pytest.approx(alone, rel=1e-9)


def test_limits_of_f1_come_from_those_of_its_rates():
    """Where no negative is called and the prevalence hardly moves it, F1 follows the sensitivity alone."""
    labels = np.repeat([1, 0], [40, 40_000])
    counts = cluster_counts(labels, np.repeat([1.0, 0.0], [20, 40_020]), 0.5, np.arange(40_040), 40_040)
    low, high = decision_interval(counts, F1.of, 0.95)
    at = [2 * s / (1 + s) for s in rate_interval(counts[:40, 0], np.ones(40), 0.95)]
    assert high == pytest.approx(at[1], rel=0.01)
    assert low < at[0], "one false call among 40,000 may be missing"


def test_a_sensitivity_that_one_patient_decides_has_no_interval_of_no_width():
    """Every draw with the one positive finds it: [1, 1] was printed as the interval of a certain value."""
    rng = np.random.default_rng(2)
    scores, labels = rng.random((200, 2)), np.zeros((200, 2), dtype=np.int8)
    labels[0, 0], scores[0, 0], labels[:40, 1] = 1, 2.0, 1
    frame = evaluate(
        scores, labels, None, ["a", "b"], thresholds=fit_thresholds(scores, labels, ["a", "b"], 0.9),
        config=StatisticsConfig(thresholded=True, draws=100, top_k=(1,)),
    )  # fmt: skip
    drawn = frame[frame.metric.str.endswith("_max_test_set") & (frame["class"] == "a")].set_index("metric")
    assert drawn.value.loc["sensitivity_at_specificity_0.9_max_test_set"] == 1
    width = drawn.high - drawn.low
    assert (width.isna() | (width > 0)).all()
    assert drawn.note.str.contains("few positive patients|draws do not differ").all()
    assert not frame[frame.metric == "ece"].note.str.contains("few positive").any()
