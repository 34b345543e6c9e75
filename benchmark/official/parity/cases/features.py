"""Fixture arrays as the feature types that methods take, and input gradients."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from benchmark.core.features import ImageFeatures, TextFeatures
from benchmark.official.parity.check import GRADIENT, Checker, Tolerance


def image_features(pooled: Tensor, local: Tensor | None = None) -> ImageFeatures:
    """pooled (I, D); local (I, D, *grid), channels first, as the official code keeps it."""
    if local is None:
        return ImageFeatures(pooled, pooled[:, None], (1,))
    return ImageFeatures(pooled, local.flatten(2).transpose(1, 2), tuple(local.shape[2:]))


def text_features(pooled: Tensor, local: Tensor | None = None, lengths: Tensor | None = None) -> TextFeatures:
    """pooled (T, D); local (T, D, L), channels first; lengths (T,): columns that are words."""
    if local is None:
        return TextFeatures(pooled, pooled[:, None], torch.ones(len(pooled), 1, dtype=torch.bool))
    columns = torch.arange(local.shape[-1])
    mask = torch.ones(len(pooled), len(columns), dtype=torch.bool)
    if lengths is not None:
        mask = columns < lengths[:, None]
    return TextFeatures(pooled, local.transpose(1, 2), mask)


def check_input_gradients(
    checker: Checker,
    leaves: Mapping[str, Tensor],
    prefix: str = "grad_in/",
    tolerance: Tolerance = GRADIENT,
) -> None:
    """Compare the gradients of input leaves; an input that does not act has gradient zero."""
    for name, leaf in leaves.items():
        gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        checker.close(f"{prefix}{name}", gradient, tolerance)


def backward(total: Tensor) -> None:
    """Gradients of all leaves."""
    torch.autograd.backward(total)
