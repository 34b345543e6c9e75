"""The macro value of a subgroup's level is the mean over classes, for any number of them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmark.evaluation.evaluate import evaluate


@pytest.mark.parametrize("classes", [1, 2, 7])
def test_level_is_the_mean_of_its_classes(classes):
    rng = np.random.default_rng(classes)
    labels = (rng.random((400, classes)) < 0.3).astype(np.int8)
    scores = rng.normal(size=labels.shape) + labels
    sex = np.where(rng.random(400) < 0.5, "F", "M").astype(object)
    names = [f"class {i}" for i in range(classes)]
    frame = evaluate(scores, labels, np.arange(400).astype(str), names, subgroups={"sex": sex})
    for level in ("F", "M"):
        rows = sex == level
        expected = np.mean([roc_auc_score(labels[rows, j], scores[rows, j]) for j in range(classes)])
        own = frame[(frame["stratum"] == f"sex={level}") & (frame["metric"] == "auroc")].iloc[0]
        assert own["value"] == pytest.approx(expected, abs=1e-6)
        assert own["low"] < own["value"] < own["high"]
