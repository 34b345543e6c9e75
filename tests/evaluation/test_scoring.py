"""Tiles, shards and restarts never change a score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import benchmark.evaluation.scoring as scoring
from benchmark.core.features import ImageFeatures, TextFeatures
from benchmark.encoders.store import FeatureStore
from benchmark.evaluation.scoring import score
from methods.base import METHODS, Method, build


@pytest.fixture(scope="module")
def images() -> FeatureStore:
    rng = torch.Generator().manual_seed(0)
    pooled, local = torch.randn(23, 12, generator=rng), torch.randn(23, 9, 12, generator=rng)
    return FeatureStore.of(ImageFeatures(pooled, local, (3, 3)))


@pytest.fixture(scope="module")
def text() -> TextFeatures:
    rng = torch.Generator().manual_seed(1)
    mask = torch.arange(6)[None] < torch.tensor([6, 1, 4, 2, 5, 3, 6])[:, None]
    local = torch.randn(7, 6, 10, generator=rng) * mask[..., None]
    return TextFeatures(torch.randn(7, 10, generator=rng), local, mask)


def method_of(name: str) -> Method:
    torch.manual_seed(0)
    return build(name, {"width": 8}, 12, 10).eval()


@pytest.mark.parametrize("name", METHODS.names())
def test_tiles_and_shards_equal_the_plain_forward(
    name: str, images: FeatureStore, text: TextFeatures
) -> None:
    method = method_of(name)
    with torch.no_grad():
        expected = method(images.get(slice(None)), text).numpy()
    assert expected.shape == (23, 7)
    for tile, shard in (((64, 64), 1024), ((5, 3), 7), ((1, 1), 4)):
        found = score(method, images, text, tile, shard=shard)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    rows = np.array([20, 2, 2])
    np.testing.assert_allclose(score(method, images, text, rows=rows), expected[rows], rtol=1e-5, atol=1e-6)


def test_a_killed_run_goes_on_at_its_shard(
    images: FeatureStore, text: TextFeatures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = method_of("carzero")
    expected = score(method, images, text, shard=5)
    real, calls = scoring._rows, []

    def counted(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(scoring, "_rows", counted)
    place = tmp_path / "shards"
    with pytest.raises(KeyboardInterrupt):
        score(method, images, text, shard=5, shards=place)
    found = score(method, images, text, shard=5, shards=place)
    assert len(calls) == 3 + 3  # five shards, two of them kept
    assert np.array_equal(found, expected)
    with torch.no_grad():
        next(method.parameters()).add_(0.5)
    changed = score(method, images, text, shard=5, shards=place)
    assert len(calls) == 11
    assert not np.array_equal(changed, expected)
    other = score(method, images, text, shard=5, shards=place, rows=np.arange(10))
    assert len(calls) == 13
    assert np.array_equal(other, changed[:10])


def test_a_set_of_one_shard_leaves_no_files(images: FeatureStore, text: TextFeatures, tmp_path: Path) -> None:
    score(method_of("clip"), images, text, shards=tmp_path / "shards")
    assert not (tmp_path / "shards").exists()
