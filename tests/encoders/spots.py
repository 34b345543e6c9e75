"""A bright spot on grey that moves: the token that answers tells how a grid lies."""

from __future__ import annotations

import torch

from benchmark.encoders.base import ImageEncoder


def brightest(encoder: ImageEncoder, row: int, column: int) -> tuple[int, int]:
    """The token that differs most from those of a grey image where one cell of the grid is bright."""
    side = encoder.card.preprocessing.side
    cell = side // encoder.grid[0]
    pixels = torch.full((2, side, side), 100, dtype=torch.uint8)
    pixels[1, row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = 255
    with torch.no_grad():
        local = encoder.encode(pixels).local
    place = int((local[1] - local[0]).norm(dim=-1).argmax())
    return divmod(place, encoder.grid[1])
