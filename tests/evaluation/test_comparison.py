from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from benchmark.core.errors import DataError
from benchmark.core.tables import METRIC_COLUMNS
from benchmark.evaluation.comparison import (
    COMPARISON_COLUMNS,
    RANK_COLUMNS,
    Run,
    compare,
    over_seeds,
    ranking,
    summarise_runs,
)
from benchmark.evaluation.evaluate import evaluate
from benchmark.evaluation.statistics.bootstrap import bootstrap
from benchmark.evaluation.statistics.metric_values import RowIdentity
from benchmark.evaluation.statistics.multiplicity import benjamini_hochberg, holm, holm_levels
from benchmark.evaluation.statistics.paired import contrasts, difference, minimum_detectable, predicted_power
from benchmark.evaluation.statistics.ranks import rank_methods
from benchmark.evaluation.statistics.reach import WITHHELD


def delong(y: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Difference and variance by the textbook formula, pair by pair."""
    v10, v01 = [], []
    for s in (a, b):
        psi = (s[y == 1][:, None] > s[y == 0]) + 0.5 * (s[y == 1][:, None] == s[y == 0])
        v10.append(psi.mean(axis=1))
        v01.append(psi.mean(axis=0))
    contrast = np.array([1, -1])
    variance = contrast @ (np.cov(v10) / (y == 1).sum() + np.cov(v01) / (y == 0).sum()) @ contrast
    return float(v10[0].mean() - v10[1].mean()), float(variance)


def experiment(rng, effect=0.0, seeds=3, n=600, per_patient=2, spread=0.2):
    """Two methods that see the same images; each training has its own noise and its own skill."""
    labels = (rng.random((n, 2)) < 0.15).astype(np.int8)
    patient = np.repeat(rng.standard_normal((n // per_patient, 2)), per_patient, axis=0)
    image = rng.standard_normal((n, 2))
    runs = []
    for method, shift in (("a", effect), ("b", 0.0)):
        for seed in range(seeds):
            skill = 1 + shift + spread * rng.standard_normal()
            noise = rng.standard_normal((n, 2))
            runs.append(Run(method, seed, skill * labels + 0.6 * patient + 0.6 * image + 0.5 * noise))
    return runs, labels, np.repeat(np.arange(n // per_patient), per_patient).astype(str)


def test_one_seed_without_clusters_is_the_paired_delong_test():
    rng = np.random.default_rng(0)
    runs, labels, _ = experiment(rng, effect=0.4, seeds=1)
    runs = [Run(r.method, r.seed, np.round(r.scores, 1)) for r in runs]
    frame = compare(summarise_runs(runs, labels, None, ["x", "y"]))
    assert tuple(frame.columns) == COMPARISON_COLUMNS
    for j, name in enumerate(["x", "y"]):
        row = frame[(frame["class"] == name) & (frame.metric == "auroc")].iloc[0]
        delta, variance = delong(labels[:, j], runs[0].scores[:, j], runs[1].scores[:, j])
        assert row.delta == pytest.approx(delta)
        assert row.se**2 == pytest.approx(variance, rel=1e-4)
        assert row.p == pytest.approx(2 * stats.t.sf(abs(delta) / row.se, row.df))
        reach = stats.t.ppf(0.975, row.df) * row.se
        assert (row.low, row.high) == pytest.approx((delta - reach, delta + reach))
        assert (row.value_a, row.value_b) == pytest.approx(
            tuple(roc_auc_score(labels[:, j], run.scores[:, j]) for run in runs)
        )
        assert "one seed" in row.note
        assert "image-level" in row.note


def test_agrees_with_the_paired_bootstrap():
    rng = np.random.default_rng(1)
    runs, labels, patients = experiment(rng, effect=0.3, seeds=1, n=1500)
    row = compare(summarise_runs(runs, labels, patients, ["x", "y"])).query("`class` == 'macro'").iloc[0]
    codes = pd.factorize(patients)[0]
    draws = [
        bootstrap(r.scores, labels, codes, codes.max() + 1, seed=0, metrics=("auroc",)).values[0]
        for r in runs
    ]
    paired = (draws[0] - draws[1]).mean(axis=1)
    assert paired.std() == pytest.approx(row.se, rel=0.06)
    assert paired.mean() == pytest.approx(row.delta, abs=0.2 * row.se)


def test_seed_variance_widens_means_and_comparisons():
    rng = np.random.default_rng(2)
    wide = experiment(rng, spread=0.5)
    comparison = summarise_runs(*wide, ["x", "y"])
    frame = compare(comparison)
    alone = compare(summarise_runs([r for r in wide[0] if r.seed == 0], *wide[1:], ["x", "y"]))
    pick = (frame["class"] == "macro") & (frame.metric == "auroc")
    assert frame[pick].se.iloc[0] > alone[pick].se.iloc[0]
    means = over_seeds(comparison, identity={"a": RowIdentity(encoder="vit")})
    assert tuple(means.columns) == METRIC_COLUMNS
    row = means[(means.method == "a") & (means["class"] == "macro") & (means.metric == "auroc")].iloc[0]
    single = [evaluate(r.scores, *wide[1:], ["x", "y"]) for r in wide[0] if r.method == "a"]
    values = [f[(f["class"] == "macro") & (f.metric == "auroc")].value.iloc[0] for f in single]
    assert row.value == pytest.approx(np.mean(values), abs=1e-6)
    narrow = single[0][(single[0]["class"] == "macro") & (single[0].metric == "auroc")].iloc[0]
    assert row.high - row.low > narrow.high - narrow.low
    assert row.encoder == "vit"
    assert means.seed.isna().all()


def test_identical_runs_do_not_differ():
    rng = np.random.default_rng(3)
    runs, labels, patients = experiment(rng, seeds=1)
    twin = [runs[0], Run("copy", 0, runs[0].scores)]
    frame = compare(summarise_runs(twin, labels, patients, ["x", "y"]))
    frame = frame[~frame.note.str.startswith("undefined: no class")]
    assert len(frame) == 14
    assert (frame.delta == 0).all()
    assert (frame.p == 1).all()
    assert frame.note.str.contains("identical").all()


def test_same_method_with_other_seeds_is_seldom_called_different():
    rng = np.random.default_rng(4)
    p = []
    for _ in range(80):
        frame = compare(summarise_runs(*experiment(rng), ["x", "y"], metrics=("auroc",)))
        p.append(frame[frame["class"] == "macro"].p.iloc[0])
    assert (np.array(p) < 0.05).mean() <= 0.125
    assert 0.3 < np.mean(p) < 0.7


def test_a_contrast_of_four_with_two_alike_is_the_paired_comparison():
    runs, labels, patients = experiment(np.random.default_rng(6), seeds=1)
    alike = [Run(name, run.seed, run.scores) for name in ("c", "d") for run in runs if run.method == "a"]
    summaries = summarise_runs([*runs, *alike], labels, patients, ["x", "y"]).summaries
    four = [summaries[name]["auroc"] for name in "abcd"]
    found = contrasts(four, (1, -1, -1, 1), 0.95, 0.8)
    for k, column in enumerate(four[0].columns):
        pair = difference(four[0], four[1], k, 0.95, 0.8)
        if np.isnan(pair.value):
            assert np.isnan(found[k].value)
            assert found[k].note == column.note
            continue
        assert found[k].value == pytest.approx(pair.value, abs=1e-12)
        assert found[k].se == pytest.approx(pair.se, rel=1e-5)
        assert found[k].p == pytest.approx(pair.p, rel=1e-4)
        assert found[k].note == pair.note
    assert [d.value for d in contrasts(four, (1, -1, -1, 1), 0.95, 0.8, columns=(1,))] == [found[1].value]


def test_a_seed_given_twice_is_refused():
    runs, labels, patients = experiment(np.random.default_rng(5), seeds=1)
    with pytest.raises(DataError, match="seed 0 twice"):
        summarise_runs([runs[0], runs[0]], labels, patients, ["x", "y"])


def test_the_family_of_a_correction_is_declared_and_not_what_was_run():
    """Classes × pairs of all declared methods on one set; once it was what the summary happened to hold."""
    runs, labels, patients = experiment(np.random.default_rng(3), effect=0.2)
    both = summarise_runs(runs, labels, patients, ["x", "y"])
    third = [Run("c", r.seed, 2 * r.scores) for r in runs[:2]]
    more = summarise_runs([*runs, *third], labels, patients, ["x", "y"])
    for family, tests in (("class", 2), ("macro", 1)):
        alone, few, all_ = (
            part[(part.metric == "auroc") & (part.family == family)]
            for part in (compare(both), compare(both, methods=3), compare(more, methods=3))
        )
        p = few.p.to_numpy()
        assert len(p) == tests
        assert np.allclose(alone.p_holm, holm(p))
        assert np.allclose(few.p_holm, holm(p, 3 * tests))
        assert np.allclose(all_.p_holm, holm(all_.p.to_numpy(), 3 * tests))
        assert np.allclose(alone.p_bh, benjamini_hochberg(p))
        assert np.allclose(few.p_bh, benjamini_hochberg(np.append(p, np.ones(2 * tests)))[: len(p)])
        assert (few.p_holm >= few.p_bh - 1e-12).all()
        assert (few.p_bh >= few.p).all()
        levels = holm_levels(p, 0.05, 3 * tests)
        least = minimum_detectable(few.se.to_numpy(), few.df.to_numpy(), 1 - levels, 0.8)
        assert few.mde.notna().any()
        assert np.allclose(few.mde.fillna(0), np.where(few.mde_undefined == "", least, 0))


def test_adjusted_p_values_equal_worked_examples():
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.005])
    assert holm(p)[[4, 0, 3, 1]] == pytest.approx([0.02, 0.03, 0.06, 0.06])
    assert benjamini_hochberg(p)[[4, 0, 3, 1]] == pytest.approx([0.02, 0.02, 0.04, 0.04])
    assert np.isnan(holm(p)[2])
    assert holm(p, 10)[[4, 0, 3, 1]] == pytest.approx([0.05, 0.09, 0.24, 0.28]), "tests not made count"
    assert holm(np.array([0.9, 0.8])).tolist() == [1, 1]
    known = p[~np.isnan(p)]
    assert benjamini_hochberg(known) == pytest.approx(stats.false_discovery_control(known))


def test_minimum_detectable_effect_has_the_power_it_names():
    for df in (4.0, 30.0, 500.0):
        effect = minimum_detectable(0.01, df, 0.95, 0.8)
        assert predicted_power(effect, 0.01, df, 0.95) == pytest.approx(0.8, abs=0.02)
        assert predicted_power(-effect, 0.01, df, 0.95) == predicted_power(effect, 0.01, df, 0.95)
        assert predicted_power(0.0, 0.01, df, 0.95) == pytest.approx(0.05)


def test_ranks_keep_methods_together_that_no_test_separates():
    different = np.zeros((4, 4), dtype=bool)
    for i, j in ((0, 2), (0, 3), (1, 3)):
        different[i, j] = different[j, i] = True
    ranks = rank_methods(["p", "q", "r", "s"], np.array([0.9, 0.8, 0.7, 0.6]), different)
    assert [r.groups for r in ranks] == ["a", "ab", "bc", "c"]
    assert [(r.low, r.high) for r in ranks] == [(1, 2), (1, 3), (2, 4), (3, 4)]
    assert [r.rank for r in ranks] == [1, 1, 2, 3]


def test_ranking_from_comparisons():
    rng = np.random.default_rng(6)
    runs, labels, patients = experiment(rng, effect=2.0, seeds=3)
    runs += [Run("c", r.seed, r.scores + 0.1 * rng.standard_normal(r.scores.shape)) for r in runs[:3]]
    frame = ranking(compare(summarise_runs(runs, labels, patients, ["x", "y"])))
    assert tuple(frame.columns) == RANK_COLUMNS
    top = frame[(frame.metric == "auroc") & (frame.stratum == "all")]
    assert list(top.method)[-1] == "b"
    assert list(top["rank"]) == [1, 1, 3]


def rare(rng, counts, per_patient=1, n=300, methods=3, shift=0.0, together=False):
    """Equal methods, or the first better by `shift`; classes have patients of their own, or the same."""
    labels = np.zeros((n, len(counts)), dtype=np.int8)
    first = 0
    for column, count in zip(labels.T, counts, strict=True):
        column[first : first + count] = 1
        first += 0 if together else count
    base = rng.standard_normal((n, len(counts)))
    names = [str(j) for j in range(len(counts))]
    runs = [
        Run("abc"[m], 0, base + rng.standard_normal(base.shape) + (1 + shift * (m == 0)) * labels)
        for m in range(methods)
    ]
    return runs, labels, (np.arange(n) // per_patient).astype(str), names


def macro(frame):
    return frame[(frame["class"] == "macro") & (frame.metric == "auroc") & (frame.stratum == "all")]


@pytest.mark.parametrize(("counts", "together"), [([1, 1], False), ([2], False), ([1, 1, 1, 1], True)])
def test_too_few_positive_patients_are_never_tested_ranked_or_lettered(counts, together):
    frame = compare(summarise_runs(*rare(np.random.default_rng(0), counts, together=together)))
    rows = macro(frame)
    assert rows[["p", "p_holm", "low", "high", "se", "mde"]].isna().all(axis=None)
    assert rows.undefined.str.contains("positives of fewer than 3 patients").all()
    assert rows.few.all()
    assert rows.delta.notna().all()
    ranks = ranking(frame)
    top = ranks[(ranks.metric == "auroc") & (ranks.stratum == "all")]
    assert list(top.method) == list(top.sort_values("value", ascending=False).method)
    assert top[["rank", "rank_low", "rank_high", "groups", "mde"]].isna().all(axis=None)
    assert (top.undefined == rows.undefined.iloc[0]).all()


def test_few_patients_that_carry_a_mean_are_marked_whatever_their_number():
    frame = compare(summarise_runs(*rare(np.random.default_rng(0), [1, 40, 40])))
    row = macro(frame).iloc[0]
    assert row.few
    assert "few positive patients (81, worth 1)" in row.note
    assert row.undefined == ""
    assert 0 < row.p <= 1
    many = macro(compare(summarise_runs(*rare(np.random.default_rng(0), [40, 40, 40])))).iloc[0]
    assert not many.few
    assert "few" not in many.note


def test_a_class_that_one_patient_carries_is_marked_whatever_its_number_of_patients():
    """25 patients, of whom one has 40 of 64 positive images, weigh as 64² / (40² + 24) equal ones; there
    equal methods are called different too often."""
    runs, labels, _, names = rare(np.random.default_rng(0), [64])
    for one, note in (40, "few positive patients (25, worth 3)"), (1, ""):
        patients = np.arange(len(labels))
        patients[:one] = 0
        frame = compare(summarise_runs(runs, labels, patients.astype(str), names))
        row = frame[(frame["class"] == "0") & (frame.metric == "auroc")].iloc[0]
        assert row.few == bool(note)
        assert note in row.note
        assert ("few" in row.note) == bool(note)


def test_a_class_of_one_patient_adds_its_variance_to_a_mean():
    rng = np.random.default_rng(3)
    errors, found = [], []
    for _ in range(150):
        row = macro(compare(summarise_runs(*rare(rng, [1, 1, 1, 30], methods=2), metrics=("auroc",)))).iloc[0]
        errors.append(row.delta)
        found.append(row.se**2)
    assert np.mean(found) == pytest.approx(np.var(errors), rel=0.35)


def test_patients_who_recur_in_rare_classes_count_once():
    rng = np.random.default_rng(4)
    apart = [
        macro(compare(summarise_runs(*rare(rng, [4] * 6, methods=2), metrics=("auroc",)))).iloc[0].se
        for _ in range(30)
    ]
    runs, labels, patients, names = rare(rng, [4] * 6, methods=2, together=True)
    same = [Run(r.method, r.seed, np.repeat(r.scores[:, :1], 6, axis=1)) for r in runs]
    copied = macro(compare(summarise_runs(same, labels, patients, names, metrics=("auroc",)))).iloc[0].se
    lone = rare(rng, [4], methods=2)
    assert copied > 1.5 * np.mean(apart), "six copies of one class tell no more than one"
    assert np.isfinite(macro(compare(summarise_runs(*lone, metrics=("auroc",)))).iloc[0].se)


def test_the_detectable_effect_is_that_of_the_corrected_test():
    frame = compare(summarise_runs(*rare(np.random.default_rng(5), [30, 40], shift=0.5), metrics=("auroc",)))
    rows = macro(frame)
    levels = holm_levels(rows.p.to_numpy(), 0.05)
    expected = [
        minimum_detectable(se, df, 1 - a, 0.8) for se, df, a in zip(rows.se, rows.df, levels, strict=True)
    ]
    assert rows.mde.to_numpy() == pytest.approx(expected)
    ranks = ranking(frame)
    best, second = ranks[ranks.stratum == "all"].method.iloc[:2]
    pair = rows[rows.method_a.isin([best, second]) & rows.method_b.isin([best, second])]
    assert ranks[ranks.stratum == "all"].mde.iloc[0] == pytest.approx(pair.mde.iloc[0])
    declared = ranking(frame, pairs=15)
    assert (declared.mde > ranks.mde).all()


def test_an_effect_that_no_pair_of_values_can_have_is_withheld_with_the_reason():
    rng = np.random.default_rng(0)
    withheld = []
    for counts in ([1] * 4, [60, 60]):
        frame = compare(summarise_runs(*rare(rng, counts, methods=2), metrics=("auroc",)))
        rows = frame[frame.p.notna()]
        lower = rows[["value_a", "value_b"]].min(axis=1)
        levels = np.concatenate(
            [holm_levels(own.p.to_numpy(), 0.05) for _, own in rows.groupby("family", sort=False)]
        )
        least = minimum_detectable(rows.se.to_numpy(), rows.df.to_numpy(), 1 - levels, 0.8)
        beyond = least > 1 - lower
        assert (rows.mde.isna() == beyond).all()
        assert ((rows.mde_undefined == WITHHELD) == beyond).all()
        ranks = ranking(frame)
        assert (ranks.mde_undefined == WITHHELD).all() == (macro(frame).mde_undefined == WITHHELD).all()
        assert (ranks.mde.isna() == (ranks.mde_undefined != "")).all()
        withheld.append(bool(macro(frame).mde.isna().all()))
    assert withheld == [True, False]


def test_holm_level_is_the_largest_p_that_is_rejected():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.random(5) ** 3
        for size in (None, 12):
            for i, level in enumerate(holm_levels(p, 0.05, size)):
                for own, rejected in ((level * 0.999, True), (level * 1.001, False)):
                    q = p.copy()
                    q[i] = own
                    assert (holm(q, size)[i] <= 0.05) == rejected
    assert np.isnan(holm_levels(np.array([0.1, np.nan]), 0.05)[1])


def test_a_method_that_varies_alone_brings_its_own_degrees_of_freedom():
    rng = np.random.default_rng(6)
    runs, labels, patients = experiment(rng, spread=0.0, n=3000)
    shifted = [Run(r.method, r.seed, r.scores + (r.method == "a") * (r.seed - 1.0) * labels) for r in runs]
    row = macro(compare(summarise_runs(shifted, labels, patients, ["x", "y"], metrics=("auroc",)))).iloc[0]
    assert row.df < 2.5
