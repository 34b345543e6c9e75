from __future__ import annotations

import pytest
import torch

from benchmark.core.errors import BenchError
from benchmark.core.preprocessing import Preprocessing
from benchmark.data.volume_steps import VolumeSteps
from benchmark.encoders.base import fingerprint
from benchmark.encoders.cards import ImageCard
from benchmark.encoders.slices import CELLS, SliceEncoder
from benchmark.encoders.timm_images import TimmImage


@pytest.fixture(scope="module")
def encoder() -> SliceEncoder:
    card = ImageCard(
        name="small",
        source="timm",
        architecture="tf_efficientnet_lite0",
        weights="random",
        licence="none",
        seen=(),
        preprocessing=Preprocessing(size=64),
        stage=3,
    )
    small = SliceEncoder(TimmImage(card), "small-slices")
    small.steps = VolumeSteps(spacing=(20.0, 5.6, 5.6), shape=(16, 64, 64))
    return small


def test_tokens_are_mean_and_maximum_over_their_cell(encoder: SliceEncoder) -> None:
    volume = torch.full((1, 16, 64, 64), -900, dtype=torch.int16)
    volume[0, 4:6, 16:32, 48:64] = 60
    with torch.inference_mode():
        found = encoder.encode(volume)
        maps = encoder.planes(encoder.prepare(volume)[0]).local.reshape(16, 4, 4, -1)
    half = encoder.width // 2
    assert found.grid == CELLS
    assert found.local.shape == (1, 128, encoder.width)
    own = found.local.reshape(8, 4, 4, -1)[2, 1, 3]
    torch.testing.assert_close(own[:half], maps[4:6, 1, 3].mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(own[half:], maps[4:6, 1, 3].amax(0), rtol=1e-4, atol=1e-5)


def test_a_slice_is_three_windows(encoder: SliceEncoder) -> None:
    values = torch.tensor([-1024, -400, 40, 600, 3000], dtype=torch.int16).reshape(1, 1, 1, 5)
    shown = encoder.prepare(values)[0, 0, :, 0] * 0.5 + 0.5
    expected = [[0, 0.5, 0.8667, 1, 1], [0, 0, 0.5, 1, 1], [0, 0, 0.2, 0.6667, 1]]
    torch.testing.assert_close(shown, torch.tensor(expected), atol=1e-3, rtol=0)


def test_planes_are_refused_and_other_windows_are_another_encoder(encoder: SliceEncoder) -> None:
    with pytest.raises(BenchError, match="no scores on radiographs"):
        encoder.encode(torch.zeros(2, 64, 64, dtype=torch.uint8))
    before = fingerprint(encoder)
    encoder.windows[0, 0] -= 100
    assert fingerprint(encoder) != before
    encoder.windows[0, 0] += 100
