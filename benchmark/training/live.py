"""Pixels and sentences with their encoders in the graph: fine-tuning, the feature cache off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from benchmark.core.errors import BenchError
from benchmark.core.features import ImageFeatures, TextFeatures
from benchmark.core.hashing import hash_array, hash_strings
from benchmark.encoders.base import ImageEncoder, TextEncoder, fingerprint
from benchmark.encoders.store import digest


@dataclass(frozen=True)
class PixelStore:
    """Preprocessed pixels (N, S, S) uint8 and the encoder that is fine-tuned on them."""

    pixels: NDArray[Any]
    encoder: ImageEncoder
    key: str

    @classmethod
    def of(cls, pixels: NDArray[Any], encoder: ImageEncoder) -> PixelStore:
        blocks = (hash_array(pixels[first : first + 1024]) for first in range(0, len(pixels), 1024))
        return cls(pixels, encoder, hash_strings(["pixels", fingerprint(encoder), *blocks]))

    @property
    def width(self) -> int:
        return self.encoder.width

    def __len__(self) -> int:
        return len(self.pixels)

    def get(self, rows: NDArray[Any]) -> ImageFeatures:
        """Features of these rows, in the caller's gradient mode."""
        device = next(self.encoder.parameters()).device
        return self.encoder.encode(torch.from_numpy(np.array(self.pixels[rows])).to(device))


@dataclass(frozen=True)
class SentenceStore:
    """Distinct sentences and the encoder that is fine-tuned on them."""

    sentences: tuple[str, ...]
    encoder: TextEncoder
    counts: NDArray[np.int64]
    key: str

    @classmethod
    def of(cls, sentences: Sequence[str], encoder: TextEncoder) -> SentenceStore:
        distinct = tuple(sorted(set(sentences)))
        counts = np.array([len(words) for words in encoder.tokenize(distinct).words], dtype=np.int64)
        return cls(distinct, encoder, counts, hash_strings(["sentences", fingerprint(encoder), *distinct]))

    @property
    def width(self) -> int:
        return self.encoder.width

    def __len__(self) -> int:
        return len(self.sentences)

    def rows(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """The row of each text. Raises BenchError where one is not among the sentences."""
        place = {digest(text): row for row, text in enumerate(self.sentences)}
        found = [place.get(digest(text), -1) for text in texts]
        if -1 in found:
            raise BenchError(f"text {found.index(-1) + 1} of {len(texts)} is not among the sentences.")
        return np.asarray(found, dtype=np.int64)

    def lengths(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        """Number of word tokens of these sentences."""
        found: NDArray[np.int64] = self.counts[rows]
        return found

    def get(self, rows: NDArray[Any], length: int | None = None) -> TextFeatures:
        """Features of these rows, padded to `length` columns, in the caller's gradient mode."""
        found = self.encoder.encode([self.sentences[row] for row in rows])
        return found if length is None else pad_columns(found, length)


def pad_columns(text: TextFeatures, length: int) -> TextFeatures:
    """Word columns padded to `length` with zeros and False."""
    more = length - text.local.shape[1]
    local: Tensor = functional.pad(text.local, (0, 0, 0, more))
    mask = functional.pad(text.mask, (0, more))
    return TextFeatures(text.pooled, local, mask, text.words, text.findings)
