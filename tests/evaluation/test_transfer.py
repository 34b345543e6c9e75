"""Draws of labelled patients, the linear probe and the tuned alignment, on data whose answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark.core.features import ImageFeatures, TextFeatures
from benchmark.encoders.store import FeatureStore
from benchmark.evaluation.statistics.metric_values import VALUE
from benchmark.evaluation.tasks.transfer import TransferSettings, averaged
from benchmark.evaluation.transfer import has_weights, label_draws, learnable, linear_probe, tuned
from benchmark.prompts.class_prompts import PromptSet
from methods.base import build

RNG = np.random.default_rng(0)
PATIENTS = [f"p{k // 3}" for k in range(120)]
LABELS = (RNG.random((120, 2)) < 0.4).astype(np.int8)
X = np.concatenate([LABELS @ RNG.normal(size=(2, 6)) * 3, RNG.normal(size=(120, 2))], axis=1)
WHOLE = label_draws(PATIENTS, 1.0, 3)[0]


def test_a_draw_takes_whole_patients_and_a_larger_share_holds_the_smaller():
    small, large = label_draws(PATIENTS, 0.1, 3), label_draws(PATIENTS, 0.3, 3)
    assert len(small) == len(large) == 3
    for one, more in zip(small, large, strict=True):
        assert 12 <= len(one.rows) < 15
        assert len(more.rows) >= 36
        fit, check = ({PATIENTS[k] for k in rows} for rows in (one.fit, one.check))
        assert fit
        assert check
        assert not fit & check
        assert {k for k, p in enumerate(PATIENTS) if p in fit | check} == set(one.rows.tolist())
        assert set(one.rows.tolist()) <= set(more.rows.tolist())
    assert len({tuple(sorted(draw.rows)) for draw in small}) == 3
    assert len(label_draws(PATIENTS, 1.0, 3)) == 1
    assert sorted(WHOLE.rows.tolist()) == list(range(120))
    assert label_draws(["p", "p"], 1.0, 3) == []
    assert len(label_draws(["p", "q"], 0.01, 1)[0].rows) == 2, "one to fit, one to check"


def test_the_probe_ranks_what_a_line_can_and_knows_nothing_of_a_class_that_no_label_shows():
    labels = np.column_stack([LABELS, np.zeros(120, np.int8)])
    labels[:7, 0] = -1
    found = linear_probe(X, labels, WHOLE)(X)
    for k in range(2):
        assert found[LABELS[:, k] == 1, k].min() > found[LABELS[:, k] == 0, k].max()
    assert (found[:, 2] == 0).all()
    assert learnable(labels).tolist() == [True, True, False]


def features(vectors: np.ndarray) -> ImageFeatures:
    pooled = torch.from_numpy(vectors).float()
    return ImageFeatures(pooled, pooled[:, None], (1, 1))


@pytest.fixture(scope="module")
def alignment():
    torch.manual_seed(0)
    text = torch.randn(2, 5)
    words = TextFeatures(text, text[:, None], torch.ones(2, 1, dtype=torch.bool))
    return build("clip", {"width": 4, "project": "always", "normalise_inputs": "none"}, 8, 5), words


def test_tuning_learns_the_labels_in_a_copy(alignment):
    method, words = alignment
    prompts = PromptSet(("a", "b"), ("a", "b"), (0, 1), (1, 1), "mean-score", "template")
    before = {k: v.clone() for k, v in method.state_dict().items()}
    store, rows = FeatureStore.of(features(X)), np.arange(120)

    def tune(draw):
        own = tuned(method, store, rows, LABELS, words, prompts, draw, epochs=30, learning_rate=0.02,
                    batch=16, device="cpu", seed=1)  # fmt: skip
        with torch.no_grad():
            return own(store.get(rows), words).numpy()

    found = tune(WHOLE)
    for k in range(2):
        above = found[LABELS[:, k] == 1, k][:, None] > found[LABELS[:, k] == 0, k][None]
        assert above.mean() > 0.95
    assert np.array_equal(found, tune(WHOLE)), "the same seed gives the same weights"
    assert all(torch.equal(before[k], v) for k, v in method.state_dict().items())
    wrong = LABELS.copy()
    wrong[WHOLE.check] = 1 - LABELS[WHOLE.check]
    own = tuned(method, store, rows, wrong, words, prompts, WHOLE, epochs=2, learning_rate=0.02, batch=16,
                device="cpu", seed=1)  # fmt: skip
    assert all(torch.equal(before[k], v) for k, v in own.state_dict().items()), "no epoch helps the checked"


def test_a_method_of_a_scale_alone_has_nothing_to_tune(alignment):
    assert has_weights(alignment[0])
    assert not has_weights(build("clip", {"width": 5, "project": "never", "normalise_inputs": "none"}, 5, 5))


def test_the_mean_over_draws_keeps_their_spread():
    first = pd.DataFrame([("macro", "all", "auroc", 0.6, 0.55, 0.65, 3, 4, 0, 5, "")], columns=list(VALUE))
    draws = [
        first,
        first.assign(value=0.7, low=0.65, high=0.75),
        first.assign(value=0.8, low=0.75, high=0.85),
    ]
    (row,) = averaged(draws, "auroc_probe_1", 0.95)
    assert (row.metric, row.value) == ("auroc_probe_1", pytest.approx(0.7))
    assert row.low < 0.6
    assert row.high > 0.8
    with pytest.raises(ValueError, match="less than or equal to 1"):
        TransferSettings(shares=(1.5,))
