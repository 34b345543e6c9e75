"""All images × all texts, tile by tile, from the feature cache; resumable by shard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.core.features import TextFeatures
from benchmark.core.files import atomic_path
from benchmark.core.hashing import hash_array, hash_value
from benchmark.encoders.store import FeatureStore
from methods.base import Method, Prepared

Report = Callable[[int, int], None]
SHARD = 1024
"""Images whose scores are kept together."""


@torch.no_grad()
def score(
    method: Method,
    images: FeatureStore,
    text: TextFeatures,
    tile: tuple[int, int] = (64, 64),
    *,
    rows: NDArray[Any] | None = None,
    shards: Path | None = None,
    shard: int = SHARD,
    device: str | torch.device = "cpu",
    precision: torch.dtype | None = None,
    report: Report | None = None,
) -> NDArray[np.float32]:
    """(N, T) float32 scores of every image with every text; higher means a better match.

    rows: (N,) rows of `images`, default all. tile: images and texts of one interaction; texts are
    prepared once. shards: a folder that keeps the scores of every `shard` images until the caller removes
    it, so that a killed run goes on where it was; a set of one shard keeps nothing. precision: autocast
    dtype. report: images done, images in all.
    """
    index = np.arange(len(images)) if rows is None else np.asarray(rows, dtype=np.int64)
    torch.set_flush_denormal(True)
    method = method.to(device).eval()
    folder = None
    if shards is not None and len(index) > shard:
        folder = shards / _key(method, images, text, index, shard, precision)[:16]
    prepared = _prepare_texts(method, text, tile[1], device, precision)
    scores = np.empty((len(index), len(text)), dtype=np.float32)
    for start in range(0, len(index), shard):
        span = index[start : start + shard]
        path = None if folder is None else folder / f"{start:09d}.npy"
        if path is not None and path.is_file():
            found = np.load(path)
        else:
            found = _rows(method, images, span, prepared, tile[0], device, precision)
            if path is not None:
                with atomic_path(path) as target:
                    np.save(target, found)
        scores[start : start + len(span)] = found
        if report is not None:
            report(start + len(span), len(index))
    return scores


def _prepare_texts(
    method: Method, text: TextFeatures, size: int, device: Any, precision: torch.dtype | None
) -> list[Prepared]:
    found = []
    for first in range(0, len(text), size):
        piece = text[first : first + size]
        longest = max(int(piece.mask.sum(1).max()), 1) if len(piece) else 1
        piece = TextFeatures(piece.pooled, piece.local[:, :longest], piece.mask[:, :longest], piece.words)
        with _autocast(device, precision):
            found.append(method.prepare_text(piece.to(device)))
    return found


def _rows(
    method: Method, images: FeatureStore, span: NDArray[Any], texts: list[Prepared], size: int,
    device: Any, precision: torch.dtype | None,
) -> NDArray[np.float32]:  # fmt: skip
    blocks = []
    for first in range(0, len(span), size):
        with _autocast(device, precision):
            image = method.prepare_image(images.get(span[first : first + size]).to(device))
            row = [method.score_pairs(method.interact(image, text, scoring=True)).float() for text in texts]
        blocks.append(torch.cat(row, 1).cpu().numpy())
    return np.concatenate(blocks).astype(np.float32)


def _autocast(device: Any, precision: torch.dtype | None) -> Any:
    return torch.autocast(torch.device(device).type, dtype=precision, enabled=precision is not None)


def _key(
    method: Method, images: FeatureStore, text: TextFeatures, index: NDArray[Any], shard: int,
    precision: torch.dtype | None,
) -> str:  # fmt: skip
    weights = {name: hash_array(value.cpu().numpy()) for name, value in method.state_dict().items()}
    texts = [hash_array(value.cpu().numpy()) for value in (text.pooled, text.local, text.mask)]
    options = method.config.model_dump(mode="json")
    return hash_value(
        [1, method.name, options, weights, images.key, texts, hash_array(index), shard, str(precision)]
    )
