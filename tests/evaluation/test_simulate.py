from __future__ import annotations

import argparse
import json
from itertools import combinations, product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn.metrics import average_precision_score

from benchmark.core.errors import BenchError
from benchmark.evaluation.comparison import Run, compare, summarise_runs
from benchmark.evaluation.statistics.influence import influence_table
from perf import simulate_statistics
from perf.designs import POWER_EXPERIMENTS, Design, designs, powered
from perf.simulated_intervals import SHAPES, coverage, macro_coverage, replicates, true_average_precision
from perf.simulated_power import foreseen, power
from perf.simulated_tests import Replicates, averages, size, true_auroc
from perf.simulation_report import keeps_promise, rows_of

QUICK = (
    (Design("PadChest20", 1, 0.0, 1, True), 300),
    (Design("3 classes of one", 1, 0.0, 1, True), 300),
    (Design("9 classes of one", 3, 0.05, 1, False), 100),
    (Design("ChestX-ray14", 1, 0.0, 1, True), 200),
    (Design("PadChest20", 5, 0.0, 4, False), 60),
    (Design("PadChest, 179 classes", 1, 0.0, 1, True), 60),
)


def too_often(experiments: int, level: float) -> float:
    """The share of false positives that a test of this level exceeds once in a thousand simulations."""
    return float(stats.binom.ppf(0.999, experiments, level)) / experiments


@pytest.mark.slow
@pytest.mark.parametrize(("design", "experiments"), QUICK, ids=lambda x: getattr(x, "counts", ""))
def test_equal_methods_are_seldom_called_different_where_findings_are_rare(design, experiments):
    """Means over all classes, strata, the interaction and classes; once it was 7 to 90%."""
    rows = {r["average"]: r for r in size(design, experiments, 7)}
    assert rows["all"]["experiments"] > 0.9 * experiments
    for what, row in rows.items():
        if row["experiments"]:
            assert row["rejected_5"] <= too_often(row["experiments"], 0.05), what
            assert row["rejected_1"] <= too_often(row["experiments"], 0.01), what
        else:
            assert row["undefined"] == 1
            assert row["marked"] == 1


@pytest.mark.slow
def test_a_planted_difference_is_found_as_often_as_promised():
    found = power(Design("ChestX-Det10", 1, 0.0, 1, True), "all", 200, 7)
    assert found["found"] == pytest.approx(found["predicted"], abs=0.12)
    assert 0.6 < found["predicted"] < 0.95


@pytest.mark.parametrize("df", [4.0, 8.0, 40.0])
@pytest.mark.parametrize("truth", [0.3, 0.5, 0.7, 0.9])
def test_power_foreseen_from_estimated_standard_errors_is_right_on_average(df, truth):
    """Taken for known they foresee up to 0.12 too much."""
    critical = stats.t.ppf(0.975, df)
    difference = float(optimize.brentq(lambda x: stats.nct.sf(critical, df, x) - truth, 0.01, 30))
    se = np.sqrt(np.random.default_rng(0).chisquare(df, 3000) / df)
    plain, found = foreseen(difference, se, np.full(3000, df), np.full(3000, 0.05))
    assert found.mean() == pytest.approx(truth, abs=0.045 if df == 4 else 0.025)
    assert abs(found.mean() - truth) < abs(plain.mean() - truth) + 0.005
    assert found.min() > -0.05
    assert found.max() < 1.05
    exact = foreseen(difference, np.ones(1), np.array([df]), np.array([0.05]))[0]
    assert exact == pytest.approx(truth, abs=0.005)


def test_every_two_levels_of_two_factors_meet_in_a_design():
    factors = {
        "counts": {d.counts for d in designs()},
        "seeds": {1, 3, 5},
        "spread": {0.0, 0.05},
        "per_patient": {1, 4},
        "correlated": {True, False},
    }
    seen = [{k: getattr(d, k) for k in factors} for d in designs()]
    missing = [
        (a, x, b, y)
        for a, b in combinations(factors, 2)
        for x, y in product(factors[a], factors[b])
        if not any(row[a] == x and row[b] == y for row in seen)
    ]
    assert missing == []


SIMULATED = json.loads((Path(__file__).parents[2] / "docs/statistics/simulations.json").read_text())


def within(share: float, trials: int, low: float, high: float, chance: float = 0.001) -> bool:
    """Whether a share lies between low and high, Monte Carlo error allowed for."""
    least, most = (stats.binom.ppf(q, trials, p) / trials for q, p in ((chance, low), (1 - chance, high)))
    return bool(least <= share <= most)


def test_the_simulation_of_the_page_keeps_its_promises_or_marks_the_row():
    rows = [r for r in rows_of(SIMULATED, "size") if not r["average"].startswith("classes of")]
    assert {d.counts for d in designs()} == {r["counts"] for r in rows}
    for row in rows:
        what, few = (row["counts"], row["seeds"], row["average"]), row["marked"] > 0.5
        if not row["experiments"]:
            assert (few, row["undefined"]) == (True, 1), what
            continue
        n = row["experiments"]
        assert within(row["rejected_5"], n, 0.0 if few else 0.035, 0.065), what
        assert within(row["rejected_1"], n, 0.0, 0.017), what
        assert few or row["covered"] is None or within(row["covered"], 1000, 0.93, 0.97), what


def test_a_planted_difference_of_the_page_is_found_with_the_power_that_its_studies_predict():
    """In every design, marked or not, where the typical study's detectable effect is within reach."""
    rows = rows_of(SIMULATED, "power")
    asked = [{**design.identity, "average": what} for design, what in powered()]
    assert sorted(str({k: row[k] for k in asked[0]}) for row in rows) == sorted(map(str, asked))
    promised = [row for row in rows if row["promised"]]
    assert len(promised) >= 15
    for row in rows:
        assert row["experiments"] == POWER_EXPERIMENTS
        assert keeps_promise(row), row
        assert (row["mde"] is not None) == row["promised"]
        assert row["promised"] or row["withheld"] > 0.4, row
    assert not keeps_promise({**promised[0], "found": promised[0]["predicted"] - 0.051})
    assert keeps_promise({**promised[0], "found": promised[0]["predicted"] - 0.049})


def parts(**changed):
    options = simulate_statistics.arguments(["--experiments", "1", "--power-experiments", "1"])
    return {
        p.name: p.key for p in simulate_statistics.parts(argparse.Namespace(**{**vars(options), **changed}))
    }


def test_a_part_is_kept_under_what_it_depends_on_alone(monkeypatch):
    before = parts()
    assert len(set(before.values())) == len(before)
    assert {n for n, k in parts(draws=7).items() if before[n] != k} == {"coverage"}
    assert {n.split()[0] for n, k in parts(power_experiments=2).items() if before[n] != k} == {"power"}
    more = (*powered(), (Design("CheXpert", 1, 0.0, 1, True), "all"))
    monkeypatch.setattr(simulate_statistics, "powered", lambda: more)
    after = parts()
    assert {n: after[n] for n in before} == before
    assert len(after) == len(before) + 1


def test_a_stopped_simulation_goes_on_and_other_parts_stay(tmp_path, monkeypatch):
    made = []

    def part(kind, what, key):
        return SimpleNamespace(
            name=f"{kind} {what}", key=key, make=lambda: made.append(what) or [{"row": what}]
        )

    listed = [part("size", "a", "1"), part("size", "b", "1"), part("power", "c", "1")]
    monkeypatch.setattr(simulate_statistics, "parts", lambda options: listed)
    (tmp_path / "statistics").mkdir()
    options = argparse.Namespace(docs=tmp_path, only="*")
    with pytest.raises(BenchError, match="holds no part 'power c'. Run again without --only"):
        simulate_statistics.run(argparse.Namespace(docs=tmp_path, only="size *"))
    found = simulate_statistics.run(options)
    assert rows_of(found, "size") == [{"row": "a"}, {"row": "b"}]
    listed[0].key = listed[2].key = "2"
    simulate_statistics.run(argparse.Namespace(docs=tmp_path, only="power *"))
    assert made == ["a", "b", "c", "c"]
    simulate_statistics.run(options)
    assert made == ["a", "b", "c", "c", "a"]


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_simulation_tests_what_the_tables_test(seeds):
    design = Design("PadChest20", seeds, 0.05, 4, False)
    made = Replicates(design, np.random.default_rng(0))
    kept: list[np.ndarray] = []
    plain = made.panel
    made.panel = lambda scores: (kept.append(scores), plain(scores))[1]
    own = averages(made.trained((0.0, 0.0)))
    runs = [Run("ab"[i // seeds], i % seeds, scores) for i, scores in enumerate(kept)]
    patients = made.codes.astype(str)
    summary = summarise_runs(runs, made.labels, patients, made.names, strata=design.strata)
    frame = compare(summary).query("metric == 'auroc'")
    for what in ("all", "tail", "never-named"):
        from benchmark.evaluation.statistics.paired import contrasts

        test = contrasts(own[what].summaries, (1.0, -1.0), 0.95, 0.8, (own[what].column,))[0]
        row = frame[(frame["class"] == "macro") & (frame.stratum == what)].iloc[0]
        assert row.p == pytest.approx(test.p, rel=1e-4)
        assert row.few == test.few


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.name)
@pytest.mark.parametrize("per_patient", [1, 4])
def test_simulated_scores_have_the_truth_they_claim(shape, per_patient):
    rng = np.random.default_rng(0)
    auc = shape.aurocs[1]
    scores, labels, codes, clusters = replicates(shape, auc, 200, per_patient, 60, rng)
    assert (labels.sum(axis=0) == 200).all()
    values = influence_table(scores, labels, codes, clusters, ("auroc",)).values[0]
    assert values.mean() == pytest.approx(auc, abs=4 * values.std() / np.sqrt(60) + 0.002)
    found = [average_precision_score(labels[:, j], scores[:, j]) for j in range(60)]
    truth = true_average_precision(shape, auc, 200 / len(scores))
    assert np.mean(found) == pytest.approx(truth, abs=4 * np.std(found) / np.sqrt(60) + 0.005)


def test_simulated_methods_have_the_truth_they_claim():
    design = Design("4 classes of 36 to 240", 3, 0.05, 4, True)
    made = Replicates(design, np.random.default_rng(0))
    values = np.array([[p.values[:4] for p in made.trained((0.3,))[0]] for _ in range(40)]).reshape(-1, 4)
    truth = true_auroc(design.skill + 0.3, 0.05)
    assert made.truth[0] == pytest.approx(truth)
    assert values.mean(axis=0) == pytest.approx(truth, abs=0.015)
    assert (made.labels.sum(axis=0) == design.positives).all()


def test_coverage_cells_hold_every_method():
    cells = coverage(4, 2, 100, 0)
    first = [next(cells) for _ in range(8)]
    assert {c["method"] for c in first if c["metric"] == "auroc"} >= {"moderated", "percentile", "BCa"}
    assert all(0 <= c["covered"] <= 1 for c in first)
    assert next(macro_coverage(3, 0))["data_sets"] == 3
