"""Fine-tuning of an encoder with a linear layer, on images whose labels an encoder has to learn to see."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.encoders.trainable import make_trainable
from benchmark.evaluation.transfer import LabelDraw, label_draws, linear_probe
from benchmark.evaluation.tuned_encoder import tuned_encoder
from tests.encoders.tiny import Blocks

PATIENTS = [f"p{k // 2}" for k in range(60)]
DRAW = label_draws(PATIENTS, 1.0, 1)[0]


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    """60 images of noise, of which the first class raises the contrast; the second one is never there, the
    third one, the first again, is unknown of every third image."""
    rng = np.random.default_rng(0)
    present = rng.random(60) < 0.5
    pixels = rng.integers(100, 156, (60, 8, 8)).astype(np.int64)
    pixels[present] += rng.integers(-90, 90, (60, 8, 8))[present]
    labels = np.zeros((60, 3), np.int8)
    labels[:, 0] = present
    labels[:, 2] = np.where(np.arange(60) % 3 == 0, -1, present)
    return pixels.clip(0, 255).astype(np.uint8), labels


def tune(pixels, labels, trained="full", epochs=15, draw=DRAW, learning_rates=(0.01,)):
    encoder = Blocks()
    make_trainable(encoder, trained)
    rows = np.arange(60)
    how = {"epochs": epochs, "learning_rates": learning_rates, "batch": 16, "device": "cpu", "seed": 3}
    score = tuned_encoder(encoder, pixels, rows, labels, draw, **how)
    return encoder, score(rows)


def log_loss(scores, labels):
    known = labels >= 0
    return np.logaddexp(0, np.where(labels == 1, -scores, scores))[known].mean()


def test_tuning_lowers_the_loss_of_the_probe_that_it_starts_from(images) -> None:
    pixels, labels = images
    _, start = tune(pixels, labels, epochs=0)
    with torch.no_grad():
        pooled = Blocks().encode(torch.from_numpy(pixels)).pooled.double().numpy()
    probe = linear_probe(pooled, labels, DRAW)(pooled)
    assert np.corrcoef(start[:, 0], probe[:, 0])[0, 1] > 0.9, "the probe, but for the checked patients"
    encoder, found = tune(pixels, labels)
    seen = np.ix_(DRAW.check, [0, 2])
    assert log_loss(found[seen], labels[seen]) < log_loss(start[seen], labels[seen]) - 0.02
    assert (found[:, 1] == 0).all(), "nothing is known of a class that no label shows"
    assert not torch.equal(encoder.stem.weight, Blocks().stem.weight)
    assert np.array_equal(found, tune(pixels, labels)[1]), "the same seed gives the same weights"


def test_only_what_is_to_be_tuned_moves_and_nothing_where_no_epoch_helps(images) -> None:
    pixels, labels = images
    itself = LabelDraw(DRAW.fit, DRAW.fit)  # so that some epoch lowers the loss
    encoder, _ = tune(pixels, labels, "last stage", draw=itself, learning_rates=[1e-3])
    assert torch.equal(encoder.stem.weight, Blocks().stem.weight)
    assert not torch.equal(encoder.norm.weight, Blocks().norm.weight)
    encoder, found = tune(pixels, labels, epochs=2, learning_rates=[10.0])
    assert all(torch.equal(v, encoder.state_dict()[k]) for k, v in Blocks().state_dict().items())
    assert np.array_equal(found, tune(pixels, labels, epochs=0)[1])


def test_a_draw_of_one_kind_of_image_leaves_everything_at_the_start(images) -> None:
    pixels, _ = images
    encoder, found = tune(pixels, np.zeros((60, 3), np.int8))
    assert (found == 0).all()
    assert torch.equal(encoder.stem.weight, Blocks().stem.weight)


def test_checked_patients_choose_the_rate_whatever_its_place(images) -> None:
    pixels, labels = images
    encoder, found = tune(pixels, labels, epochs=5)
    for rates in ((0.01, 10.0), (10.0, 0.01)):
        other, scores = tune(pixels, labels, epochs=5, learning_rates=rates)
        assert np.array_equal(scores, found), "each rate starts anew, and one that is too high is not kept"
        assert torch.equal(encoder.stem.weight, other.stem.weight)
