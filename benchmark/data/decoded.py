"""Decoded images on disk: every image of a set is decoded once per preprocessing.

    <cache>/<key>/pixels.npy     (N, S, S) uint8
    <cache>/<key>/hashes.npy     (N,) sha256 of the files
    <cache>/<key>/made.json      the key and the content of the two
    <cache>/partial-<list>/      what a running or killed call has done so far
    <cache>/lists/<list>         key that this list of paths gave last time
    <cache>/index.sqlite         see contents.py

The key is made of the contents of the readable files, in order, of the preprocessing and of the source of
the modules that decode; names and times of change are not part of it, they only spare reading a file again
to know its hash.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from benchmark.core.errors import DataError
from benchmark.core.files import atomic_path, mapped_array, write_text
from benchmark.core.hashing import hash_bytes, hash_strings
from benchmark.core.locks import only_writer
from benchmark.core.preprocessing import Preprocessing
from benchmark.core.reuse import Key, is_made, key_of, record, source
from benchmark.core.workers import worker_pool
from benchmark.data.contents import Known, content_hashes, cores, remember, size_and_time
from benchmark.data.pixels import decode_pixels, preprocess, read_bytes

Progress = Callable[[int, int], None]
"""Called with images done and images in all."""

CODE = ("benchmark.data.decoded", "benchmark.data.pixels")
"""Modules whose edit decodes every image again."""

MARK = "made.json"
_CHUNK = 32
_TODO, _DONE, _FAILED = 0, 1, 2
_ROW = np.dtype([("state", "u1"), ("size", "i8"), ("mtime", "i8"), ("hash", "S64")])


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be decoded, and why (one line)."""

    path: str
    reason: str


@dataclass(frozen=True)
class DecodedImages:
    """Pixels of the readable images.

    pixels: (N, S, S) uint8, read-only memory map. hashes: sha256 of the N files. kept: (N,) places in the
    list of paths that was asked for. reused: nothing had to be decoded.
    """

    key: str
    pixels: np.ndarray
    hashes: tuple[str, ...]
    kept: np.ndarray
    unreadable: tuple[Unreadable, ...]
    reused: bool

    def __len__(self) -> int:
        return len(self.pixels)


class Outcome(NamedTuple):
    """What became of one file."""

    row: int
    size: int
    mtime: int
    hash: str
    error: str


def decoded(
    paths: Sequence[Path | str],
    preprocessing: Preprocessing,
    cache_dir: Path | str,
    *,
    workers: int | None = None,
    unreadable: Literal["raise", "drop"] = "raise",
    on_progress: Progress | None = None,
) -> DecodedImages:
    """Decode and preprocess images, or find them in the cache.

    A killed call leaves its finished rows, and the next call goes on from there. Only one call at a time
    works on a list; others wait for it. workers: processes, by default one per core; 1 decodes in this
    process. unreadable: `raise` tries every image, then raises DataError with the number and the first
    reason; `drop` leaves unreadable images out and lists them.
    """
    names = [str(Path(path).absolute()) for path in paths]
    if not names:
        raise DataError("no images to decode. Check the split and the views that were asked for.")
    cache = Path(cache_dir)
    cache.mkdir(parents=True, exist_ok=True)
    steps = preprocessing.model_dump_json()
    listing = hash_strings([source(*CODE), steps, *names])[:32]
    with only_writer(cache / f"{listing}.lock"):
        found = _reuse(names, steps, cache, listing)
        if found is None:
            partial = cache / f"partial-{listing}"
            records, reasons = _decode(names, preprocessing, partial, workers, on_progress)
            _remember(cache, names, records)
            _check(names, reasons, unreadable)
            key = _finish(partial, cache, records, steps)
            write_text(cache / "lists" / listing, key)
            hashes = [row["hash"].decode() if row["state"] == _DONE else "" for row in records]
        else:
            key, hashes, reasons = found
            _check(names, reasons, unreadable)
    kept = np.flatnonzero([bool(value) for value in hashes])
    return DecodedImages(
        key=key,
        pixels=np.load(cache / key / "pixels.npy", mmap_mode="r"),
        hashes=tuple(value for value in hashes if value),
        kept=kept,
        unreadable=tuple(Unreadable(names[row], reason) for row, reason in sorted(reasons.items())),
        reused=found is not None,
    )


def _reuse(
    names: list[str], steps: str, cache: Path, listing: str
) -> tuple[str, list[str], dict[int, str]] | None:
    """Key, hash per path and reasons, where a finished folder holds these very images."""
    pointer = cache / "lists" / listing
    if not pointer.exists():
        return None
    last = cache / pointer.read_text().strip() / "hashes.npy"
    if not last.is_file():
        return None
    before = set(np.load(last).tolist())
    hashes, reasons = [], {}
    for row, digest in enumerate(content_hashes(names, cache)):
        if digest and digest.encode() in before:
            hashes.append(digest)
            continue
        # Not among the decoded ones: a file that was unreadable then and may be readable now, or a new one.
        error = _problem(names[row])
        if not error:
            return None
        hashes.append("")
        reasons[row] = error
    key = _key(steps, [value for value in hashes if value])
    return (_name(key), hashes, reasons) if _is_whole(cache, key) else None


def _problem(name: str) -> str:
    try:
        decode_pixels(read_bytes(name), name)
    except DataError as error:
        return str(error)
    return ""


def _decode(
    names: list[str],
    preprocessing: Preprocessing,
    partial: Path,
    workers: int | None,
    on_progress: Progress | None,
) -> tuple[np.ndarray, dict[int, str]]:
    """Fill the partial folder; rows of an earlier call whose file has not changed stay."""
    count, side = len(names), preprocessing.side
    pixels = partial / "pixels.npy"
    rows = partial / "rows.npy"
    if not rows.exists():
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        mapped_array(pixels, np.uint8, (count, side, side)).flush()
        with atomic_path(rows) as temporary:
            np.save(temporary, np.zeros(count, dtype=_ROW))
    records = np.lib.format.open_memmap(rows, mode="r+")
    todo = [row for row in range(count) if not _unchanged(names[row], records[row])]
    done = count - len(todo)
    reasons: dict[int, str] = {}
    if on_progress:
        on_progress(done, count)
    chunks = [
        [(row, names[row]) for row in todo[start : start + _CHUNK]] for start in range(0, len(todo), _CHUNK)
    ]
    for outcomes in _outcomes(chunks, pixels, preprocessing, workers):
        for outcome in outcomes:
            state = _FAILED if outcome.error else _DONE
            records[outcome.row] = (state, outcome.size, outcome.mtime, outcome.hash.encode())
            if outcome.error:
                reasons[outcome.row] = outcome.error
        done += len(outcomes)
        if on_progress:
            on_progress(done, count)
    records.flush()
    return np.array(records), reasons


def _outcomes(
    chunks: list[list[tuple[int, str]]], pixels: Path, preprocessing: Preprocessing, workers: int | None
) -> Iterator[list[Outcome]]:
    workers = min(workers or cores(), len(chunks))
    if workers <= 1:
        for chunk in chunks:
            yield _decode_chunk(chunk, pixels, preprocessing)
        return
    with worker_pool(workers, _start_worker) as pool:
        futures = [pool.submit(_decode_chunk, chunk, pixels, preprocessing) for chunk in chunks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    import cv2

    cv2.setNumThreads(1)


def _decode_chunk(chunk: list[tuple[int, str]], pixels: Path, preprocessing: Preprocessing) -> list[Outcome]:
    out = np.lib.format.open_memmap(pixels, mode="r+")
    outcomes = []
    for row, name in chunk:
        size, mtime, digest = 0, 0, ""
        try:
            size, mtime = size_and_time(name)
            data = read_bytes(name)
            digest = hash_bytes(data)
            out[row] = preprocess(decode_pixels(data, name), preprocessing)
            outcomes.append(Outcome(row, size, mtime, digest, ""))
        except DataError as error:
            outcomes.append(Outcome(row, size, mtime, digest, str(error)))
        except MemoryError:
            outcomes.append(Outcome(row, size, mtime, digest, f"{name}: too large for the memory."))
    return outcomes


def _check(names: list[str], reasons: dict[int, str], policy: str) -> None:
    if reasons and policy == "raise":
        first = reasons[min(reasons)]
        others = f" ({len(reasons)} of {len(names)} images are unreadable.)" if len(reasons) > 1 else ""
        raise DataError(f"{first}{others} `bench data check` lists them; drop them by an explicit policy.")
    if len(reasons) == len(names):
        raise DataError(f"{reasons[min(reasons)]} None of the {len(names)} images is readable.")


def _finish(partial: Path, cache: Path, records: np.ndarray, steps: str) -> str:
    """Make the partial folder the finished one, without rows of unreadable images."""
    good = records["state"] == _DONE
    hashes = [value.decode() for value in records["hash"][good]]
    key = _key(steps, hashes)
    if _is_whole(cache, key):
        shutil.rmtree(partial)
        return _name(key)
    shutil.rmtree(cache / _name(key), ignore_errors=True)
    final = partial / "final"
    shutil.rmtree(final, ignore_errors=True)
    final.mkdir()
    if good.all():
        os.link(partial / "pixels.npy", final / "pixels.npy")
    else:
        _compact(partial / "pixels.npy", good, final / "pixels.npy")
    np.save(final / "hashes.npy", np.array(hashes, dtype="S64"))
    record(final / MARK, key, [final / "pixels.npy", final / "hashes.npy"])
    with contextlib.suppress(FileExistsError):
        final.rename(cache / _name(key))
    shutil.rmtree(partial, ignore_errors=True)
    return _name(key)


def _compact(source: Path, good: np.ndarray, target: Path) -> None:
    whole = np.load(source, mmap_mode="r")
    rows = np.flatnonzero(good)
    shape = (len(rows), *whole.shape[1:])
    out = mapped_array(target, np.uint8, shape)
    for start in range(0, len(rows), 1024):
        out[start : start + 1024] = whole[rows[start : start + 1024]]
    out.flush()


def _key(steps: str, hashes: Sequence[str]) -> Key:
    return key_of(source=source(*CODE), preprocessing=steps, images=hash_strings(hashes))


def _name(key: Key) -> str:
    return key.digest[:32]


def _is_whole(cache: Path, key: Key) -> bool:
    folder = cache / _name(key)
    return is_made(folder / MARK, key, [folder / "pixels.npy", folder / "hashes.npy"])


def _unchanged(name: str, record: np.void) -> bool:
    return record["state"] == _DONE and (record["size"], record["mtime"]) == size_and_time(name)


def _remember(cache: Path, names: list[str], records: np.ndarray) -> None:
    remember(
        cache,
        (
            Known(name, int(record["size"]), int(record["mtime"]), record["hash"].decode())
            for name, record in zip(names, records, strict=True)
        ),
    )
