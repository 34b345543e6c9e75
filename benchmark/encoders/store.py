"""Feature stores: what encoders produced, memory-mapped, read by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.core.errors import BenchError
from benchmark.core.features import ImageFeatures, TextFeatures
from benchmark.core.files import read_json
from benchmark.core.hashing import hash_array, hash_bytes, hash_value

Rows = Sequence[int] | NDArray[Any] | Tensor | slice


@dataclass(frozen=True)
class FeatureStore:
    """Features of N images. pooled: (N, D) float32. local: (N, P, D) float32 or float16, on disk.

    key: content key; two stores with one key hold the same numbers.
    """

    pooled: NDArray[Any]
    local: NDArray[Any]
    grid: tuple[int, ...]
    key: str
    info: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path | str) -> FeatureStore:
        """Raises BenchError where the folder holds no finished store."""
        folder = Path(folder)
        info = _info(folder, "image")
        pooled = np.load(folder / "pooled.npy", mmap_mode="r")
        local = np.load(folder / "local.npy", mmap_mode="r")
        return cls(pooled, local, tuple(info["grid"]), info["key"], info)

    @classmethod
    def of(cls, features: ImageFeatures, key: str | None = None) -> FeatureStore:
        """A store in memory."""
        pooled, local = features.pooled.detach().numpy(), features.local.detach().numpy()
        own = key or hash_value([hash_array(pooled), hash_array(local), list(features.grid)])
        return cls(pooled, local, features.grid, own)

    @property
    def width(self) -> int:
        return int(self.pooled.shape[1])

    def __len__(self) -> int:
        return int(self.pooled.shape[0])

    def get(self, rows: Rows) -> ImageFeatures:
        """Features of these rows, float32, in memory."""
        index = _index(rows, len(self))
        return ImageFeatures(_floats(self.pooled, index), _floats(self.local, index), self.grid)


@dataclass(frozen=True)
class TextStore:
    """Features of T distinct texts. pooled: (T, D). tokens: (ΣL, D) word tokens of all texts in a row,
    text t at offsets[t]:offsets[t+1]. digests: sha256 of each text, its identity here."""

    pooled: NDArray[Any]
    tokens: NDArray[Any]
    offsets: NDArray[np.int64]
    digests: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    key: str
    info: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path | str) -> TextStore:
        """Raises BenchError where the folder holds no finished store."""
        folder = Path(folder)
        info = _info(folder, "text")
        content = read_json(folder / "texts.json")
        return cls(
            np.load(folder / "pooled.npy", mmap_mode="r"),
            np.load(folder / "tokens.npy", mmap_mode="r"),
            np.load(folder / "offsets.npy"),
            tuple(content["digests"]),
            tuple(tuple(row) for row in content["words"]),
            info["key"],
            info,
        )

    @classmethod
    def of(cls, texts: Sequence[str], features: TextFeatures) -> TextStore:
        """A store in memory; texts must be distinct."""
        counts = features.mask.sum(1)
        offsets = np.concatenate([[0], np.cumsum(counts.numpy())]).astype(np.int64)
        tokens = features.local[features.mask].detach().numpy()
        pooled = features.pooled.detach().numpy()
        words = features.words or tuple(("",) * int(count) for count in counts)
        digests = tuple(digest(text) for text in texts)
        key = hash_value([hash_array(pooled), hash_array(tokens), offsets.tolist(), digests])
        return cls(pooled, tokens, offsets, digests, words, key)

    @property
    def width(self) -> int:
        return int(self.pooled.shape[1])

    def __len__(self) -> int:
        return int(self.pooled.shape[0])

    def rows(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """The row of each text. Raises BenchError where one was never encoded."""
        place = {value: row for row, value in enumerate(self.digests)}
        found = [place.get(digest(text), -1) for text in texts]
        if -1 in found:
            raise BenchError(
                f"text {found.index(-1) + 1} of {len(texts)} is not in the text features; encode it first."
            )
        return np.asarray(found, dtype=np.int64)

    def lengths(self, rows: Rows) -> NDArray[np.int64]:
        """Number of word tokens of these texts."""
        index = _index(rows, len(self))
        return self.offsets[index + 1] - self.offsets[index]

    def get(self, rows: Rows, length: int | None = None) -> TextFeatures:
        """Features of these rows, float32, padded to their longest text or to `length` columns."""
        index = _index(rows, len(self))
        counts = self.offsets[index + 1] - self.offsets[index]
        columns = max(int(counts.max(initial=0)), 1) if length is None else length
        mask = np.arange(columns)[None, :] < counts[:, None]
        local = np.zeros((len(index), columns, self.width), dtype=np.float32)
        spans = [np.arange(self.offsets[i], self.offsets[i + 1]) for i in index]
        if mask.any():
            local[mask] = self.tokens[np.concatenate(spans)]
        return TextFeatures(
            _floats(self.pooled, index),
            torch.from_numpy(local),
            torch.from_numpy(mask),
            tuple(self.words[i] for i in index),
        )


def digest(text: str) -> str:
    """The identity of a text."""
    return hash_bytes(text.encode())


def _index(rows: Rows, size: int) -> NDArray[np.int64]:
    if isinstance(rows, slice):
        return np.arange(size, dtype=np.int64)[rows]
    if isinstance(rows, Tensor):
        rows = rows.cpu().numpy()
    index = np.asarray(rows, dtype=np.int64)
    if index.size and (index.min() < 0 or index.max() >= size):
        raise BenchError(f"row {int(index.max())} is outside the store's {size} rows.")
    return index


def _floats(array: NDArray[Any], index: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array[index])).float()


def _info(folder: Path, kind: str) -> dict[str, Any]:
    if not (folder / "store.json").is_file():
        raise BenchError(f"{folder}: holds no finished features. Run `bench data prepare` or remove it.")
    info: dict[str, Any] = read_json(folder / "store.json")
    if info.get("kind") != kind:
        raise BenchError(f"{folder}: holds {info.get('kind')} features, {kind} features were expected.")
    return info
