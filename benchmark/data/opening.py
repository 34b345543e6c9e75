"""Open every image of a set once, in worker processes, and keep nothing but what was noticed.

The module imports little: every worker process imports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from typing import NamedTuple

from benchmark.core.errors import DataError
from benchmark.core.hashing import hash_bytes
from benchmark.core.workers import worker_pool
from benchmark.data.contents import cores
from benchmark.data.pixels import decode_pixels, read_bytes
from benchmark.data.raster import PNG, png_header

_CHUNK = 32
GREY_ALPHA_16 = (16, 4)
"""Depth and colour type of PNG files of which Pillow keeps the lower byte of each value."""


class Opened(NamedTuple):
    """One image. hash: sha256 of the file, "" where it cannot be read. error: one line, or "". kind: width,
    height and type. blank: all pixels are equal."""

    row: int
    hash: str
    error: str
    kind: str
    blank: bool


def open_all(paths: Sequence[str], workers: int | None = None) -> Iterator[list[Opened]]:
    """Results in groups, in the order in which they are done. workers: processes, by default one per core."""
    chunks = [
        [(row, paths[row]) for row in range(start, min(start + _CHUNK, len(paths)))]
        for start in range(0, len(paths), _CHUNK)
    ]
    count = min(workers or cores(), len(chunks))
    if count <= 1:
        yield from map(_open_chunk, chunks)
        return
    with worker_pool(count) as pool:
        futures = [pool.submit(_open_chunk, chunk) for chunk in chunks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _open_chunk(chunk: list[tuple[int, str]]) -> list[Opened]:
    return [_open(row, path) for row, path in chunk]


def _open(row: int, path: str) -> Opened:
    digest = ""
    try:
        data = read_bytes(path)
        digest = hash_bytes(data)
        if data.startswith(PNG) and png_header(data, path)[2:4] == GREY_ALPHA_16:
            raise DataError(f"{path}: a PNG of 16-bit grey with alpha is read wrong. Save it without alpha.")
        pixels = decode_pixels(data, path)
    except DataError as error:
        return Opened(row, digest, str(error), "", False)
    height, width = pixels.shape
    return Opened(row, digest, "", f"{width}x{height} {pixels.dtype}", bool(pixels.min() == pixels.max()))
