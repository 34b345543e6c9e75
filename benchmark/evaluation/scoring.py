"""All images × all texts, tile by tile, from the feature cache: bounded memory, resumable by shard."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.core.errors import BenchError
from benchmark.core.features import TextFeatures
from benchmark.core.files import atomic_path, read_json, write_json
from benchmark.core.hashing import hash_array, hash_value
from benchmark.core.locks import only_writer
from benchmark.encoders.store import FeatureStore
from methods.base import Method, Prepared

Report = Callable[[int, int], None]


@torch.no_grad()
def score(
    method: Method,
    images: FeatureStore,
    text: TextFeatures,
    tile: tuple[int, int] = (64, 64),
    out: Path | str | None = None,
    *,
    rows: NDArray[Any] | None = None,
    shard: int = 1024,
    device: str | torch.device = "cpu",
    precision: torch.dtype | None = None,
    part: tuple[int, int] = (0, 1),
    report: Report | None = None,
) -> NDArray[np.float32]:
    """(N, T) float32 scores of every image with every text; higher means a better match.

    rows: (N,) rows of `images`, default all. tile: images and texts of one interaction; texts are
    prepared once. out: file of the result (.npy); finished shards of `shard` images lie beside it in
    `<out>.shards-<key>` until all are there, so a killed run goes on where it was.
    part: (i, n), compute only every n-th shard, starting at the i-th, into `out`'s shards: n processes
    share the work, and the one that finds all shards present joins them. Returns an empty array where
    shards of other processes are still missing.
    precision: autocast dtype. Raises BenchError where `part` is given without `out`.
    """
    index = np.arange(len(images)) if rows is None else np.asarray(rows, dtype=np.int64)
    if part != (0, 1) and out is None:
        raise BenchError("scoring in parts needs a file to join them in; give `out`.")
    torch.set_flush_denormal(True)
    method = method.to(device).eval()
    texts = len(text)
    prepared = _prepare_texts(method, text, tile[1], device, precision)
    starts = range(0, len(index), shard)
    if out is None:
        scores = np.empty((len(index), texts), dtype=np.float32)
        for start in starts:
            span = index[start : start + shard]
            scores[start : start + len(span)] = _rows(
                method, images, span, prepared, tile[0], device, precision
            )
            if report is not None:
                report(min(start + shard, len(index)), len(index))
        return scores
    out = Path(out)
    key = _key(method, images, text, index, shard, precision)
    done = _joined(out, key)
    if done is not None:
        return done
    folder = out.with_name(f"{out.name}.shards-{key[:16]}")
    files = [folder / f"{start:09d}.npy" for start in starts]
    for start, path in list(zip(starts, files, strict=True))[part[0] :: part[1]]:
        if not path.is_file():
            span = index[start : start + shard]
            found = _rows(method, images, span, prepared, tile[0], device, precision)
            with atomic_path(path) as target:
                np.save(target, found)
        if report is not None:
            report(min(start + shard, len(index)), len(index))
    with only_writer(out.with_name(f"{out.name}.lock")):
        done = _joined(out, key)
        if done is not None:
            return done
        if not all(path.is_file() for path in files):
            return np.empty((0, texts), dtype=np.float32)
        return _join(files, (len(index), texts), out, key, folder)


def _join(
    files: list[Path], shape: tuple[int, int], out: Path, key: str, folder: Path
) -> NDArray[np.float32]:
    with atomic_path(out) as target:
        whole = np.lib.format.open_memmap(target, mode="w+", dtype=np.float32, shape=shape)
        row = 0
        for path in files:
            block = np.load(path)
            whole[row : row + len(block)] = block
            row += len(block)
        whole.flush()
        del whole
    if row != shape[0]:
        raise BenchError(f"{folder}: shards hold {row} rows, {shape[0]} were expected; remove the folder.")
    write_json(out.with_name(f"{out.name}.json"), {"key": key})
    for shards in out.parent.glob(f"{out.name}.shards-*"):
        shutil.rmtree(shards, ignore_errors=True)
    return np.load(out, mmap_mode="r")  # type: ignore[no-any-return]


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


def _joined(out: Path, key: str) -> NDArray[np.float32] | None:
    """The finished result, if it is of this key."""
    note = out.with_name(f"{out.name}.json")
    if not (out.is_file() and note.is_file() and read_json(note).get("key") == key):
        return None
    return np.load(out, mmap_mode="r")  # type: ignore[no-any-return]
