"""The feature cache: encode once, under a key made of content, for every method to share."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.core import numerics
from benchmark.core.errors import BenchError, DataError
from benchmark.core.files import mapped_array, write_json
from benchmark.core.hashing import hash_array, hash_strings, hash_value
from benchmark.core.locks import if_free, only_writer
from benchmark.core.settings import Precision
from benchmark.data.contents import cores
from benchmark.encoders.base import ImageEncoder, TextEncoder
from benchmark.encoders.fingerprints import KnownEncoder, fingerprint_of, network_of
from benchmark.encoders.store import FeatureStore, TextStore, digest

Report = Callable[[int, int], None]
"""Called with (done, total)."""

_SHARD = 512
_LAYOUT = 1


def image_key(
    encoder: ImageEncoder | KnownEncoder[ImageEncoder], pixels_key: str, precision: Precision
) -> str:
    """Key of image features: weights and code, preprocessing, pixels, precision, kernels."""
    steps = encoder.preprocessing.model_dump(mode="json")
    return hash_value(
        [_LAYOUT, "image", fingerprint_of(encoder), steps, pixels_key, precision, numerics.state()]
    )


def text_key(
    encoder: TextEncoder | KnownEncoder[TextEncoder], texts: Sequence[str], precision: Precision
) -> str:
    """Key of text features: weights and code, the texts, precision, kernels."""
    return hash_value(
        [_LAYOUT, "text", fingerprint_of(encoder), hash_strings(texts), precision, numerics.state()]
    )


def image_features(
    pixels: NDArray[Any],
    encoder: ImageEncoder | KnownEncoder[ImageEncoder],
    cache: Path | str,
    *,
    precision: Precision = "float16",
    pixels_key: str | None = None,
    device: str | torch.device = "cpu",
    batch_size: int | None = None,
    report: Report | None = None,
) -> FeatureStore:
    """Features of preprocessed pixels (N, S, S) uint8 (of `decoded`), or of volumes (N, Z, Y, X) int16 (of
    `decoded_volumes`) where the encoder reads those, from the cache or computed.

    precision: of the stored patch tokens; pooled vectors stay float32. pixels_key: content key of the
    pixels, computed from them when not given. batch_size: by default as many images as keep memory at that of
    64 of 224 pixels (`at_once`), one volume. A killed run goes on with the shards that are not finished, and
    several processes, on machines that share the cache, divide them.
    Raises BenchError where the pixels are not what the encoder's preprocessing yields.
    """
    key = image_key(encoder, pixels_key or _hash_rows(pixels), precision)
    finished = Path(cache) / key
    if (finished / "store.json").is_file():
        return _opened(FeatureStore, finished, len(pixels))
    encoder = network_of(encoder)
    volumes = encoder.modality == "ct"
    if volumes:
        together = 1
    else:
        side = encoder.preprocessing.side
        if pixels.shape[1:] != (side,) * (pixels.ndim - 1) or pixels.dtype != np.uint8:
            raise BenchError(
                f"encoder {encoder.card.name} takes uint8 images of {side} px, got {pixels.dtype} "
                f"{pixels.shape[1:]}; decode them with its preprocessing."
            )
        together = batch_size or at_once(side)
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
    folder = _build(Path(cache), key, layout, len(pixels), together, workers, info, fill, report)
    return _opened(FeatureStore, folder, len(pixels))


def at_once(side: int) -> int:
    """Images of `side` pixels that are encoded together: 64 up to 224 pixels, fewer of larger ones, so that a
    batch takes no more memory at any resolution."""
    return max(1, min(64, 64 * 224**2 // side**2))


def text_features(
    texts: Sequence[str],
    encoder: TextEncoder | KnownEncoder[TextEncoder],
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
        return _opened(TextStore, finished, len(distinct))
    encoder = network_of(encoder)
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
    folder = _build(Path(cache), key, layout, len(distinct), batch_size, 1, info, fill, report, extra)
    return _opened(TextStore, folder, len(distinct))


S = TypeVar("S", FeatureStore, TextStore)


def _opened(kind: type[S], folder: Path, rows: int) -> S:
    """A finished store. Raises DataError where it is not whole, as after a copy that was interrupted."""
    try:
        store = kind.open(folder)
        if isinstance(store, FeatureStore):
            lengths = {len(store.pooled), len(store.local)}
        else:
            lengths = {len(store.pooled), len(store.digests), len(store.offsets) - 1}
            lengths.add(rows if store.offsets[-1] == len(store.tokens) else -1)
        reason = "" if lengths == {rows} else f"not {rows:,} rows"
    except PermissionError:
        raise
    except Exception as error:
        reason = type(error).__name__
    if reason:
        raise DataError(f"{folder}: features that are not whole ({reason}). Remove the folder and run again.")
    return store


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

    Any number of processes that are at it divide the shards: each takes one that is free, and those whose
    process was killed are taken by another. What a shard holds does not depend on who computes it. Under
    `portable` a batch is computed on one thread, so that no sum depends on the number of cores.
    """
    folder, partial = cache / key, cache / f"{key}.partial"
    batch, finished = torch.inference_mode()(fill), folder / "store.json"
    if finished.is_file():
        return folder
    begun = partial / "done"
    with only_writer(cache / f"{key}.lock"):
        if finished.is_file():
            return folder
        if not begun.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            for name, (shape, dtype) in layout.items():
                _create(partial / f"{name}.npy", shape, dtype)
            begun.mkdir()
        arrays = {name: np.load(partial / f"{name}.npy", mmap_mode=_mode(layout[name][0])) for name in layout}
    firsts = range(0, total, _SHARD)
    claims = {first: cache / f"{key}.{first}.claim" for first in firsts}

    def done() -> int:
        return sum(min(_SHARD, total - first) for first in firsts if (begun / str(first)).exists())

    def shard(first: int) -> None:
        # In this order: what is not marked because the folder was renamed meanwhile is finished.
        if (begun / str(first)).exists() or finished.is_file():
            return
        stop = min(first + _SHARD, total)
        starts = range(first, stop, batch_size)
        ends = (min(start + batch_size, stop) for start in starts)
        for _ in pool.map(batch, starts, ends, itertools.repeat(arrays)):
            pass
        for array in arrays.values():
            if isinstance(array, np.memmap):
                array.flush()
        (begun / str(first)).touch()
        if report is not None:
            report(done(), total)

    with ThreadPoolExecutor(workers, initializer=_ready) as pool:
        for first, claim in claims.items():
            with if_free(claim) as free:
                if free:
                    shard(first)
        for first, claim in claims.items():  # wait for those of others, take over from one that was killed
            if not finished.is_file():
                with only_writer(claim):
                    shard(first)
    with only_writer(cache / f"{key}.lock"):
        if not finished.is_file():
            if extra is not None:
                extra(partial)
            write_json(partial / "store.json", info)
            os.replace(partial, folder)
            shutil.rmtree(folder / begun.name)
    for claim in claims.values():
        claim.unlink(missing_ok=True)
    return folder


def _create(path: Path, shape: tuple[int, ...], dtype: Any) -> None:
    if 0 in shape:
        np.save(path, np.zeros(shape, dtype))
    else:
        mapped_array(path, dtype, shape)


def _mode(shape: tuple[int, ...]) -> Literal["r+"] | None:
    """An array without entries cannot be mapped."""
    return None if 0 in shape else "r+"


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
