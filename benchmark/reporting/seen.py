"""What the weights of cells have seen, and which reports do not say it because they are about no weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from benchmark.encoders.exposure import Exposure, exposure_of_encoder, joined, trained_on
from benchmark.grid.params import encoders_of

if TYPE_CHECKING:
    from benchmark.grid.params import Cell, Params

WITHOUT = {
    "cost": "what a training took: its rows are on no evaluation set",
    "rounding": "by how much a value moves with the last bit of features: the same weights on both sides",
    "search": "which settings were chosen, on training patients alone; the sets are read after that",
    "calm": "whether averaging or lower rates keep trainings together whose features differ in the last bit",
    "calm-curves": "how such trainings part, step by step",
    "submitted": "rows that others computed: their own words on encoders and training data are columns",
}
"""Reports without a column `seen` → why. Every other one has it (`tests/reporting/test_seen.py`)."""


def levels_in_words(levels: Mapping[tuple[str, str], str], headings: Mapping[str, str]) -> str:
    """The level where it is one, else every level with the rows and sets that it holds for.

    levels: (row, set) → level. headings: row → how it is named, where rows differ.
    """
    rows, sets = (dict.fromkeys(key[k] for key in levels) for k in (0, 1))
    by_row = any(len({levels.get((row, of)) for row in rows}) > 1 for of in sets)
    by_set = any(len({levels.get((row, of)) for of in sets}) > 1 for row in rows)
    found: dict[str, dict[str, None]] = {}
    for (row, of), said in levels.items():
        found.setdefault(said, {})[" on ".join([headings[row]] * by_row + [of] * by_set)] = None
    if not by_row and not by_set:
        return next(iter(found), "")
    return "; ".join(f"{said}: {', '.join(where)}" for said, where in found.items())


def encoder_exposure(
    params: Params, cell: Cell, of: Callable[[Any, str], Exposure] = exposure_of_encoder
) -> Exposure:
    """What the encoders of a cell were fitted to."""
    own = encoders_of(params, cell)
    return joined([of(own.image, "image"), of(own.text, "text")])


def trained_exposure(params: Params, cell: Cell) -> Exposure:
    """Of a cell that is trained here: what its encoders were fitted to, then the training set's images and
    reports."""
    return trained_exposures(params, [cell])[cell.name]


def trained_exposures(params: Params, cells: Iterable[Cell]) -> dict[str, Exposure]:
    """The same of many cells, by name. The card of an encoder that many of them share is read once."""
    read = lru_cache(maxsize=None)(exposure_of_encoder)

    def of(spec: Any, kind: str) -> Exposure:
        return read(spec, kind) if isinstance(spec, str) else exposure_of_encoder(spec, kind)

    trained = trained_on(params.data.train)
    return {cell.name: joined([encoder_exposure(params, cell, of), trained]) for cell in cells}
