"""Pairs in recomputed tiles: exact loss and gradients in bounded memory.

A pairwise method keeps, for the backward pass, activations of all I × T pairs. Here each tile keeps
only its inputs and outputs (the (I, T) numbers the loss needs) and is computed again when its gradient
is due, so the peak is that of one tile (Chen et al. 2016, "Training deep nets with sublinear memory cost").
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from methods.base import Method, Pairs, Prepared

Interact = Callable[..., Pairs]


def tiled_pairs(
    method: Method,
    image: Prepared,
    text: Prepared,
    tile: tuple[int, int] | None,
    *,
    scoring: bool = False,
    interact: Interact | None = None,
) -> Pairs:
    """`method.interact` over all pairs, tile (images, texts) by tile; None computes them at once.

    Values and gradients equal the untiled ones to rounding. Random layers (dropout) draw per tile.
    interact: a compiled stand-in for `method.interact`.
    """
    run = interact or method.interact
    if tile is None or (tile[0] >= len(image) and tile[1] >= len(text)):
        return run(image, text, scoring=scoring)
    images, texts = _split(image, tile[0]), _split(text, tile[1])
    again = torch.is_grad_enabled()
    rows = []
    for one in images:
        row = []
        for other in texts:
            if again:
                row.append(checkpoint(run, one, other, scoring=scoring, use_reentrant=False))
            else:
                row.append(run(one, other, scoring=scoring))
        rows.append({name: torch.cat([part[name] for part in row], 1) for name in row[0]})
    return {name: torch.cat([part[name] for part in rows], 0) for name in rows[0]}


def tile_within(
    method: Method, image: Prepared, text: Prepared, gib: float, *, least: int = 4
) -> tuple[int, int] | None:
    """The largest square tile whose pairs keep at most `gib` GiB for the backward pass; None: all fit.

    Measured on two small tiles, since what is kept grows with the pairs and with the sides.
    """
    side = min(16, len(image), len(text))
    if side < 2 or not torch.is_grad_enabled():
        return None
    small, large = _kept(method, image, text, side // 2), _kept(method, image, text, side)
    a, b = side // 2, side
    per_pair = max((large / b - small / a) / (b - a), 1.0)  # kept(s) = per_pair · s² + per_side · s
    per_side = max(small / a - per_pair * a, 0.0)
    budget = gib * 2**30
    if per_pair * len(image) * len(text) + per_side * (len(image) + len(text)) / 2 <= budget:
        return None
    fits = (-per_side + (per_side**2 + 4 * per_pair * budget) ** 0.5) / (2 * per_pair)
    edge = max(least, int(fits))
    return min(edge, len(image)), min(edge, len(text))


def _kept(method: Method, image: Prepared, text: Prepared, side: int) -> float:
    """Bytes that side × side pairs keep for the backward pass, beyond their inputs and the weights."""
    inputs = [_detached(part, side) for part in (image, text)]
    resident = {p.untyped_storage().data_ptr() for p in method.parameters()}
    resident |= {t.untyped_storage().data_ptr() for part in inputs for t in part.tensors.values()}
    seen: dict[int, int] = {}
    alive: list[Tensor] = []  # a freed storage's address could be used again

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in resident:
            seen[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        method.interact(*inputs, scoring=False)
    return float(sum(seen.values()))


def _detached(part: Prepared, side: int) -> Prepared:
    own = {
        name: tensor[:side].detach().clone().requires_grad_(tensor.requires_grad)
        for name, tensor in part.tensors.items()
    }
    return Prepared(own, side)


def _split(part: Prepared, size: int) -> list[Prepared]:
    """Chunks along the rows; one split node a tensor, so that its gradient is assembled once."""
    names = list(part.tensors)
    chunks = [torch.split(part.tensors[name], size) for name in names]
    sizes = [min(size, len(part) - first) for first in range(0, len(part), size)]
    return [
        Prepared(dict(zip(names, tensors, strict=True)), count)
        for *tensors, count in zip(*chunks, sizes, strict=True)
    ]
