"""Encoders of a few weights, which tests of what happens around an encoder use."""

from __future__ import annotations

import torch

from benchmark.core.features import ImageFeatures
from benchmark.core.preprocessing import Preprocessing
from benchmark.encoders.base import ImageEncoder, TextEncoder, TokenBatch
from benchmark.encoders.cards import ImageCard, TextCard


class Pixels(ImageEncoder):
    """One convolution; counts what it encodes."""

    def __init__(self, seed: int = 0, size: int = 8, mean: float = 0.5) -> None:
        steps = Preprocessing(size=size, mean=(mean,))
        super().__init__(
            ImageCard(
                name="tiny", source="timm", weights="random", licence="none", seen=(), preprocessing=steps
            )
        )
        torch.manual_seed(seed)
        self.convolution = torch.nn.Conv2d(3, 5, 4, 4)
        self.width, self.grid, self.seen = 5, (size // 4, size // 4), 0
        self.stop_after = 10**9

    def forward(self, images: torch.Tensor) -> ImageFeatures:
        if self.seen >= self.stop_after:
            raise KeyboardInterrupt
        self.seen += len(images)
        local = self.convolution(images).flatten(2).transpose(1, 2)
        return ImageFeatures(local.mean(1), local, self.grid)


class Words(TextEncoder):
    """Hashes words to vectors; counts what it encodes."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(
            TextCard(name="words", source="transformers", weights="random", licence="none", seen=())
        )
        torch.manual_seed(seed)
        self.table = torch.nn.Embedding(64, 6)
        self.width, self.seen = 6, 0

    def tokenize(self, texts: list[str]) -> TokenBatch:
        rows = [text.split() for text in texts]
        longest = max([*map(len, rows), 1])
        ids = torch.tensor([[sum(w.encode()) % 63 + 1 for w in r] + [0] * (longest - len(r)) for r in rows])
        return TokenBatch(ids, ids > 0, ids > 0, tuple(map(tuple, rows)))

    def hidden(self, tokens: TokenBatch) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen += len(tokens.ids)
        states = self.table(tokens.ids) * tokens.attended[..., None]
        return states.sum(1), states


class Blocks(ImageEncoder):
    """A stem, three blocks of 1 x 1 and a norm."""

    def __init__(self, seed: int = 0) -> None:
        steps = Preprocessing(size=8)
        about = {"name": "blocks", "source": "timm", "weights": "random", "licence": "none", "seen": ()}
        super().__init__(ImageCard(**about, preprocessing=steps))
        torch.manual_seed(seed)
        self.stem = torch.nn.Conv2d(3, 6, 4, 4)
        blocks = [torch.nn.Sequential(torch.nn.Conv2d(6, 6, 1), torch.nn.Tanh()) for _ in range(3)]
        self.blocks = torch.nn.Sequential(*blocks)
        self.norm = torch.nn.LayerNorm(6)
        self.width, self.grid = 6, (2, 2)

    def forward(self, images: torch.Tensor) -> ImageFeatures:
        local = self.norm(self.blocks(self.stem(images)).flatten(2).transpose(1, 2))
        return ImageFeatures(local.mean(1), local, self.grid)


class Layers(TextEncoder):
    """A table of words and two linear layers."""

    def __init__(self, seed: int = 0) -> None:
        about = {"name": "layers", "source": "transformers", "weights": "random", "licence": "none"}
        super().__init__(TextCard(**about, seen=()))
        torch.manual_seed(seed)
        self.table = torch.nn.Embedding(64, 5)
        self.layer = torch.nn.ModuleList(torch.nn.Linear(5, 5) for _ in range(2))
        self.width = 5

    def tokenize(self, texts: list[str]) -> TokenBatch:
        rows = [text.split() for text in texts]
        longest = max(map(len, rows))
        ids = torch.tensor([[sum(w.encode()) % 63 + 1 for w in r] + [0] * (longest - len(r)) for r in rows])
        return TokenBatch(ids, ids > 0, ids > 0, tuple(map(tuple, rows)))

    def hidden(self, tokens: TokenBatch) -> tuple[torch.Tensor, torch.Tensor]:
        states = self.table(tokens.ids)
        for layer in self.layer:
            states = layer(states).tanh()
        states = states * tokens.attended[..., None]
        return states.sum(1), states
