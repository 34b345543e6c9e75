"""CT volumes through an encoder of planes: axial slices in three windows, pooled to tokens (z, y, x)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool3d, adaptive_max_pool3d

from benchmark.core.features import ImageFeatures
from benchmark.data.volume_steps import volume_steps
from benchmark.encoders.timm_images import TimmImage
from benchmark.encoders.volume_encoder import VolumeEncoder

WINDOWS = ((-1000.0, 200.0), (-160.0, 240.0), (-200.0, 1000.0))
"""Lung, mediastinum and bone in Hounsfield units: the three channels of a slice."""
CELLS = (8, 4, 4)
"""The token grid (z, y, x)."""


class SliceEncoder(VolumeEncoder):
    """Slices of `steps` through a convolutional encoder of planes.

    A token is mean and maximum of the maps over its cell, since a nodule of a few voxels is lost in a mean.
    The pooled vector is the mean of the tokens. windows, cells: kept as buffers, so that features made with
    others have another fingerprint.
    """

    windows: Tensor
    cells: Tensor

    def __init__(self, planes: TimmImage, name: str, steps: str = "slices") -> None:
        super().__init__(planes.card.model_copy(update={"name": name}))
        self.planes = planes
        self.steps = volume_steps(steps)
        self.grid = CELLS
        self.width = 2 * planes.width
        self.register_buffer("windows", torch.tensor(WINDOWS))
        self.register_buffer("cells", torch.tensor(CELLS))

    def prepare(self, hounsfield: Tensor) -> Tensor:
        """(B, Z, 3, Y, X) float32, normalised as the encoder of planes wants it."""
        low, high = self.windows[:, 0].reshape(3, 1, 1), self.windows[:, 1].reshape(3, 1, 1)
        values = hounsfield.to(self.windows).unsqueeze(2)
        scaled = ((values - low) / (high - low)).clamp(0, 1)
        return (scaled - self.mean) / self.std

    def forward(self, images: Tensor) -> ImageFeatures:
        count, slices = images.shape[:2]
        found = self.planes(images.flatten(0, 1))
        rows, columns = found.grid
        maps = found.local.reshape(count, slices, rows, columns, -1).permute(0, 4, 1, 2, 3)
        both = torch.cat([adaptive_avg_pool3d(maps, CELLS), adaptive_max_pool3d(maps, CELLS)], dim=1)
        local = both.flatten(2).transpose(1, 2)  # (B, P, D)
        return ImageFeatures(local.mean(1), local, CELLS)
