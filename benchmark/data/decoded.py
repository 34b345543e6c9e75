"""Decoded images on disk: every image of a set is decoded once per preprocessing.

    <cache>/<key>/pixels.npy     (N, S, S) uint8
    <cache>/<key>/hashes.npy     (N,) sha256 of the files
    <cache>/partial-<list>/      what a running or killed call has done so far
    <cache>/lists/<list>         key that this list of paths gave last time
    <cache>/index.sqlite         path, size and time of change → sha256

The key is made of the contents of the readable files, in order, and of the preprocessing; names and times
of change are not part of it, they only spare reading a file again to know its hash.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from benchmark.core.errors import BenchError, DataError
from benchmark.core.files import atomic_path, write_json, write_text
from benchmark.core.hashing import hash_bytes, hash_file, hash_strings
from benchmark.core.locks import only_writer
from benchmark.core.preprocessing import Preprocessing
from benchmark.data.pixels import decode_pixels, preprocess, read_bytes

Progress = Callable[[int, int], None]
"""Called with images done and images in all."""

RULES = "decoded-2"
"""Part of every key; raise it when decoding or preprocessing gives other pixels."""

_CHUNK = 32
_TODO, _DONE, _FAILED = 0, 1, 2
_ROW = np.dtype([("state", "u1"), ("size", "i8"), ("mtime", "i8"), ("hash", "S64")])
_SETTLED_NS = 2_000_000_000
"""A file that changed less than this ago may change again within one tick of its clock."""


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
    listing = hash_strings([RULES, steps, *names])[:32]
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


def content_hashes(
    paths: Sequence[Path | str], cache_dir: Path | str, workers: int | None = None
) -> list[str]:
    """sha256 of files; those that the index knows by size and time of change are not read again.

    A file that cannot be read has the hash "".
    """
    names = [str(Path(path).absolute()) for path in paths]
    cache = Path(cache_dir)
    cache.mkdir(parents=True, exist_ok=True)
    outcomes = _hash_all(names, cache, workers)
    return [outcome.hash for outcome in outcomes]


def _reuse(
    names: list[str], steps: str, cache: Path, listing: str
) -> tuple[str, list[str], dict[int, str]] | None:
    """Key, hash per path and reasons, where a finished folder holds these very images."""
    pointer = cache / "lists" / listing
    if not pointer.exists() or not (cache / pointer.read_text().strip() / "pixels.npy").exists():
        return None
    outcomes = _hash_all(names, cache, None)
    before = set(np.load(cache / pointer.read_text().strip() / "hashes.npy").tolist())
    hashes, reasons = [], {}
    for outcome in outcomes:
        if outcome.hash and outcome.hash.encode() in before:
            hashes.append(outcome.hash)
            continue
        # Not among the decoded ones: a file that was unreadable then and may be readable now, or a new one.
        error = _problem(names[outcome.row])
        if not error:
            return None
        hashes.append("")
        reasons[outcome.row] = error
    key = _key(steps, [value for value in hashes if value])
    return (key, hashes, reasons) if (cache / key / "pixels.npy").exists() else None


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
        np.lib.format.open_memmap(pixels, mode="w+", dtype=np.uint8, shape=(count, side, side)).flush()
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
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
        futures = [pool.submit(_decode_chunk, chunk, pixels, preprocessing) for chunk in chunks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise BenchError(
                "a decoding process was killed, perhaps for lack of memory. Run again to go on from here, "
                "with fewer workers."
            ) from None
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
            size, mtime = _stat(name)
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
    if (cache / key).exists():
        shutil.rmtree(partial)
        return key
    final = partial / "final"
    shutil.rmtree(final, ignore_errors=True)
    final.mkdir()
    if good.all():
        os.link(partial / "pixels.npy", final / "pixels.npy")
    else:
        _compact(partial / "pixels.npy", good, final / "pixels.npy")
    np.save(final / "hashes.npy", np.array(hashes, dtype="S64"))
    write_json(final / "info.json", {"rules": RULES, "preprocessing": steps, "images": len(hashes)})
    with contextlib.suppress(FileExistsError):
        final.rename(cache / key)
    shutil.rmtree(partial, ignore_errors=True)
    return key


def _compact(source: Path, good: np.ndarray, target: Path) -> None:
    whole = np.load(source, mmap_mode="r")
    rows = np.flatnonzero(good)
    shape = (len(rows), *whole.shape[1:])
    out = np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=shape)
    for start in range(0, len(rows), 1024):
        out[start : start + 1024] = whole[rows[start : start + 1024]]
    out.flush()


def _key(steps: str, hashes: Sequence[str]) -> str:
    return hash_strings([RULES, steps, *hashes])[:32]


def _stat(name: str) -> tuple[int, int]:
    try:
        found = Path(name).stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _unchanged(name: str, record: np.void) -> bool:
    return record["state"] == _DONE and (record["size"], record["mtime"]) == _stat(name)


def _hash_all(names: list[str], cache: Path, workers: int | None) -> list[Outcome]:
    """Hash of every path, from the index where size and time of change are the same."""
    stats = [_stat(name) for name in names]
    with _index(cache) as connection:
        known = {}
        for name in names:
            row = connection.execute("SELECT size, mtime, hash FROM files WHERE path = ?", (name,)).fetchone()
            if row:
                known[name] = row
    outcomes: list[Outcome] = []
    unknown = []
    for row, (name, (size, mtime)) in enumerate(zip(names, stats, strict=True)):
        stored = known.get(name)
        if stored is not None and stored[:2] == (size, mtime):
            outcomes.append(Outcome(row, size, mtime, stored[2], ""))
        else:
            outcomes.append(Outcome(row, size, mtime, "", ""))
            unknown.append(row)
    with ThreadPoolExecutor(workers or cores()) as pool:
        for row, digest in zip(unknown, pool.map(_hash_of, [names[row] for row in unknown]), strict=True):
            outcomes[row] = outcomes[row]._replace(hash=digest)
    _store(cache, [(names[row], outcomes[row]) for row in unknown])
    return outcomes


def _hash_of(name: str) -> str:
    try:
        return hash_file(name)
    except OSError:
        return ""


def _remember(cache: Path, names: list[str], records: np.ndarray) -> None:
    outcomes = [
        Outcome(row, int(record["size"]), int(record["mtime"]), record["hash"].decode(), "")
        for row, record in enumerate(records)
    ]
    _store(cache, [(names[outcome.row], outcome) for outcome in outcomes])


def _store(cache: Path, entries: list[tuple[str, Outcome]]) -> None:
    limit = time.time_ns() - _SETTLED_NS
    settled = [(name, o.size, o.mtime, o.hash) for name, o in entries if o.hash and o.mtime < limit]
    with _index(cache) as connection:
        connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", settled)


@contextlib.contextmanager
def _index(cache: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(cache / "index.sqlite", timeout=60)
    try:
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS files"
                " (path TEXT PRIMARY KEY, size INTEGER, mtime INTEGER, hash TEXT) WITHOUT ROWID"
            )
            yield connection
    except sqlite3.DatabaseError as error:
        raise BenchError(f"{cache / 'index.sqlite'}: damaged ({error}). Delete it and run again.") from None
    finally:
        connection.close()


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
