"""What must hold on any data: ties, constants, missing labels, single classes, clusters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from benchmark.core.errors import MetricUndefined
from benchmark.evaluation.statistics.curves import Curve
from benchmark.evaluation.statistics.influence import influence_table, patient_codes
from benchmark.evaluation.statistics.intervals import logit_interval
from benchmark.evaluation.statistics.metrics import RANK_METRICS, influenced
from benchmark.evaluation.statistics.panel import build_panels
from benchmark.evaluation.statistics.pooling import Support, averaged, support
from benchmark.evaluation.statistics.rare import (
    binormal_variance,
    effective_positives,
    moderated_variance,
    score_interval,
)
from benchmark.evaluation.statistics.strata import frequency_deciles, long_tail

SIZE = st.integers(4, 60)


@st.composite
def one_class(draw, tied=True):
    n = draw(SIZE)
    labels = draw(arrays(np.int8, n, elements=st.sampled_from([0, 1, -1])))
    values = st.integers(-5, 5) if tied else st.floats(-1e3, 1e3, allow_nan=False, width=32)
    scores = draw(arrays(np.float64, n, elements=values.map(float)))
    assume((labels == 1).any() and (labels == 0).any())
    return labels, scores


def trapezoid(labels, scores, weight=None):
    precision, recall, _ = precision_recall_curve(labels, scores, sample_weight=weight)
    return np.sum((recall[:-1] - recall[1:]) * (precision[:-1] + precision[1:]) / 2)


@given(one_class(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_values_equal_scikit_learn(data, constant):
    labels, scores = data
    if constant:
        scores = np.zeros_like(scores)
    keep = labels >= 0
    y, s = labels[keep], scores[keep]
    curve = Curve(s[y == 1], s[y == 0])
    assert influenced("auroc", curve)[0] == pytest.approx(roc_auc_score(y, s), abs=1e-12)
    step = average_precision_score(y, s)
    assert influenced("average_precision", curve)[0] == pytest.approx(step, abs=1e-12)
    assert influenced("auprc_trapezoid", curve)[0] == pytest.approx(trapezoid(y, s), abs=1e-12)


@given(one_class(), st.sampled_from(["exp", "cube", "scale"]), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_monotone_transforms_and_order_change_nothing(data, name, random):
    labels, scores = data
    transform = {"exp": np.exp, "cube": lambda x: x**3, "scale": lambda x: 1e-3 * x + 7}[name]
    order = np.array(random.sample(range(len(labels)), len(labels)))
    first = Curve(scores[labels == 1], scores[labels == 0])
    y, s = labels[order], transform(scores[order])
    second = Curve(s[y == 1], s[y == 0])
    for metric in RANK_METRICS:
        for a, b in zip(influenced(metric, first), influenced(metric, second), strict=True):
            assert np.sort(np.atleast_1d(a)) == pytest.approx(np.sort(np.atleast_1d(b)), abs=1e-12)


@given(one_class())
@settings(max_examples=60, deadline=None)
def test_influence_is_the_derivative_in_an_images_weight(data):
    labels, scores = data
    keep = labels >= 0
    y, s = labels[keep], scores[keep]
    found = [influenced(metric, Curve(s[y == 1], s[y == 0])) for metric in RANK_METRICS]
    values = np.array([value for value, _, _ in found])
    influence = np.zeros((len(found), len(y)))
    for row, (_, positive, negative) in zip(influence, found, strict=True):
        row[y == 1], row[y == 0] = positive, negative
    step = 1e-6
    for i in range(min(len(y), 5)):
        weight = np.ones(len(y))
        weight[i] += step
        moved = [
            roc_auc_score(y, s, sample_weight=weight),
            average_precision_score(y, s, sample_weight=weight),
            trapezoid(y, s, weight),
        ]
        assert (np.array(moved) - values) / step == pytest.approx(influence[:, i], abs=2e-5)
    assert influence.sum(axis=1) == pytest.approx(np.zeros(3), abs=1e-9)


def clustered(seed, n=240, per_patient=2, c=2):
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, c)) < 0.3).astype(np.int8)
    scores = labels + rng.standard_normal((n, c))
    return scores, labels, np.repeat(np.arange(n // per_patient), per_patient)


@given(st.integers(0, 1000), st.integers(2, 5))
@settings(max_examples=25, deadline=None)
def test_copies_of_images_within_patients_change_no_interval(seed, copies):
    """A patient whose images are all stored twice brings no information: width stays, it must not shrink."""
    scores, labels, codes = clustered(seed)
    once = influence_table(scores, labels, codes)
    many = influence_table(
        np.repeat(scores, copies, axis=0), np.repeat(labels, copies, axis=0), np.repeat(codes, copies)
    )
    assert many.values[0] == pytest.approx(once.values[0], abs=1e-12)
    assert np.square(many.influence[0]).sum(0) == pytest.approx(np.square(once.influence[0]).sum(0))


@pytest.mark.parametrize("copies", [2, 20])
@pytest.mark.parametrize("patients", [1, 5, 25])
def test_copies_of_positives_alone_change_no_interval(patients, copies):
    """No patient has two negatives, so nothing tells how alike a patient's images are."""
    rng = np.random.default_rng(patients)
    labels = (np.arange(300) < patients)[:, None].astype(np.int8)
    scores = rng.standard_normal((300, 1)) + 1.2 * labels
    rows = np.concatenate([np.repeat(np.arange(patients), copies), np.arange(patients, 300)])
    once = build_panels(scores, labels, np.arange(300), 300, ["x"], {})["auroc"].interval(0, 0.95)
    more = build_panels(scores[rows], labels[rows], rows, 300, ["x"], {})["auroc"].interval(0, 0.95)
    assert (more.low, more.high) == pytest.approx((once.low, once.high), abs=0.005)


@given(st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_as_many_new_patients_halve_the_variance(seed):
    scores, labels, codes = clustered(seed)
    once = influence_table(scores, labels, codes)
    twice = influence_table(
        np.tile(scores, (2, 1)), np.tile(labels, (2, 1)), np.concatenate([codes, codes + codes.max() + 1])
    )
    ratio = np.square(twice.influence[0]).sum(0) / np.square(once.influence[0]).sum(0)
    assert ratio == pytest.approx(np.full(2, 0.5), abs=0.01)


def test_an_image_without_a_patient_is_one_of_its_own():
    codes, clusters, known = patient_codes(np.array(["a", "", "b", None, "a"], dtype=object), 5)
    assert codes.tolist() == [0, 1, 2, 3, 0]
    assert (clusters, known) == (4, True)
    assert patient_codes(np.array(["", None], dtype=object), 2)[2] is False


def test_clustered_variance_is_obuchowskis_where_patients_have_equal_shares():
    rng = np.random.default_rng(0)
    scores, labels, codes = clustered(1, c=1)
    labels[:, 0] = codes % 3 == 0
    scores = np.round(scores, 1)
    table = influence_table(scores, labels, codes)
    y, s = labels[:, 0], scores[:, 0]
    psi = (s[y == 1][:, None] > s[y == 0]) + 0.5 * (s[y == 1][:, None] == s[y == 0])
    theta, m, n = psi.mean(), (y == 1).sum(), (y == 0).sum()
    patients = codes.max() + 1
    x = np.bincount(codes[y == 1], psi.mean(axis=1) - theta, patients)
    z = np.bincount(codes[y == 0], psi.mean(axis=0) - theta, patients)
    i10, i01 = len(np.unique(codes[y == 1])), len(np.unique(codes[y == 0]))
    s10, s01 = i10 / ((i10 - 1) * m) * (x @ x), i01 / ((i01 - 1) * n) * (z @ z)
    s11 = patients / (patients - 1) * (x @ z)
    variance = s10 / m + s01 / n + 2 * s11 / (m * n)
    assert np.square(table.influence[0, :, 0]).sum() == pytest.approx(variance, rel=0.01)
    assert table.var_pos[0] == pytest.approx(s10 / m)
    assert table.var_neg[0] == pytest.approx(s01 / n)
    order = rng.permutation(len(codes))
    again = influence_table(scores[order], labels[order], rng.permutation(patients)[codes][order])
    assert np.square(again.influence).sum() == pytest.approx(np.square(table.influence).sum())


def test_what_images_of_one_patient_share_is_counted_as_defined():
    """ρ is the mean over pairs of negatives of one patient of the product of their centred ranks."""
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(40), rng.integers(1, 5, 40))
    shared = 2 * rng.standard_normal(40)[codes]
    labels = (rng.random((len(codes), 2)) < 0.3).astype(np.int8)
    scores = np.stack(
        [shared + rng.standard_normal(len(codes)), np.where(np.arange(len(codes)) % 2, 9, -9)], 1
    )
    scores[:, 1] += rng.random(len(codes))
    table = influence_table(scores, labels, codes)
    for j in range(2):
        own, score = codes[labels[:, j] == 0], scores[labels[:, j] == 0, j]
        ranks = stats.rankdata(score) - (len(score) + 1) / 2
        pairs = [(a, b) for a in range(len(own)) for b in range(len(own)) if a != b and own[a] == own[b]]
        correlation = np.mean([ranks[a] * ranks[b] for a, b in pairs]) / np.mean(ranks**2)
        assert table.icc[j] == pytest.approx(max(correlation, 0))
        images = np.bincount(codes[labels[:, j] == 1])
        assert table.weight_pos[j] == pytest.approx((images**2).sum() / images.sum())
        effective = images.sum() / (1 + (table.weight_pos[j] - 1) * table.icc[j])
        assert effective_positives(table)[j] == pytest.approx(effective)
    assert table.icc[0] > 0.5
    assert table.icc[1] == 0, "images of a patient that differ more than those of two are no more than unlike"


@pytest.mark.parametrize(
    ("patients", "together"),
    [((40, 10, 3), (2, 1)), ((40, 10, 10), (1, 2)), ((40, 14, 3), (2, 1)), ((40, 14, 12), ())],
)
def test_positives_of_rare_classes_are_centred_at_one_mean(patients, together):
    """Against the formula of `pooling`, unit by unit: with ten positive patients a class is rare, and the
    next rarest is taken in until ten units are together."""
    rng = np.random.default_rng(5)
    codes = np.repeat(np.arange(60), 2)
    labels = np.zeros((120, 3), dtype=np.int8)
    for j, count in enumerate(patients):
        labels[: 2 * count : 2, j] = 1
        labels[1 : 2 * count : 6, j] = 1  # every third patient has two positive images
    scores = labels * [0.5, 1.0, 1.5] + rng.standard_normal((120, 3))
    table, weights = influence_table(scores, labels, codes), np.array([0.5, 0.2, 0.3])
    parts, units, q = np.zeros((60, 3)), [], []
    for c in range(3):
        pos, neg = np.flatnonzero(labels[:, c] == 1), np.flatnonzero(labels[:, c] == 0)
        psi = (scores[pos, c][:, None] > scores[neg, c]).astype(float)
        placed = (psi.mean(axis=0) - psi.mean()) / len(neg)
        held = np.bincount(codes[neg], minlength=60) / len(neg)
        parts[:, c] = np.bincount(codes[neg], placed, 60) / np.sqrt(1 - 2 * held + (held**2).sum())
        for p in np.unique(codes[pos]):
            share = np.mean(codes[pos] == p)
            q.append((weights[c] * share) ** 2)
            units.append((c, p, share, psi[codes[pos] == p].mean()))
    for c in range(3):
        group = together if c in together else (c,)
        own = [unit for unit in units if unit[0] in group]
        # Of a class alone the centre is its own mean, in which images count.
        centre = np.mean([u[3] for u in own]) if c in together else np.sum([u[2] * u[3] for u in own])
        squares = np.sum([u[2] ** 2 for u in own])
        for _, p, share, y in (unit for unit in own if unit[0] == c):
            kept = 1 - 1 / len(own) if c in together else 1 - 2 * share + squares
            parts[p, c] += share * (y - centre) / np.sqrt(kept)
    total, group, squares = averaged(table, "auroc", weights)
    assert total == pytest.approx(parts @ weights)
    assert tuple(group) == together
    assert squares == pytest.approx(np.square(parts[:, list(together)]).sum(axis=0))
    found = support(table, weights)
    alone = 3 - len(together) + bool(together)
    assert (found.patients, found.freedom) == (40, min(sum(patients) - alone, 39))
    assert found.worth == pytest.approx(sum(q) ** 2 / np.square(q).sum())
    first = support(table, np.array([1.0, 0, 0]))
    assert (first.patients, first.freedom) == (40, 39)
    assert support(table, np.zeros(3)) == Support(0, 0.0, 0.0)
    labels[:] = np.arange(120)[:, None] < 6  # the same three patients, in every class
    assert support(influence_table(scores, labels, codes), np.full(3, 1 / 3)).worth == 3
    labels[:] = 0
    labels[:24:2, 0], labels[24:42:2, 1], labels[42:48:2, 2] = 1, 1, 1  # patients of their own: 12, 9 and 3
    apart = support(influence_table(scores, labels, codes), np.full(3, 1 / 3))
    assert (apart.patients, apart.freedom) == (24, 22), (
        "one mean of the first class, one of the two rare ones"
    )


@pytest.mark.parametrize(("least", "both"), [(4, True), (5, True), (6, False)])
def test_levels_are_compared_on_the_classes_that_each_of_them_can_show(least, both):
    """Class b has five positives among men; where six are asked for, women are shown without it too."""
    scores, labels, codes = clustered(7)
    sex = np.where(codes % 2, "M", "F")
    labels[(sex == "M") & (np.cumsum((sex == "M") * labels[:, 1]) > 5), 1] = 0
    panel = build_panels(scores, labels, codes, 120, ["a", "b"], {}, {"sex": sex}, minimum=least)["auroc"]
    for level in "FM":
        (k,) = (i for i, c in enumerate(panel.columns) if c.stratum == f"sex={level}")
        own = [roc_auc_score(labels[sex == level, j], scores[sex == level, j]) for j in range(2)]
        assert panel.values[k] == pytest.approx(np.mean(own) if both else own[0])


@pytest.mark.parametrize("rows", [100, 20])
def test_classes_and_their_mean_have_the_moderated_variance(rows):
    """Of classes centred together it stands in place of the squares that they then add on their own."""
    scores, labels, codes = clustered(6, c=3)
    labels[rows:, 0] = 0
    table = influence_table(scores, labels, codes)
    variance, df = moderated_variance(table)
    own = np.square(table.influence[0]).sum(axis=0)
    assert np.abs(variance / own - 1).max() > 0.05
    panel = build_panels(scores, labels, codes, 120, list("abc"), {})["auroc"]
    for k in range(3):
        assert panel.variance(k) == pytest.approx(variance[k])
        found = panel.interval(k, 0.9)
        limits = logit_interval(panel.values[k], variance[k], df[k], 0.9)
        assert (found.low, found.high) == pytest.approx(limits)
    for name, weights in (("macro", np.ones(3)), ("weighted", table.n_pos)):
        share = weights / weights.sum()
        (k,) = (i for i, c in enumerate(panel.columns) if (c.name, c.stratum) == (name, "all"))
        assert panel.values[k] == pytest.approx(table.values[0] @ share)
        total, group, squares = averaged(table, "auroc", share)
        replaced = own.copy()
        replaced[group] = squares
        expected = total @ total + np.square(share) @ (variance - replaced)
        assert bool(len(group)) == (rows == 20)
        assert panel.variance(k) == pytest.approx(expected)


@pytest.mark.parametrize("theta", [0.3, 0.6, 0.9, 0.98])
def test_the_binormal_variance_is_that_of_a_placement(theta):
    shift = np.sqrt(2) * stats.norm.ppf(theta)
    square = stats.norm(shift).expect(lambda x: stats.norm.cdf(x) ** 2)
    assert binormal_variance(np.array(theta)) == pytest.approx(square - theta**2, abs=1e-8)


def test_a_moderated_variance_weighs_the_model_as_twenty_patients():
    scores, labels, codes = clustered(4, c=3)
    labels[12:, 0] = 0  # few positives
    labels[:, 1], labels[:2, 1], labels[2, 1] = -1, 1, 0  # one patient with positives, one with a negative
    labels[:, 2] = 0
    table = influence_table(scores, labels, codes)
    variance, df = moderated_variance(table)
    assert table.n_ignored.tolist() == [0, 237, 0]
    assert table.n_patients.tolist() == [120, 2, 120], "a patient with both sides counts once"
    assert df[:2].tolist() == [19 + table.pos_patients[0], 19 + table.pos_patients[1]]
    assert np.isnan(variance[2])
    for j in range(2):
        theta = np.clip(table.values[0, j], 0.02, 0.98)
        model = binormal_variance(theta) / effective_positives(table)[j]
        positive = (20 * model + (table.pos_patients[j] - 1) * table.var_pos[j]) / df[j]
        assert variance[j] == pytest.approx(positive + (model if j else table.var_neg[j]))


def test_limits_of_a_score_interval_are_the_last_values_not_rejected():
    low, high = score_interval(0.8, 6.0, 30, 12.0, 0.9)
    for limit in (low, high):
        reach = stats.t.ppf(0.95, 12) * np.sqrt(binormal_variance(np.array(limit)) * (1 / 6 + 1 / 30))
        assert abs(0.8 - limit) == pytest.approx(reach, abs=2e-3)
    assert low < 0.8 < high
    assert score_interval(1.0, 6.0, 30, 12.0, 0.9)[1] == 1
    assert score_interval(0.0, 6.0, 30, 12.0, 0.9)[0] == 0


def test_analytic_interval_brackets_any_value_even_with_one_positive():
    rng = np.random.default_rng(2)
    for positives in (1, 2, 3, 5):
        for shift in (-20, 0, 1, 20):
            labels = np.zeros((80, 1), dtype=np.int8)
            labels[:positives] = 1
            scores = rng.standard_normal((80, 1)) + shift * labels
            panel = build_panels(scores, labels, np.arange(80), 80, ["x"], {})["auroc"]
            found = panel.interval(0, 0.95)
            assert 0 <= found.low <= found.value <= found.high <= 1
            assert found.high - found.low > 0.05
            assert f"few positive patients ({positives})" in found.note
            step = build_panels(scores, labels, np.arange(80), 80, ["x"], {})["average_precision"]
            other = step.interval(0, 0.95)
            assert ("positives of one patient" in other.note) == (positives == 1)
            assert np.isnan(other.low) or 0 <= other.low <= other.value <= other.high <= 1


@given(one_class())
@settings(max_examples=30, deadline=None)
def test_a_class_without_one_side_is_undefined(data):
    labels, scores = data
    for side in (0, 1):
        single = np.where(labels == side, np.int8(-1), labels)
        with pytest.raises(MetricUndefined, match="no (positive|negative|labelled) image"):
            influenced("auroc", Curve(scores[single == 1], scores[single == 0]))


@given(arrays(np.int64, st.integers(1, 40), elements=st.integers(0, 300)))
@settings(deadline=None)
def test_long_tail_covers_every_class_by_the_official_rule(counts):
    names = [str(i) for i in range(len(counts))]
    groups = long_tail(counts, names)
    theta = np.percentile(counts, 65)
    assert set().union(*groups.values()) == set(names)
    assert set(groups["tail"]) == {n for n, c in zip(names, counts, strict=True) if c <= 10}
    assert set(groups["head"]) == {n for n, c in zip(names, counts, strict=True) if c > theta}
    deciles = frequency_deciles(counts, names)
    assert sorted(n for part in deciles.values() for n in part) == sorted(names)


def test_official_metrics_agree_on_their_fixtures(official):
    for case in ("random", "padchest_protocol", "openi_protocol", "all_rare"):
        with np.load(official / "carzero_metrics" / f"{case}.npz") as file:
            if "in/labels" not in file or "out/per_class_auprc" not in file:
                continue
            labels, scores = file["in/labels"], file["in/scores"]
            table = influence_table(scores, labels, np.arange(len(labels)))
            trapezoid = table.values[RANK_METRICS.index("auprc_trapezoid")]
            assert table.values[0] == pytest.approx(file["out/per_class_auc"], abs=1e-9)
            assert trapezoid == pytest.approx(file["out/per_class_auprc"], abs=1e-9)
            names = [str(i) for i in range(labels.shape[1])]
            groups = long_tail(labels.sum(axis=0), names)
            for group in ("head", "medium", "tail"):
                assert [int(i) for i in groups[group]] == list(file[f"out/{group}"])
