"""The supervised ceiling: patients stay together, chance is chance, a class that shows is found."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.evaluation.probe import LEAST, linear_probe


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(150), 2)
    features = rng.normal(size=(300, 12)).astype(np.float32)
    labels = np.zeros((300, 4), np.int8)
    labels[:, 0] = features[:, 3] > 0.5
    labels[:, 1] = rng.random(300) < 0.3
    labels[: LEAST - 1, 2] = 1
    labels[:, 3] = labels[:, 0]
    labels[::3, 3] = -1
    return features, labels, patients.astype(str).astype(object)


def test_ceilings(sample: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    features, labels, patients = sample
    found = {c.name: c for c in linear_probe(features, labels, patients, ["seen", "noise", "few", "part"])}
    assert set(found) == {"seen", "noise", "part"}
    assert found["seen"].auroc > 0.95
    assert abs(found["noise"].auroc - 0.5) < 0.12
    assert found["part"].positives == (labels[:, 3] == 1).sum()
    again = linear_probe(features, labels, patients, ["seen", "noise", "few", "part"])
    assert [c.auroc for c in again] == [c.auroc for c in found.values()]


def test_what_only_marks_a_patient_is_worth_nothing() -> None:
    """A feature that identifies patients, whose label is a coin: grouped folds cannot use it."""
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(40), 8)
    marks = rng.normal(size=(40, 30))[patients] + 0.01 * rng.normal(size=(320, 30))
    labels = (rng.random(40) < 0.5).astype(np.int8)[patients][:, None]
    found = linear_probe(marks.astype(np.float32), labels, patients.astype(str).astype(object), ["coin"])
    assert found[0].auroc < 0.75
