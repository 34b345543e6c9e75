"""Where a twin of CT volumes drew what, in the cells of an encoder's grid of tokens."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from benchmark.core.errors import DataError
from benchmark.core.guard import parsing
from benchmark.core.hashing import hash_file
from benchmark.core.tables import read_table
from benchmark.data.volume_grid import Volume
from benchmark.data.volume_steps import VolumeSteps, apply_steps
from benchmark.twins.build import truth_path
from benchmark.twins.ct.build import masks_path
from benchmark.twins.ct.space import Space

OUTSIDE = -1
Grid = tuple[int, int, int]


@dataclass(frozen=True)
class DrawnMasks:
    """Lesions of the twin whose tree lies at `root`: its truth and masks beside it."""

    root: Path

    @cached_property
    def content(self) -> str:
        """Hash of the truth, which names every mask. Raises DataError where there is none."""
        return hash_file(self._truth)

    @property
    def _truth(self) -> Path:
        path = truth_path(self.root)
        if not path.is_file() or not masks_path(self.root).is_file():
            raise DataError(
                f"{path}: no truth and masks of drawn lesions. Only twins of CT volumes have them."
            )
        return path

    def cells(
        self, wanted: Mapping[str, Sequence[tuple[str, frozenset[str]]]], steps: VolumeSteps, grid: Grid
    ) -> Iterator[tuple[str, str, np.ndarray]]:
        """(image, class, (*grid) bool) of every class of which a lesion lies in what the encoder reads: the
        cells that it touches.

        wanted: image → (class, concepts that show it). Lesions of one voxel count like large ones.
        """
        import pandas as pd

        with parsing(self._truth, "the truth of a twin", "Draw the twin again."):
            truth, meta = read_table(self._truth)
            space = Space.of(int(meta["spec"]["side"]))
            drawn = truth[(truth["source"] == "image") & truth["mask"].notna()]
        place = cells_of_voxels(space.shape, space.voxel, steps, grid)
        of_image = {str(name): part for name, part in drawn.groupby("image_id") if not pd.isna(name)}
        with zipfile.ZipFile(masks_path(self.root)) as archive:
            for image, classes in wanted.items():
                if image not in of_image:
                    continue
                own = of_image[image]
                for name, concepts in classes:
                    masks = own[own["concept"].isin(list(concepts))]["mask"]
                    touched = np.zeros(grid, dtype=bool)
                    for mask in masks:
                        touched |= _touched(archive.read(mask), space.shape, place, grid)
                    if touched.any():
                        yield image, name, touched


def _touched(packed: bytes, shape: Grid, place: Sequence[np.ndarray], grid: Grid) -> np.ndarray:
    """(*grid) bool, cells that a mask of packed bits touches."""
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=int(np.prod(shape))).reshape(shape)
    z, y, x = (own[at] for own, at in zip(place, np.nonzero(bits), strict=True))
    inside = (z != OUTSIDE) & (y != OUTSIDE) & (x != OUTSIDE)
    touched = np.zeros(grid, dtype=bool)
    touched[z[inside], y[inside], x[inside]] = True
    return touched


@lru_cache(maxsize=8)
def cells_of_voxels(
    shape: Grid, spacing: tuple[float, float, float], steps: VolumeSteps, grid: Grid
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each axis the cell of every voxel of a volume, OUTSIDE where the encoder does not read it.

    A volume whose values are places along the axis goes through the same preprocessing as the pixels.
    """
    found = []
    for axis, (count, want, cells) in enumerate(zip(shape, steps.shape, grid, strict=True)):
        ramp = np.zeros(shape, dtype=np.int16)
        line = np.linspace(steps.low + 1, steps.high, count)
        ramp += np.rint(line).astype(np.int16).reshape([-1 if a == axis else 1 for a in range(3)])
        read = np.moveaxis(apply_steps(Volume(ramp, spacing), steps), axis, 0)
        middle = read[:, read.shape[1] // 2, read.shape[2] // 2].astype(float)
        known = np.flatnonzero(middle > steps.low)
        at = (middle[known] - line[0]) / (line[-1] - line[0]) * (count - 1)
        own = np.full(count, OUTSIDE)
        reach = 0.5 * max(1.0, float(np.diff(at).max(initial=0.0))) + 0.5
        for voxel in range(count):
            nearest = int(np.argmin(np.abs(at - voxel)))
            if abs(at[nearest] - voxel) <= reach:
                own[voxel] = known[nearest] * cells // want
        found.append(own)
    z, y, x = found
    return z, y, x
