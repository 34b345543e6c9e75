"""Tiles and encoder chunks change memory, never the loss or its gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from training_cases import IMAGE_DIM, TEXT_DIM, make_data

from benchmark.core.features import ImageFeatures
from benchmark.core.preprocessing import Preprocessing
from benchmark.core.settings import train_config
from benchmark.encoders.base import ImageEncoder, TextEncoder, TokenBatch
from benchmark.encoders.cards import ImageCard, TextCard
from benchmark.training.data import TrainingData, epoch_batches, training_data
from benchmark.training.live import PixelStore, SentenceStore
from benchmark.training.loop import seeded_method, train
from benchmark.training.step import Step
from benchmark.training.tiling import tile_within
from methods.base import METHODS, Method


def plain(name: str) -> Method:
    """Without dropout, whose draws depend on the tiles."""
    options = {"dropout": 0.0} if "dropout" in METHODS.get(name).Config.model_fields else {}
    return seeded_method(name, {"width": 8, **options}, IMAGE_DIM, TEXT_DIM, 0)


def gradients(
    name: str, data: TrainingData, batch_of: int = 17, **switches: object
) -> tuple[Tensor, list[Tensor]]:
    method = plain(name)
    config = train_config({"batch_size": batch_of, **switches})
    batch = epoch_batches(data, 0, 0, batch_of, method.trains_on)[0]
    loss = Step(method, data, config, torch.device("cpu")).backward(batch).total.detach()
    return loss, [torch.zeros(()) if p.grad is None else p.grad for p in method.parameters()]


@pytest.mark.parametrize("name", METHODS.names())
@pytest.mark.parametrize("tile", [(1, 1), (4, 6), (17, 3), (100, 100)])
def test_tiled_equals_untiled(name: str, tile: tuple[int, int], data: TrainingData) -> None:
    loss, expected = gradients(name, data)
    tiled, found = gradients(name, data, tile=tile)
    torch.testing.assert_close(tiled, loss, rtol=1e-5, atol=1e-6)
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5 * max(1.0, float(two.abs().max())))


def test_a_memory_budget_becomes_a_tile(data: TrainingData) -> None:
    method = plain("carzero")
    image, text = data.images.get(slice(0, 16)), data.text.get(slice(0, 16))
    prepared = method.prepare_image(image), method.prepare_text(text)
    assert tile_within(method, *prepared, gib=1.0) is None
    small, large = tile_within(method, *prepared, gib=1e-4), tile_within(method, *prepared, gib=2e-4)
    assert small is not None
    assert large is not None
    assert small[0] < large[0] <= 16
    loss, _ = gradients("carzero", data)
    bounded, _ = gradients("carzero", data, memory_gib=1e-4)
    torch.testing.assert_close(bounded, loss, rtol=1e-5, atol=1e-6)


class Pixels(ImageEncoder):
    """A tiny convolution, trainable."""

    def __init__(self) -> None:
        super().__init__(
            ImageCard(
                name="tiny",
                source="timm",
                weights="random",
                licence="none",
                seen=(),
                preprocessing=Preprocessing(size=6),
            )
        )
        self.width, self.grid = IMAGE_DIM, (3, 3)
        self.convolution = nn.Conv2d(3, IMAGE_DIM, 2, 2)

    def forward(self, images: Tensor) -> ImageFeatures:
        local = self.convolution(images).flatten(2).transpose(1, 2).tanh()
        return ImageFeatures(local.mean(1), local, self.grid)


class Letters(TextEncoder):
    """Characters as tokens, trainable."""

    def __init__(self) -> None:
        super().__init__(
            TextCard(name="letters", source="transformers", weights="random", licence="none", seen=())
        )
        self.width = TEXT_DIM
        self.table = nn.Embedding(128, TEXT_DIM)

    def tokenize(self, texts: list[str]) -> TokenBatch:
        longest = max(map(len, texts))
        ids = torch.tensor([[ord(c) for c in t.ljust(longest, "\0")] for t in texts])
        return TokenBatch(ids, ids > 0, ids > 32, tuple(tuple(t.replace(" ", "")) for t in texts))

    def hidden(self, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        states = self.table(tokens.ids) * tokens.attended[..., None]
        return states.sum(1) / tokens.attended.sum(1, keepdim=True), states


def live_data() -> TrainingData:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (20, 6, 6), dtype=np.uint8)
    sentences = [[f"finding {n % 4}", "a longer sentence"[: 4 + n % 9]] for n in range(20)]
    text = SentenceStore.of([s for row in sentences for s in row], Letters())
    split = ["val" if n % 5 == 0 else "train" for n in range(20)]
    return training_data(
        PixelStore.of(pixels, Pixels()), sentences, text, list(map(str, range(20))), split=split
    )


@pytest.mark.parametrize("name", ["clip", "carzero", "radzero"])
def test_gradient_caching_is_exact(name: str) -> None:
    found = []
    for chunk in (None, 3, 100):
        data = live_data()
        method = plain(name)
        config = train_config(
            {"batch_size": 16, "encoder_chunk": chunk, "tile": None if chunk is None else (5, 4)}
        )
        batch = epoch_batches(data, 0, 0, 16, method.trains_on)[0]
        Step(method, data, config, torch.device("cpu")).backward(batch)
        modules = [method, data.images.encoder, data.text.encoder]
        found.append([p.grad for m in modules for p in m.parameters() if p.grad is not None])
    assert len(found[0]) >= 3
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def test_fine_tuning_trains_and_saves_the_encoders(tmp_path) -> None:
    data = live_data()
    before = data.images.encoder.convolution.weight.detach().clone()
    config = train_config({"epochs": 2, "batch_size": 8, "encoder_chunk": 4})
    result = train(plain("clip"), data, config, tmp_path, 0)
    assert result.run["fine_tuned"] == ["image", "text"]
    assert not torch.equal(before, data.images.encoder.convolution.weight)
    saved = load_file(tmp_path / "model.safetensors")
    assert not torch.equal(before, saved["encoder.image.convolution.weight"])


def test_features_are_not_mixed_up_in_float64() -> None:
    """One float64 step: the engine adds no float32 rounding of its own."""
    data = make_data(dtype=torch.float32)
    method = plain("clip").double()
    batch = epoch_batches(data, 0, 0, 8, "one")[0]
    step = Step(method, data, train_config({}), torch.device("cpu"))
    image, text = step.load(batch)
    positives = torch.from_numpy(batch.positives)
    expected = method.loss(image.to(dtype=torch.float64), text.to(dtype=torch.float64), positives)
    assert step.backward(batch).total.item() == pytest.approx(expected.total.item(), rel=1e-12)
