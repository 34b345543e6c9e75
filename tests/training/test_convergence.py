"""When a run is validated, whether its curve was flat, the average of weights, the draws of dropout."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from benchmark.core.settings import train_config
from benchmark.training.averaging import Average
from benchmark.training.convergence import FLAT, gain_last_quarter, looks
from benchmark.training.draws import quick_masks


def test_looks_are_spread_evenly_and_end_with_the_last_epoch() -> None:
    config = train_config({"looks": 20})
    assert looks(80, config) == frozenset(range(4, 81, 4))
    assert max(looks(33, config)) == 33
    assert len(looks(33, config)) == 20
    assert looks(7, config) == frozenset(range(1, 8))


def test_a_run_that_may_stop_early_is_validated_after_every_epoch() -> None:
    assert looks(50, train_config({"patience": 3})) == frozenset(range(1, 51))


def test_a_curve_that_still_rises_is_told_from_a_flat_one() -> None:
    steps = [10 * n for n in range(1, 21)]
    rising = [0.5 + 0.01 * n for n in range(20)]
    flat = [0.7 - 0.2 * math.exp(-n / 2) for n in range(20)]
    gain, none = gain_last_quarter(steps, rising), gain_last_quarter(steps, flat)
    assert gain == pytest.approx(0.05)
    assert none is not None
    assert 0 <= none < FLAT
    assert gain_last_quarter(steps, rising[::-1]) == 0
    assert gain_last_quarter([1, 2, 3], [0.5, 0.6, 0.7]) is None
    assert gain_last_quarter([1, 2, 3, 4], [0.5, 0.7, 0.6, 0.8]) == pytest.approx(0.1)


def test_the_average_follows_the_weights_and_gives_them_back() -> None:
    weight = nn.Parameter(torch.zeros(3))
    average = Average([weight], 0.1, 1000)
    for _ in range(2000):
        with torch.no_grad():
            weight.fill_(2.0)
        average.update()
    with torch.no_grad():
        weight.fill_(5.0)
    average.update()
    with average.in_place():
        torch.testing.assert_close(weight.detach(), torch.full((3,), 2.03))  # 2 + (5 - 2) / 100
    assert weight.tolist() == [5.0, 5.0, 5.0]
    again = Average([weight], 0.1, 1000)
    again.load(average.state())
    with again.in_place():
        torch.testing.assert_close(weight.detach(), torch.full((3,), 2.03))


def test_without_a_share_the_weights_stay_those_of_the_step() -> None:
    weight = nn.Parameter(torch.ones(2))
    average = Average([weight], None, 1000)
    average.update()
    with average.in_place():
        assert weight.tolist() == [1.0, 1.0]


def test_quick_masks_drop_the_stated_share_and_repeat_by_seed() -> None:
    x = torch.ones(1000, 333)
    with quick_masks():
        torch.manual_seed(3)
        first = functional.dropout(x, 0.1, True)
        torch.manual_seed(3)
        again = functional.dropout(x, 0.1, True)
        turned = functional.dropout(torch.ones(64, 5, 40).transpose(0, 2), 0.5, True)
        assert torch.equal(torch.empty(9).bernoulli_(1.0), torch.ones(9))
    assert torch.equal(first, again)
    assert float((first > 0).float().mean()) == pytest.approx(0.9, abs=0.002)
    assert float(turned.mean()) == pytest.approx(1, abs=0.05)
    rows = (first > 0).float()
    assert float((rows[1:] * rows[:-1]).mean()) == pytest.approx(
        0.81, abs=0.003
    )  # neighbours are independent
    torch.manual_seed(3)
    assert not torch.equal(functional.dropout(x, 0.1, True), first)  # outside it is torch's own kernel
