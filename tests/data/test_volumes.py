"""CT volumes: resampling, crop, padding and intensity."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.core.errors import BenchError, DataError
from benchmark.data.volumes import AIR, crop_or_pad, network_input, prepare_volume, resample
from benchmark.official.vit3d import ViT3D, sincos_table


def test_same_spacing_changes_nothing() -> None:
    volume = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    np.testing.assert_array_equal(resample(volume, (1.5, 1.5, 3.0)), volume)


def test_linear_ramp_stays_linear() -> None:
    ramp = np.arange(8, dtype=np.float32)[None, None].repeat(4, 0).repeat(4, 1)
    out = resample(ramp, (1.0, 1.5, 3.0))
    assert out.shape == (4, 4, 5)  # round(8 / 1.5)
    np.testing.assert_allclose(out[0, 0], [0, 1.5, 3, 4.5, 6])


def test_beyond_the_last_slice_is_air() -> None:
    volume = np.full((2, 4, 4), 50, dtype=np.float32)
    out = resample(volume, (1.5, 1.5, 8.0))
    assert out.shape[0] == 5
    places = np.arange(5) * 3 / 8
    assert (out[:, 0, 0] == AIR).tolist() == (places >= 1.5).tolist()
    assert (resample(volume, (1.5, 1.5, 8.0), outside=0.0)[:, 0, 0] == 0).tolist() == (places >= 1.5).tolist()


def test_odd_surplus_and_gap() -> None:
    line = np.arange(5)[:, None, None]
    assert crop_or_pad(line, (2, 1, 1)).ravel().tolist() == [2, 3]
    assert crop_or_pad(line[:2], (5, 1, 1), fill=-1).ravel().tolist() == [-1, 0, 1, -1, -1]


def test_prepared_range_and_axes() -> None:
    volume = np.linspace(-3000, 3000, 4 * 6 * 8).reshape(4, 6, 8)
    out = prepare_volume(volume, (1.5, 1.5, 3.0), (6, 6, 6))
    assert (out.min(), out.max(), out.shape) == (-1000, 1000, (6, 6, 6))
    fed = network_input(prepare_volume(volume, (1.5, 1.5, 3.0), (4, 6, 8)))
    assert fed.shape == (1, 8, 6, 4)
    assert fed.min() == pytest.approx((-1 - 0.4978) / 0.2449)
    assert fed.max() == pytest.approx((1 - 0.4978) / 0.2449)


@pytest.mark.parametrize(("shape", "spacing"), [((4, 4), (1, 1, 1)), ((4, 4, 4), (1, 0, 1))])
def test_bad_volumes(shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    with pytest.raises(DataError):
        resample(np.zeros(shape), spacing)


def test_vit3d_takes_other_grids_and_refuses_odd_sizes() -> None:
    network = ViT3D((8, 8, 4), (4, 4, 2), width=12, depth=1, heads=2, hidden=16).eval()
    with torch.no_grad():
        tokens = network(torch.randn(2, 1, 12, 8, 4))
    assert tokens.grid == (3, 2, 2)
    assert tokens.patches.shape == (2, 12, 12)
    assert "pos_embed" not in dict(network.named_parameters())
    with pytest.raises(BenchError, match="no multiple"):
        network(torch.randn(1, 1, 9, 8, 4))


def test_position_table() -> None:
    table = sincos_table(14, (2, 1, 3))[0]
    assert table.shape == (7, 14)
    assert (table[0] == 0).all()
    assert (table[:, 12:] == 0).all()  # 2 · ⌊14/6⌋ channels an axis, the rest is empty
    np.testing.assert_allclose(table[4, :4], [np.sin(1), np.sin(0.01), np.cos(1), np.cos(0.01)], rtol=1e-6)
