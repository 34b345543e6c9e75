from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from benchmark.core.errors import BenchError
from benchmark.evaluation.simulate import (
    SHAPES,
    comparisons,
    coverage,
    macro_coverage,
    replicates,
    true_auroc,
    true_average_precision,
)
from benchmark.evaluation.simulation_report import report_tables, write_report
from benchmark.evaluation.statistics.influence import influence_table


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


def test_coverage_cells_hold_every_method():
    cells = coverage(4, 2, 100, 0)
    first = [next(cells) for _ in range(8)]
    assert {c["method"] for c in first if c["metric"] == "auroc"} >= {"moderated", "percentile", "BCa"}
    assert all(0 <= c["covered"] <= 1 for c in first)
    assert next(macro_coverage(3, 0))["data_sets"] == 3


def test_experiments_know_their_true_difference():
    found = comparisons(6, 0.05, 4, 0.15, 0)
    assert found["true_difference"] == pytest.approx(true_auroc(1.15, 0.05) - true_auroc(1, 0.05))
    assert 0 < found["predicted"] < 1


def stored(root):
    return json.loads((root / "docs" / "statistics" / "simulations.json").read_text())


def test_the_page_shows_the_stored_results(root):
    text = (root / "docs" / "statistics.md").read_text(encoding="utf-8")
    for name, table in report_tables(stored(root)).items():
        assert f"<!-- {name} -->\n{table}\n<!-- /{name} -->" in text


def test_stored_results_meet_what_the_page_claims(root):
    results = stored(root)
    level = pd.DataFrame(results["level"])
    assert (level.experiments >= 500).all()
    assert (level.rejected.mean() - 0.05) == pytest.approx(0, abs=0.015)
    power = pd.DataFrame(results["power"])
    error = np.sqrt(power.predicted * (1 - power.predicted) / power.experiments)
    assert (np.abs(power.rejected - power.predicted) < 3 * error + 0.03).all()
    cells = pd.DataFrame(results["coverage"])
    ours = cells[(cells.metric == "auroc") & (cells.method == "moderated")]
    mean = ours.groupby(["per_patient", "positives"]).covered.mean()
    assert mean.between(0.925, 0.98).all()


def test_a_page_without_markers_is_refused(root, tmp_path):
    (tmp_path / "statistics.md").write_text("nothing here")
    with pytest.raises(BenchError, match="no marker <!-- coverage -->"):
        write_report(stored(root), tmp_path)
    assert not (tmp_path / "statistics").exists()
