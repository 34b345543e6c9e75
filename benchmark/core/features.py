"""What encoders hand to methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class ImageFeatures:
    """Features of I images.

    pooled: (I, D) global vector. local: (I, P, D) patch tokens, row-major over `grid`.
    grid: spatial shape with prod(grid) == P, 2D or 3D.
    findings: (I, K) in {-1, 0, 1}, what the image's own report says of K concepts (absent, not
    mentioned, present). Training only; evaluation never sets it.
    """

    pooled: Tensor
    local: Tensor
    grid: tuple[int, ...]
    findings: Tensor | None = None

    def __len__(self) -> int:
        return self.pooled.shape[0]

    def __getitem__(self, index: slice | Tensor | Sequence[int]) -> ImageFeatures:
        return replace(
            self, pooled=self.pooled[index], local=self.local[index], findings=_pick(self.findings, index)
        )

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> ImageFeatures:
        """Move and cast the floating tensors."""
        return replace(
            self,
            pooled=self.pooled.to(device=device, dtype=dtype),
            local=self.local.to(device=device, dtype=dtype),
            findings=None if self.findings is None else self.findings.to(device=device),
        )


@dataclass(frozen=True)
class TextFeatures:
    """Features of T texts.

    pooled: (T, D). local: (T, L, D) word tokens, zero where mask is False. mask: (T, L) bool,
    True on real tokens. words: per text, the strings of its L columns (may be None).
    findings: (T, K) in {-1, 0, 1}, what each text says of K concepts. Training only.
    """

    pooled: Tensor
    local: Tensor
    mask: Tensor
    words: tuple[tuple[str, ...], ...] | None = None
    findings: Tensor | None = None

    def __len__(self) -> int:
        return self.pooled.shape[0]

    def __getitem__(self, index: slice | Tensor | Sequence[int]) -> TextFeatures:
        words = self.words
        if words is not None:
            picks = range(len(words))[index] if isinstance(index, slice) else [int(i) for i in index]
            words = tuple(words[i] for i in picks)
        return replace(
            self,
            pooled=self.pooled[index],
            local=self.local[index],
            mask=self.mask[index],
            words=words,
            findings=_pick(self.findings, index),
        )

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> TextFeatures:
        """Move and cast the floating tensors."""
        return replace(
            self,
            pooled=self.pooled.to(device=device, dtype=dtype),
            local=self.local.to(device=device, dtype=dtype),
            mask=self.mask.to(device=device),
            findings=None if self.findings is None else self.findings.to(device=device),
        )


def _pick(value: Tensor | None, index: slice | Tensor | Sequence[int]) -> Tensor | None:
    return None if value is None else value[index]
