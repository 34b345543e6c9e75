"""The supervised probe: chance is chance, a class that shows is found, unlabelled images are left out."""

from __future__ import annotations

import numpy as np

from benchmark.evaluation.probe import LEAST, linear_probe

NAMES = ["seen", "noise", "few", "part"]


def test_probe() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 12)).astype(np.float32) * 3 + 5
    labels = np.zeros((400, 4), np.int8)
    labels[:, 0] = features[:, 3] > 6
    labels[:, 1] = rng.random(400) < 0.3
    labels[: LEAST - 1, 2] = 1
    labels[350:, 2] = 1
    labels[:, 3] = labels[:, 0]
    labels[::3, 3] = 1 - labels[::3, 3]
    train = labels[:300].copy()
    train[::3, 3] = -1
    held_out = labels[300:].copy()
    held_out[:, 3] = labels[300:, 0]
    found = {c.name: c for c in linear_probe(features[:300], train, features[300:], held_out, NAMES)}
    assert set(found) == {"seen", "noise", "part"}
    assert found["seen"].auroc > 0.95
    assert found["part"].auroc > 0.95  # what is wrong about a third of its labels is marked -1
    assert abs(found["noise"].auroc - 0.5) < 0.15
    assert found["seen"].trained_on == labels[:300, 0].sum()
