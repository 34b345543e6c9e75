"""The encoder interface: pixels or texts in, features out, and a fingerprint for the cache."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.core.features import ImageFeatures, TextFeatures
from benchmark.core.hashing import hash_array, hash_strings, hash_value
from benchmark.core.preprocessing import Preprocessing
from benchmark.encoders.cards import ImageCard, TextCard

CODE_VERSION = 1
"""Part of every fingerprint: raise it when an encoder's arithmetic changes."""


class ImageEncoder(nn.Module, ABC):
    """Maps normalised images to features. `width` is the D of both the pooled vector and the tokens.

    A subclass sets `width` and `grid` and implements `forward`. It stays in eval mode: batch norms
    use their stored statistics and dropout is off, frozen or fine-tuned.
    """

    modality: ClassVar[Literal["cxr", "ct"]] = "cxr"
    """What it reads: plane radiographs, or volumes of computed tomography."""
    width: int
    grid: tuple[int, ...]
    mean: Tensor
    std: Tensor

    def __init__(self, card: ImageCard) -> None:
        super().__init__()
        self.card = card
        steps = card.preprocessing
        self.register_buffer("mean", _channels(steps.mean, steps), persistent=False)
        self.register_buffer("std", _channels(steps.std, steps), persistent=False)

    @property
    def preprocessing(self) -> Preprocessing:
        return self.card.preprocessing

    @abstractmethod
    def forward(self, images: Tensor) -> ImageFeatures:
        """images: (B, C, S, S) normalised floats."""

    def normalise(self, pixels: Tensor) -> Tensor:
        """(B, S, S) uint8 → (B, C, S, S) float: scale to [0, 1], subtract the mean, divide by the std."""
        scaled = pixels.to(self.mean.device).to(self.mean.dtype).div(255).unsqueeze(1)
        return (scaled - self.mean) / self.std

    def encode(self, pixels: Tensor) -> ImageFeatures:
        """(B, S, S) uint8 → features, in the caller's gradient mode."""
        return self.forward(self.normalise(pixels))

    def train(self, mode: bool = True) -> ImageEncoder:
        return super().train(False)


@dataclass(frozen=True)
class TokenBatch:
    """ids: (B, L) long. attended: (B, L) bool, what the network sees. kept: (B, L) bool, which tokens
    become columns of the word features. words: per text, the strings of its kept tokens."""

    ids: Tensor
    attended: Tensor
    kept: Tensor
    words: tuple[tuple[str, ...], ...]


class TextEncoder(nn.Module, ABC):
    """Maps texts to features. A subclass sets `width` and implements `tokenize` and `hidden`."""

    width: int

    def __init__(self, card: TextCard) -> None:
        super().__init__()
        self.card = card

    def vocabulary(self) -> str:
        """A hash of what turns texts into ids, where the card does not name it; "" where it does."""
        return ""

    @abstractmethod
    def tokenize(self, texts: Sequence[str]) -> TokenBatch: ...

    @abstractmethod
    def hidden(self, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        """(pooled (B, D), token states (B, L, D))."""

    def forward(self, tokens: TokenBatch) -> TextFeatures:
        device = next(self.parameters()).device
        tokens = TokenBatch(
            tokens.ids.to(device), tokens.attended.to(device), tokens.kept.to(device), tokens.words
        )
        pooled, states = self.hidden(tokens)
        order = torch.argsort(~tokens.kept, dim=1, stable=True)  # kept columns first, in order
        longest = max(int(tokens.kept.sum(1).max()), 1)
        mask = tokens.kept.gather(1, order)[:, :longest]
        local = states.gather(1, order[:, :longest, None].expand(-1, -1, states.shape[-1]))
        return TextFeatures(pooled, local * mask.unsqueeze(-1).to(local.dtype), mask, tokens.words)

    def encode(self, texts: Sequence[str]) -> TextFeatures:
        """Features of the texts, in the caller's gradient mode."""
        return self.forward(self.tokenize(texts))

    def train(self, mode: bool = True) -> TextEncoder:
        return super().train(False)


_NOT_CONTENT = {"weights", "sha256", "licence", "seen", "note", "name", "tokenizer"}


def fingerprint(encoder: ImageEncoder | TextEncoder) -> str:
    """sha256 over card, tensors, vocabulary and code version: what the features are a function of.

    The weights file's own hash, its path and the card's prose do not count; tensors and vocabulary do.
    """
    tensors = [
        f"{name}:{hash_array(_plain(tensor))}" for name, tensor in sorted(encoder.state_dict().items())
    ]
    card = encoder.card.model_dump(mode="json", exclude=_NOT_CONTENT)
    read = [encoder.vocabulary()] if isinstance(encoder, TextEncoder) else []
    return hash_value([CODE_VERSION, type(encoder).__qualname__, card, hash_strings(tensors), *read])


def _plain(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _channels(values: tuple[float, ...], steps: Preprocessing) -> Tensor:
    row = torch.tensor(values, dtype=torch.float32)
    return (row if len(values) == steps.channels else row.expand(steps.channels)).reshape(-1, 1, 1)
