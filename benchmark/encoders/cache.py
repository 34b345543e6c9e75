"""The feature cache: encode once, under a key made of content, for every method to share."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.core import numerics
from benchmark.core.errors import BenchError
from benchmark.core.files import mapped_array, read_json, write_json
from benchmark.core.hashing import hash_array, hash_strings, hash_value
from benchmark.core.locks import only_writer
from benchmark.core.settings import Precision
from benchmark.data.contents import cores
from benchmark.encoders.base import ImageEncoder, TextEncoder, fingerprint
from benchmark.encoders.store import FeatureStore, TextStore, digest

Report = Callable[[int, int], None]
"""Called with (done, total)."""

_SHARD = 512
_LAYOUT = 1


def image_key(encoder: ImageEncoder, pixels_key: str, precision: Precision) -> str:
    """Key of image features: weights and code, preprocessing, pixels, precision, kernels."""
    steps = encoder.preprocessing.model_dump(mode="json")
    return hash_value(
        [_LAYOUT, "image", fingerprint(encoder), steps, pixels_key, precision, numerics.state()]
    )


def text_key(encoder: TextEncoder, texts: Sequence[str], precision: Precision) -> str:
    """Key of text features: weights and code, the texts, precision, kernels."""
    return hash_value(
        [_LAYOUT, "text", fingerprint(encoder), hash_strings(texts), precision, numerics.state()]
    )


def image_features(
    pixels: NDArray[Any],
    encoder: ImageEncoder,
    cache: Path | str,
    *,
    precision: Precision = "float16",
    pixels_key: str | None = None,
    device: str | torch.device = "cpu",
    batch_size: int = 64,
    report: Report | None = None,
) -> FeatureStore:
    """Features of preprocessed pixels (N, S, S) uint8 (of `decoded`), or of volumes (N, Z, Y, X) int16 (of
    `decoded_volumes`) where the encoder reads those, from the cache or computed.

    precision: of the stored patch tokens; pooled vectors stay float32. pixels_key: content key of the
    pixels, computed from them when not given. A killed run goes on at its last finished shard.
    Raises BenchError where the pixels are not what the encoder's preprocessing yields.
    """
    volumes = encoder.modality == "ct"
    if volumes:
        batch_size = 1
    else:
        side = encoder.preprocessing.side
        if pixels.shape[1:] != (side,) * (pixels.ndim - 1) or pixels.dtype != np.uint8:
            raise BenchError(
                f"encoder {encoder.card.name} takes uint8 images of {side} px, got {pixels.dtype} "
                f"{pixels.shape[1:]}; decode them with its preprocessing."
            )
    key = image_key(encoder, pixels_key or _hash_rows(pixels), precision)
    tokens = int(np.prod(encoder.grid))
    local_width = getattr(encoder, "local_width", encoder.width)  # GLoRIA's tokens come from an earlier layer
    layout = {
        "pooled": ((len(pixels), encoder.width), np.float32),
        "local": ((len(pixels), tokens, local_width), np.dtype(precision).type),
    }
    info = {"kind": "image", "key": key, "grid": list(encoder.grid), "precision": precision,
            "encoder": encoder.card.name, "licence": encoder.card.licence}  # fmt: skip

    def fill(start: int, stop: int, arrays: dict[str, NDArray[Any]]) -> None:
        rows = slice(start, stop)
        found = encoder.encode(torch.from_numpy(np.array(pixels[rows])).to(device))
        arrays["pooled"][rows] = found.pooled.float().cpu().numpy()
        arrays["local"][rows] = _stored(found.local, precision, encoder.card.name)

    encoder.to(device)
    on_cpu = torch.device(device).type == "cpu"
    workers = cores() if on_cpu and not volumes and numerics.state() == "portable" else 1
    folder = _build(Path(cache), key, layout, len(pixels), batch_size, workers, info, fill, report)
    return FeatureStore.open(folder)


def text_features(
    texts: Sequence[str],
    encoder: TextEncoder,
    cache: Path | str,
    *,
    precision: Precision = "float32",
    device: str | torch.device = "cpu",
    batch_size: int = 64,
    report: Report | None = None,
) -> TextStore:
    """Features of the distinct texts among `texts`, in batches of similar length; see `TextStore.rows`."""
    distinct = sorted(set(texts))
    key = text_key(encoder, distinct, precision)
    finished = Path(cache) / key
    if (finished / "store.json").is_file():
        return TextStore.open(finished)
    words: list[tuple[str, ...]] = []
    for first in range(0, len(distinct), 1024):
        words += encoder.tokenize(distinct[first : first + 1024]).words
    counts = np.array([len(row) for row in words], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    order = np.argsort([len(text) for text in distinct], kind="stable")
    layout = {
        "pooled": ((len(distinct), encoder.width), np.float32),
        "tokens": ((int(offsets[-1]), encoder.width), np.dtype(precision).type),
    }
    info = {"kind": "text", "key": key, "precision": precision, "encoder": encoder.card.name,
            "licence": encoder.card.licence}  # fmt: skip

    def fill(start: int, stop: int, arrays: dict[str, NDArray[Any]]) -> None:
        rows = order[start:stop]
        found = encoder.encode([distinct[i] for i in rows])
        arrays["pooled"][rows] = found.pooled.float().cpu().numpy()
        local = _stored(found.local, precision, encoder.card.name)
        for row, vectors in zip(rows, local, strict=True):
            arrays["tokens"][offsets[row] : offsets[row + 1]] = vectors[: counts[row]]

    def extra(folder: Path) -> None:
        np.save(folder / "offsets.npy", offsets)
        write_json(folder / "texts.json", {"digests": [digest(text) for text in distinct], "words": words})

    encoder.to(device)
    # One batch at a time: a tokenizer cannot serve two.
    return TextStore.open(
        _build(Path(cache), key, layout, len(distinct), batch_size, 1, info, fill, report, extra)
    )


def _build(
    cache: Path,
    key: str,
    layout: Mapping[str, tuple[tuple[int, ...], Any]],
    total: int,
    batch_size: int,
    workers: int,
    info: dict[str, Any],
    fill: Callable[[int, int, dict[str, NDArray[Any]]], None],
    report: Report | None,
    extra: Callable[[Path], None] | None = None,
) -> Path:
    """Fill the arrays shard by shard in `<key>.partial`, `workers` batches at a time, then rename it.
    Under `portable` a batch is computed on one thread, so that no sum depends on the number of cores."""
    folder, partial = cache / key, cache / f"{key}.partial"
    batch = torch.inference_mode()(fill)
    if (folder / "store.json").is_file():
        return folder
    with only_writer(cache / f"{key}.lock"):
        if (folder / "store.json").is_file():
            return folder
        progress = partial / "progress.json"
        done = int(read_json(progress)["done"]) if progress.is_file() else 0
        if done == 0:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        arrays: dict[str, NDArray[Any]] = {}
        for name, (shape, dtype) in layout.items():
            path = partial / f"{name}.npy"
            if 0 in shape:
                np.save(path, np.zeros(shape, dtype))
                arrays[name] = np.zeros(shape, dtype)
            elif done:
                arrays[name] = np.lib.format.open_memmap(path, mode="r+")
            else:
                arrays[name] = mapped_array(path, dtype, shape)
        with ThreadPoolExecutor(workers, initializer=_ready) as pool:
            for start in range(done, total, _SHARD):
                stop = min(start + _SHARD, total)
                firsts = range(start, stop, batch_size)
                ends = (min(first + batch_size, stop) for first in firsts)
                for _ in pool.map(batch, firsts, ends, itertools.repeat(arrays)):
                    pass
                for array in arrays.values():
                    if isinstance(array, np.memmap):
                        array.flush()
                write_json(progress, {"done": stop})
                if report is not None:
                    report(stop, total)
        del arrays
        if extra is not None:
            extra(partial)
        progress.unlink(missing_ok=True)
        write_json(partial / "store.json", info)
        os.replace(partial, folder)
    return folder


def _ready() -> None:
    """The state of a thread that encodes, whatever ran before it."""
    torch.set_flush_denormal(False)
    if numerics.state() == "portable":
        torch.set_num_threads(1)


def _stored(tokens: torch.Tensor, precision: Precision, name: str) -> NDArray[Any]:
    values = tokens.float().cpu().numpy()
    if precision == "float16":
        if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
            raise BenchError(f"encoder {name}: token values exceed half precision; use precision: float32.")
        return values.astype(np.float16)
    return values


def _hash_rows(pixels: NDArray[Any]) -> str:
    blocks = (hash_array(pixels[first : first + 1024]) for first in range(0, len(pixels), 1024))
    return hash_strings([str(pixels.shape), *blocks])
