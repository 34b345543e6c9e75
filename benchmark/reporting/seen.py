"""What the weights of cells have seen, and which reports do not say it because they are about no weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark.encoders.exposure import Exposure, exposure_of_encoder, joined, trained_on
from benchmark.grid.params import encoders_of

if TYPE_CHECKING:
    from benchmark.grid.params import Cell, Params

WITHOUT = {
    "cost": "what a training took: its rows are on no evaluation set",
    "rounding": "by how much a value moves with the last bit of features: the same weights on both sides",
    "calm": "whether averaging keeps trainings together whose features differ in the last bit",
    "calm-curves": "how such trainings part, step by step",
    "submitted": "rows that others computed: their own words on encoders and training data are columns",
}
"""Reports without a column `seen` → why. Every other one has it (`tests/reporting/test_seen.py`)."""


def trained_exposure(params: Params, cell: Cell) -> Exposure:
    """Of a cell that is trained here: what its encoders were fitted to, then the training set's images and
    reports."""
    own = encoders_of(params, cell)
    encoders = [exposure_of_encoder(own.image, "image"), exposure_of_encoder(own.text, "text")]
    return joined([*encoders, trained_on(params.data.train)])
