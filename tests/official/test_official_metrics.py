"""Official metric definitions against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from benchmark.core.errors import MetricUndefined
from benchmark.official import metrics as official


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = (rng.random((60, 4)) < [0.5, 0.2, 0.1, 0.3]).astype(int)
    return labels, np.round(rng.normal(size=(60, 4)) + labels, 1)


def test_roc_areas(data: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = data
    found = official.roc_areas(labels, scores)
    for name in ("macro", "micro", "weighted"):
        assert getattr(found, name) == pytest.approx(
            metrics.roc_auc_score(labels, scores, average=name), abs=1e-12
        )
    with pytest.raises(MetricUndefined):
        official.roc_areas(np.zeros((3, 1), dtype=int), np.zeros((3, 1)))


def test_trapezoidal_area_is_not_average_precision() -> None:
    labels, scores = np.array([0, 1, 0]), np.array([3.0, 2.0, 1.0])
    assert official.trapezoidal_pr_area(labels, scores) == pytest.approx(1 / 4)  # 1/(2r) at rank 2
    assert metrics.average_precision_score(labels, scores) == pytest.approx(1 / 2)


def test_long_tail_groups() -> None:
    groups = official.long_tail_groups(np.array([100, 50, 20, 10, 11]))
    assert official.head_threshold(np.array([100, 50, 20, 10, 11])) == pytest.approx(38.0)
    assert {k: v.tolist() for k, v in groups.items()} == {"head": [0, 1], "medium": [2, 4], "tail": [3]}
    rare = official.long_tail_groups(np.array([9, 5, 1]))
    assert (rare["head"].tolist(), rare["medium"].tolist(), rare["tail"].tolist()) == ([0], [], [0, 1, 2])
    assert official.rarest_classes(np.array([3, 1, 2]), 2).tolist() == [1, 2]


def test_padchest_labels() -> None:
    classes, matrix = official.padchest_labels(
        {"a": ["nodule", "COPD signs"], "b": ["normal"], "c": ["nodule"]}
    )
    assert classes == ["COPD signs", "nodule"]
    assert matrix.tolist() == [[1, 1], [0, 0], [0, 1]]


def test_openi_substrings() -> None:
    names = list(official.OPENI_TERMS)
    assert len(names) == 18
    texts = [
        "calcified granuloma;atelectases",
        "bronchopneumonia",
        "pericardial effusion",
        None,
        "infiltrates",
    ]
    matrix = official.substring_labels(texts, list(official.OPENI_TERMS.values()))
    found = [{names[c] for c in np.flatnonzero(row)} for row in matrix]
    assert found == [{"Calcified Granuloma", "Granuloma", "Atelectasis"}, {"Pneumonia"}, {"Effusion"}, set(),
                     {"Infiltration"}]  # fmt: skip


def test_five_by_200() -> None:
    labels = np.eye(3, dtype=int)
    accuracy, per_class = official.five_by_200(labels, np.array([[5.0, 0, 0], [0, 5, 0], [5, 0, 0]]))
    assert accuracy == pytest.approx(2 / 3)
    assert per_class.tolist() == pytest.approx([2 / 3, 1.0, 2 / 3])


def test_thresholds(data: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = data[0][:, 0], data[1][:, 0]
    candidates = np.unique(scores)
    distances, f1 = [], []
    for t in candidates:
        p = scores > t
        recall, fallout = p[labels == 1].mean(), p[labels == 0].mean()
        distances.append(np.hypot(1 - recall, fallout))
        f1.append(metrics.f1_score(labels, p.astype(int), average="weighted", zero_division=0))
    best = candidates[len(distances) - 1 - int(np.argmin(distances[::-1]))]
    assert official.corner_threshold(labels, scores, candidates) == best
    assert official.weighted_f1_threshold(labels, scores, candidates) == candidates[int(np.argmax(f1))]


def test_recall_and_precision_at_k() -> None:
    labels = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1]])
    scores = np.array([[3.0, 1, 2], [1, 2, 3], [1, 2, 3]])
    plain = {"standardise": False}
    assert official.strict_recall_at(labels, scores, 1, **plain) == pytest.approx((0.5 + 1) / 2)
    assert official.strict_recall_at(labels, scores, 1, keep_empty=True, **plain) == pytest.approx(0.5)
    assert official.precision_at(labels, scores, 1, **plain) == pytest.approx(2 / 3)
    assert official.precision_at(labels, scores, 9, **plain) == pytest.approx(3 / 9)  # k is limited to C
    assert np.isnan(official.strict_recall_at(np.zeros((2, 3), dtype=int), scores[:2], 1))


def test_bootstrap_equals_scikit_learn_per_draw(data: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = data
    labels = np.column_stack([labels, np.eye(len(labels), dtype=int)[0]])  # one positive: undefined draws
    scores = np.column_stack([scores, scores[:, 0]])
    thresholds = np.full(5, 0.5)
    found = official.row_bootstrap(labels, scores, thresholds, draws=6)
    undefined = 0
    for i in range(6):
        rows = np.random.RandomState(i).choice(60, size=60, replace=True)
        assert (found.indices[i] == rows).all()
        for c in range(5):
            y, s = labels[rows, c], scores[rows, c]
            p = (s > 0.5).astype(int)
            expected = {
                "acc": metrics.accuracy_score(y, p),
                "precision": metrics.precision_score(y, p, zero_division=0),
                "recall": metrics.recall_score(y, p, zero_division=0),
                "f1": metrics.f1_score(y, p, average="weighted", zero_division=0),
            }
            if y.any():
                expected["auroc"] = metrics.roc_auc_score(y, s)
                expected["auprc"] = metrics.average_precision_score(y, s)
            else:
                undefined += 1
                assert np.isnan(found.per_class["auroc"][i, c])
                assert found.per_class["auprc"][i, c] == 0
            for name, value in expected.items():
                assert found.per_class[name][i, c] == pytest.approx(value, abs=1e-12)
    assert undefined > 0
    summary = official.summarise_draws(found.per_class["auroc"])
    assert np.isfinite(summary["mean"]).all()
    assert np.isnan(summary["p2.5"][4])
    assert np.isfinite(summary["p2.5"][:4]).all()
