"""Optimisers and schedules of a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from benchmark.core.settings import TrainConfig


def optimiser(
    config: TrainConfig, method: nn.Module, encoders: Iterable[nn.Module] = ()
) -> torch.optim.Optimizer:
    """The recipe's optimiser over everything that requires a gradient.

    `adam` adds the decay to the gradient, as torch's does; `adamw` decouples it. Parameters that
    `decay_exempt` names get none. Each group keeps its peak rate in `peak`.
    """
    groups = _groups(config, method, config.learning_rate)
    for encoder in encoders:
        groups += _groups(config, encoder, config.encoder_learning_rate or config.learning_rate)
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    kind = torch.optim.AdamW if config.optimiser == "adamw" else torch.optim.Adam
    # One pass over all parameters: five times as fast as the loop over them that torch takes on a CPU.
    fused = all(p.device.type in ("cpu", "cuda") for group in groups for p in group["params"])
    return kind(groups, lr=config.learning_rate, betas=config.betas, eps=config.eps, fused=fused)


def rate(config: TrainConfig, step: int, total: int) -> float:
    """Factor on the peak rate at `step` of `total`: linear warm-up, then constant or cosine to zero."""
    warmup = config.warmup_steps or round(config.warmup_fraction * total)
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "constant" or total <= warmup:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def set_rate(chosen: torch.optim.Optimizer, factor: float) -> None:
    for group in chosen.param_groups:
        group["lr"] = group["peak"] * factor


def _groups(config: TrainConfig, module: nn.Module, peak: float) -> list[dict[str, Any]]:
    norms = (nn.LayerNorm, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)
    exempt: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    seen: set[int] = set()
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            free = {
                "none": False,
                "at most one axis": parameter.ndim <= 1,
                "norms and biases": isinstance(part, norms) or name.endswith("bias"),
            }[config.decay_exempt]
            (exempt if free else decayed).append(parameter)
    found = [(decayed, config.weight_decay), (exempt, 0.0)]
    return [{"params": p, "weight_decay": decay, "peak": peak} for p, decay in found if p]
