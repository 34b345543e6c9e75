"""Pairs in recomputed tiles: exact loss and gradients in bounded memory.

A pairwise method keeps, for the backward pass, activations of all I × T pairs. Here only the (I, T) numbers
that the loss needs are kept; when their gradient is due, each tile is computed again and its part is added to
the gradients of the inputs in place (Gao et al. 2021, "Scaling deep contrastive learning batch size under
memory limited setup", applied to pairs). The peak is one tile beside one gradient of every input.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

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
    if not torch.is_grad_enabled():
        return _gathered(run, image, text, tile, scoring)
    weights = [p for p in method.parameters() if p.requires_grad]
    names, counts = (list(image.tensors), list(text.tensors)), (len(image), len(text))
    plan = _Plan(run, *names, weights, counts, tile, scoring)
    matrices = _Recomputed.apply(plan, *image.tensors.values(), *text.tensors.values(), *weights)
    return dict(zip(plan.outputs, matrices, strict=True))


def _gathered(
    run: Interact, image: Prepared, text: Prepared, tile: tuple[int, int], scoring: bool,
    before: Callable[[], None] | None = None,
) -> Pairs:  # fmt: skip
    """All pairs, tile by tile, without a gradient; `before` is called ahead of each tile."""
    whole: Pairs = {}
    for first in range(0, len(image), tile[0]):
        one = image[first : first + tile[0]]
        for start in range(0, len(text), tile[1]):
            other = text[start : start + tile[1]]
            if before is not None:
                before()
            for name, part in run(one, other, scoring=scoring).items():
                if name not in whole:
                    whole[name] = part.new_empty(len(image), len(text), *part.shape[2:])
                whole[name][first : first + len(one), start : start + len(other)] = part
    return whole


@dataclass
class _Plan:
    """What the backward pass needs to compute the tiles again; outputs and random states are filled in."""

    run: Interact
    image: list[str]
    text: list[str]
    weights: list[torch.nn.Parameter]
    counts: tuple[int, int]
    tile: tuple[int, int]
    scoring: bool
    outputs: list[str] = field(default_factory=list)
    states: list[tuple[Tensor, list[Tensor]]] = field(default_factory=list)
    autocast: tuple[str, bool, torch.dtype] = ("cpu", False, torch.bfloat16)

    def parts(self, tensors: tuple[Tensor, ...]) -> tuple[Prepared, Prepared]:
        sides = len(self.image)
        image = dict(zip(self.image, tensors[:sides], strict=True))
        text = dict(zip(self.text, tensors[sides : sides + len(self.text)], strict=True))
        return Prepared(image, self.counts[0]), Prepared(text, self.counts[1])

    def remember(self) -> None:
        """The state of the random generators before a tile."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        self.states.append((torch.get_rng_state(), cuda))

    @contextlib.contextmanager
    def as_before(self, number: int) -> Iterator[None]:
        """The random generators and the autocast of the forward pass of one tile."""
        state, cuda = self.states[number]
        kind, enabled, dtype = self.autocast
        with torch.random.fork_rng(devices=range(len(cuda))), torch.enable_grad():
            torch.set_rng_state(state)
            if cuda:
                torch.cuda.set_rng_state_all(cuda)
            with torch.autocast(kind, dtype=dtype, enabled=enabled):
                yield


class _Recomputed(torch.autograd.Function):
    """(plan, tensors of the images, of the texts, weights) → the matrices of all pairs."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, *tensors: Tensor) -> tuple[Tensor, ...]:
        kind = tensors[0].device.type
        plan.autocast = (kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
        ctx.plan = plan
        ctx.save_for_backward(*tensors[: len(tensors) - len(plan.weights)])
        image, text = plan.parts(tensors)
        pairs = _gathered(plan.run, image, text, plan.tile, plan.scoring, plan.remember)
        plan.outputs = list(pairs)
        return tuple(pairs.values())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        plan: _Plan = ctx.plan
        tensors: tuple[Tensor, ...] = ctx.saved_tensors
        needed = ctx.needs_input_grad[1:]
        sides, both = len(plan.image), len(plan.image) + len(plan.text)
        every = [*tensors, *plan.weights]
        sums = [torch.zeros_like(t) if need else None for t, need in zip(every, needed, strict=True)]
        number = 0
        for first in range(0, plan.counts[0], plan.tile[0]):
            rows = slice(first, first + plan.tile[0])
            for start in range(0, plan.counts[1], plan.tile[1]):
                columns = slice(start, start + plan.tile[1])
                own = [
                    t[rows if i < sides else columns].detach().requires_grad_(needed[i])
                    for i, t in enumerate(tensors)
                ]
                one = Prepared(dict(zip(plan.image, own[:sides], strict=True)), len(own[0]))
                other = Prepared(dict(zip(plan.text, own[sides:], strict=True)), len(own[sides]))
                with plan.as_before(number):
                    pairs = plan.run(one, other, scoring=plan.scoring)
                number += 1
                leaves = [*own, *plan.weights]
                wanted = [i for i, need in enumerate(needed) if need]
                outs = [(pairs[n], g[rows, columns]) for n, g in zip(plan.outputs, gradients, strict=True)]
                outs = [(out, gradient) for out, gradient in outs if out.requires_grad]
                found = torch.autograd.grad(
                    [out for out, _ in outs],
                    [leaves[i] for i in wanted],
                    [gradient for _, gradient in outs],
                    allow_unused=True,
                )
                for i, gradient in zip(wanted, found, strict=True):
                    total = sums[i]
                    if gradient is not None and total is not None:
                        part = total if i >= both else total[rows if i < sides else columns]
                        part.add_(gradient)
        return (None, *sums)


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
