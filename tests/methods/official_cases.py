"""Read official fixtures: arrays, settings and the stated tolerance."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.core.features import ImageFeatures, TextFeatures


def read_case(folder: Path, case: str) -> tuple[dict[str, Tensor], dict]:
    """All arrays of a case as tensors, and its settings (JSON beside the file or `cfg` inside)."""
    sidecar = folder / f"{case}.json"
    info = json.loads(sidecar.read_text()) if sidecar.exists() else {"files": [f"{case}.npz"]}
    tensors: dict[str, Tensor] = {}
    for file in info["files"]:
        with np.load(folder / file) as arrays:
            for name in arrays.files:
                if name == "cfg":
                    info |= json.loads(str(arrays[name]))
                elif arrays[name].dtype.kind in "fiub":
                    tensors[name] = torch.from_numpy(arrays[name])
    return tensors, info


def state_of(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("state/"): value for name, value in arrays.items() if name.startswith("state/")}


def check(name: str, got: Tensor, expected: Tensor) -> None:
    """Tolerance of the fixtures: 1e-5 · max(1, m), gradients 5e-5 · max(0.02, m)."""
    assert got.shape == expected.shape, name
    size = float(expected.abs().max()) if expected.numel() else 0.0
    bound = 5e-5 * max(0.02, size) if name.startswith("grad") else 1e-5 * max(1.0, size)
    assert float((got.detach().double() - expected.double()).abs().max()) <= bound, name


def leaf(x: Tensor) -> Tensor:
    return x.clone().requires_grad_()


def image_features(pooled: Tensor, local: Tensor | None = None) -> ImageFeatures:
    """pooled (I, D) and local (I, D, h, w), channels first as in the fixtures."""
    if local is None:
        return ImageFeatures(pooled, pooled.new_zeros(len(pooled), 1, pooled.shape[1]), (1, 1))
    return ImageFeatures(pooled, local.flatten(2).transpose(1, 2), tuple(local.shape[2:]))


def text_features(pooled: Tensor, local: Tensor | None = None, lengths: Tensor | None = None) -> TextFeatures:
    """pooled (T, D) and local (T, D, L), channels first as in the fixtures."""
    if local is None:
        return TextFeatures(
            pooled,
            pooled.new_zeros(len(pooled), 1, pooled.shape[1]),
            torch.ones(len(pooled), 1, dtype=torch.bool),
        )
    mask = torch.arange(local.shape[2])[None] < lengths[:, None]
    return TextFeatures(pooled, local.transpose(1, 2), mask)
