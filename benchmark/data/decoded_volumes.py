"""Volumes on disk under one preprocessing: every volume of a set is read once.

    <cache>/<key>/voxels.npy     (N, Z, Y, X) int16
    <cache>/<key>/done.npy       (N,) which rows are written; a killed call is gone on with
    <cache>/<key>/made.json      the key and the content of voxels.npy, once all are

The key is made of the contents of the files, in order, of what the tables say of them, of the preprocessing
and of the source of the modules that read. One volume is in memory at a time.

Files are hashed before they are read, as the key says whether they must be; a file that changed between the
two is refused, which its state tells without reading it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.core.errors import DataError
from benchmark.core.files import atomic_path, mapped_array
from benchmark.core.guard import parsing
from benchmark.core.hashing import hash_file, hash_strings
from benchmark.core.locks import only_writer
from benchmark.core.reuse import Key, is_made, key_of, record, source
from benchmark.core.states import State, state_of
from benchmark.core.tables import Manifest
from benchmark.data.contents import content_hashes
from benchmark.data.opening import Opened
from benchmark.data.volume_grid import AIR, Told, Volume
from benchmark.data.volume_steps import VolumeSteps, apply_steps
from benchmark.data.volumes import read_volume

Progress = Callable[[int, int], None]
"""Called with volumes done and volumes in all."""
CODE = ("benchmark.data.volumes", "benchmark.data.volume_steps")
"""Modules whose edit reads every volume again."""
TOLD_COLUMNS = ("told:spacing_z", "told:spacing_y", "told:spacing_x", "told:slope", "told:intercept")
"""Columns of a manifest that `Told` is made of."""
MARK = "made.json"
LUNG, LUNG_SHARE = -600, 0.001
"""Hounsfield units below which lung and outer air are, and the least share of voxels of a chest there."""


@dataclass(frozen=True)
class VolumeSource:
    """One volume of a manifest. told: what its tables say, where they do."""

    path: Path
    told: Told | None = None


@dataclass(frozen=True)
class DecodedVolumes:
    """voxels: (N, Z, Y, X) int16, read-only memory map. hashes: of the N files. reused: none was read."""

    key: str
    voxels: np.ndarray
    hashes: tuple[str, ...]
    reused: bool

    def __len__(self) -> int:
        return len(self.voxels)


def volume_sources(manifest: Manifest, rows: Sequence[int] | None = None) -> list[VolumeSource]:
    """The volumes of a manifest, or of some of its rows, in order."""
    frame = manifest.frame if rows is None else manifest.frame.iloc[list(rows)]
    columns = [c for c in TOLD_COLUMNS if c in frame]
    paths = [manifest.root / p for p in frame["path"]]
    if not columns:
        return [VolumeSource(path) for path in paths]
    numbers = [frame[c].astype("Float64") if c in frame else None for c in TOLD_COLUMNS]
    out = []
    for i, path in enumerate(paths):
        z, y, x, slope, intercept = (_at(n, i) for n in numbers)
        spacing = None if z is None or y is None or x is None else (z, y, x)
        if spacing is None and (z, y, x) != (None, None, None):
            raise DataError(f"{path}: its table gives only a part of the spacing. Give z, y and x, or none.")
        out.append(VolumeSource(path, Told(spacing, slope, intercept)))
    return out


def decoded_volumes(
    sources: Sequence[VolumeSource],
    steps: VolumeSteps,
    cache_dir: Path | str,
    *,
    on_progress: Progress | None = None,
) -> DecodedVolumes:
    """Read and preprocess volumes, or find them in the cache.

    Raises DataError, naming the file, for the first volume that cannot be read or changes meanwhile.
    """
    if not sources:
        raise DataError("no volumes to read. Check the split that was asked for.")
    cache = Path(cache_dir)
    cache.mkdir(parents=True, exist_ok=True)
    states = [_state(s.path) for s in sources]
    hashes = _hashes(sources, cache)
    told = [asdict(s.told) if s.told else None for s in sources]
    key = key_of(
        source=source(*CODE), steps=steps.model_dump(mode="json"), told=told, volumes=hash_strings(hashes)
    )
    folder = cache / f"volumes-{key.digest[:24]}"
    with only_writer(cache / f"{folder.name}.lock"):
        reused = is_made(folder / MARK, key, [folder / "voxels.npy"])
        if not reused:
            _fill(folder, key, sources, states, steps, on_progress)
    return DecodedVolumes(folder.name, np.load(folder / "voxels.npy", mmap_mode="r"), tuple(hashes), reused)


def _hashes(sources: Sequence[VolumeSource], cache: Path) -> list[str]:
    """Of each file; of a folder, of the files in it by name."""
    files = [
        sorted(f for f in s.path.iterdir() if f.is_file()) if s.path.is_dir() else [s.path] for s in sources
    ]
    every = content_hashes([f for group in files for f in group], cache)
    out, start = [], 0
    for item, group in zip(sources, files, strict=True):
        mine = every[start : start + len(group)]
        start += len(group)
        if not mine or not all(mine):
            raise DataError(f"{item.path}: cannot be read. Fetch it again.")
        out.append(mine[0] if len(mine) == 1 else hash_strings(mine))
    return out


def _fill(
    folder: Path,
    key: Key,
    sources: Sequence[VolumeSource],
    states: Sequence[State],
    steps: VolumeSteps,
    on_progress: Progress | None,
) -> None:
    voxels, marks = folder / "voxels.npy", folder / "done.npy"
    if not marks.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shape = (len(sources), *steps.shape)
        mapped_array(voxels, np.int16, shape).flush()
        with atomic_path(marks) as temporary, temporary.open("wb") as handle:
            np.save(handle, np.zeros(len(sources), dtype=bool))
    done = np.lib.format.open_memmap(marks, mode="r+")
    out = np.lib.format.open_memmap(voxels, mode="r+")
    for row, (item, state) in enumerate(zip(sources, states, strict=True)):
        if not done[row]:
            out[row] = apply_steps(_read(item, state), steps)
            out.flush()
            done[row] = True
        if on_progress:
            on_progress(row + 1, len(sources))
    done.flush()
    record(folder / MARK, key, [voxels])


def _state(path: Path) -> State:
    with parsing(path, "a volume"):
        return state_of([path])


def _read(item: VolumeSource, state: State) -> Volume:
    """The volume of files that were in `state` when they were hashed. Raises DataError where they are in
    another now, and for a volume without lungs."""
    volume = read_volume(item.path, item.told)
    sample = volume.hu[tuple(slice(None, None, max(1, n // 64)) for n in volume.hu.shape)]
    if ((sample > AIR) & (sample < LUNG)).mean() < LUNG_SHARE:  # padding, which is AIR, is no lung
        raise DataError(
            f"{item.path}: hardly a value between {AIR} and {LUNG} Hounsfield units, where lungs "
            "are: it was cut to a window, or its rescale is missing. Give it as the scanner wrote it."
        )
    if _state(item.path) != state:
        raise DataError(f"{item.path}: changed while it was read. Run again once nothing writes to it.")
    return volume


def open_volumes(sources: Sequence[VolumeSource]) -> Iterator[list[Opened]]:
    """Read every volume once and keep what was noticed, as `open_all` does for images; one at a time."""
    for row, item in enumerate(sources):
        digest = ""
        try:
            state = _state(item.path)
            with parsing(item.path, "a volume"):
                digest = hash_file(item.path) if item.path.is_file() else ""
            volume = _read(item, state)
        except DataError as error:
            yield [Opened(row, digest, str(error), "", False)]
            continue
        z, y, x = volume.hu.shape
        size = " x ".join(f"{s:.3g}" for s in volume.spacing_xyz)
        blank = bool(volume.hu.min() == volume.hu.max())
        yield [Opened(row, digest, "", f"{x}x{y}x{z} voxels of {size} mm", blank)]


def _at(numbers: pd.Series | None, row: int) -> float | None:
    return None if numbers is None or numbers.isna().iloc[row] else float(numbers.iloc[row])
