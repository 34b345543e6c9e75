from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from benchmark.core.errors import DataError, UnknownName
from benchmark.core.tables import METRIC_COLUMNS
from benchmark.evaluation.evaluate import evaluate
from benchmark.evaluation.statistics.metric_values import RowIdentity


def sample(rng, n=400, c=6, per_patient=2):
    prevalence = np.geomspace(0.3, 0.01, c)
    labels = (rng.random((n, c)) < prevalence).astype(np.int8)
    labels[0] = 1
    labels[1] = 0
    scores = rng.standard_normal((n, c)) + labels
    patients = np.array([f"p{i // per_patient}" for i in range(n)])
    return scores, labels, patients, [f"class {i}" for i in range(c)]


def value(frame: pd.DataFrame, name: str, metric: str, stratum: str = "all") -> float:
    rows = frame[(frame["class"] == name) & (frame.metric == metric) & (frame.stratum == stratum)]
    assert len(rows) == 1
    return float(rows.value.iloc[0])


def test_equals_scikit_learn_where_it_has_the_metric():
    rng = np.random.default_rng(0)
    scores, labels, patients, classes = sample(rng)
    scores = np.round(scores, 1)
    frame = evaluate(scores, labels, patients, classes, identity=RowIdentity(method="m", seed=3))
    assert list(frame.columns) == list(METRIC_COLUMNS)
    for j, name in enumerate(classes):
        assert value(frame, name, "auroc") == pytest.approx(roc_auc_score(labels[:, j], scores[:, j]))
        expected = average_precision_score(labels[:, j], scores[:, j])
        assert value(frame, name, "average_precision") == pytest.approx(expected)
        precision, recall, _ = precision_recall_curve(labels[:, j], scores[:, j])
        area = float(np.sum((recall[:-1] - recall[1:]) * (precision[:-1] + precision[1:]) / 2))
        assert value(frame, name, "auprc_trapezoid") == pytest.approx(area)
    for average in ("macro", "micro", "weighted"):
        assert value(frame, average, "auroc") == pytest.approx(roc_auc_score(labels, scores, average=average))
        if average != "weighted":
            expected = average_precision_score(labels, scores, average=average)
            assert value(frame, average, "average_precision") == pytest.approx(expected)
    assert (frame.method == "m").all()
    assert (frame.seed == 3).all()


def test_limits_surround_the_value():
    scores, labels, patients, classes = sample(np.random.default_rng(1))
    frame = evaluate(scores, labels, patients, classes)
    known = frame[frame.low.notna()]
    assert len(known) > 20
    assert ((known.low < known.value) & (known.value < known.high)).all()


def test_undefined_is_null_with_the_reason_and_leaves_the_macro():
    scores, labels, patients, classes = sample(np.random.default_rng(2))
    labels[:, 2] = 0
    labels[:, 3] = -1
    frame = evaluate(scores, labels, patients, classes)
    row = frame[(frame["class"] == classes[2]) & (frame.metric == "auroc")].iloc[0]
    assert np.isnan(row.value)
    assert row.note == "undefined: no positive image"
    row = frame[(frame["class"] == classes[3]) & (frame.metric == "auroc")].iloc[0]
    assert row.note == "undefined: no labelled image"
    assert row.n_ignored == len(scores)
    macro = frame[(frame["class"] == "macro") & (frame.metric == "auroc") & (frame.stratum == "all")].iloc[0]
    kept = [0, 1, 4, 5]
    assert macro.value == pytest.approx(np.mean([roc_auc_score(labels[:, j], scores[:, j]) for j in kept]))
    assert "4 of 6 classes" in macro.note


def test_ignored_images_do_not_count():
    rng = np.random.default_rng(3)
    scores, labels, patients, classes = sample(rng)
    hidden = rng.random(labels.shape) < 0.2
    masked = np.where(hidden, -1, labels).astype(np.int8)
    frame = evaluate(scores, masked, patients, classes)
    for j, name in enumerate(classes):
        keep = ~hidden[:, j]
        expected = roc_auc_score(labels[keep, j], scores[keep, j])
        assert value(frame, name, "auroc") == pytest.approx(expected)


def test_without_patients_rows_say_image_level():
    scores, labels, _, classes = sample(np.random.default_rng(4))
    for patients in (None, np.array([""] * len(scores))):
        frame = evaluate(scores, labels, patients, classes)
        assert frame.note.str.startswith("image-level").all()
        assert frame.n_patients.isna().all()


def test_named_strata_and_unknown_members():
    scores, labels, patients, classes = sample(np.random.default_rng(5))
    frame = evaluate(scores, labels, patients, classes, strata={"padchest20": classes[-2:]})
    expected = np.mean([value(frame, name, "auroc") for name in classes[-2:]])
    assert value(frame, "macro", "auroc", "padchest20") == pytest.approx(expected)
    with pytest.raises(UnknownName, match="Did you mean 'class 1'"):
        evaluate(scores, labels, patients, classes, strata={"mine": ["clas 1"]})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_named(bad):
    scores, labels, patients, classes = sample(np.random.default_rng(6))
    scores[7, 2] = bad
    with pytest.raises(DataError, match="row 8, class 'class 2'"):
        evaluate(scores, labels, patients, classes)
