from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from benchmark.core.settings import MethodConfig, train_config
from perf.divergence import MEANS, Follower, Means, Stopped, distance, move_weights, score_distance, steepest


class Little(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.register_buffer("mean", torch.full((2,), 1e6))


class Stub:
    """What `Means.of` reads of a cell."""

    def __init__(self, training, options):
        self.training, self.options = training, options

    def model_copy(self, update):
        return Stub(**update)


def test_means_change_what_they_name_and_are_validated():
    cell = Stub(train_config({"learning_rate": 0.002, "clip_norm": 1.0}), MethodConfig())
    means = Means({"clip_norm": None}, {"learning_rate": 0.25}, {"width": 32})
    own = means.of(cell)
    assert (own.training.learning_rate, own.training.clip_norm, own.options.width) == (0.0005, None, 32)
    assert own.training.model_copy(update={"learning_rate": 0.002, "clip_norm": 1.0}) == cell.training
    with pytest.raises(ValueError, match="layers"):
        Means(options={"layers": 1}).of(cell)


def test_corners_are_smooth_inside_only():
    x = torch.tensor([-1.0, 2.0])
    plain = [functional.relu(x), nn.ReLU()(x)]
    with MEANS["GELU for ReLU"].in_place():
        assert all(torch.equal(found, functional.gelu(x)) for found in (functional.relu(x), nn.ReLU()(x)))
    with MEANS["as configured"].in_place():
        assert torch.equal(functional.relu(x), plain[0])
    assert all(
        torch.equal(found, torch.tensor([0.0, 2.0])) for found in (functional.relu(x), nn.ReLU()(x), *plain)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_move_to_a_neighbour_of_their_own_type(dtype):
    before, method = Little().to(dtype), Little().to(dtype)
    method.load_state_dict(before.state_dict())
    move_weights(method, 1)
    for a, b in zip(before.parameters(), method.parameters(), strict=True):
        sides = [torch.nextafter(a, torch.full_like(a, s)) for s in (-torch.inf, torch.inf)]
        assert ((b == sides[0]) | (b == sides[1])).all()
    assert torch.equal(before.mean, method.mean)


def test_a_training_is_followed_to_the_epoch_that_is_asked_for():
    method, asked = Little(), []

    def scores(own):
        asked.append(own)
        return np.zeros((1, 1))

    watch = Follower(method, epochs=10, last=1, scores=scores)
    with pytest.raises(Stopped):
        for done in range(1, 2000):
            watch.step(done, total=1000)
    assert [(s.epoch, s.step, s.scores is not None) for s in watch.kept] == [
        (0.01, 1, False), (0.1, 10, True), (0.25, 25, False), (0.5, 50, False), (1.0, 100, True),
    ]  # fmt: skip
    assert asked == [method, method]
    assert set(watch.kept[0].weights) == {"layer.weight", "layer.bias"}  # no statistics of inputs


def test_distances_are_shares_of_the_first():
    one = {"x": np.array([3.0, 0.0]), "y": np.array([4.0])}
    assert distance(one, {**one, "y": np.array([4.5])}) == pytest.approx(0.1)
    assert distance(one, one) == 0
    scores = np.array([[1.0, 5.0], [3.0, 5.0], [2.0, 5.0]], "float32")
    assert score_distance(scores, scores + np.array([7.0, -2.0], "float32")) == pytest.approx(0, abs=1e-6)
    assert score_distance(scores, 1.5 * scores) == pytest.approx(0.5)


def test_the_steepest_growth_is_of_neighbours_that_are_not_too_near():
    assert steepest([1, 11, 111, 211], [1e-9, 1e-6, 1e-5, 1e-3]) == pytest.approx(math.log(100))
    assert math.isnan(steepest([1, 11], [1e-9, 1e-6]))
    assert math.isnan(steepest([1, 101], [0.0, 0.0]))
