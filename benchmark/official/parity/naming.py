"""Official parameter names against ours, found by sending marked tensors through a method's importer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from benchmark.official.parity.check import GRADIENT, Checker, Tolerance

Importer = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


class NameMap:
    """Where each official tensor ends up in our state dict; works for renaming, splitting and reshaping."""

    def __init__(self, importer: Importer, shapes: Mapping[str, Sequence[int]]) -> None:
        self.importer = importer
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self.number = {name: i + 1 for i, name in enumerate(shapes)}
        marked = {n: torch.full(s, float(self.number[n])) for n, s in self.shapes.items()}
        self.marks = importer(marked)
        self.holders: dict[int, list[str]] = {}
        for ours, mark in self.marks.items():
            for number in set(mark.flatten().tolist()):
                self.holders.setdefault(int(number), []).append(ours)

    def gather(self, official: str, ours: Mapping[str, Tensor]) -> Tensor | None:
        """Our elements that come from the official tensor, flat; None if it is not imported."""
        number = self.number.get(official, 0)
        parts = [ours[name][self.marks[name] == number] for name in self.holders.get(number, [])]
        return torch.cat(parts) if parts else None


def check_state_gradients(
    checker: Checker,
    module: nn.Module,
    importer: Importer,
    state: Mapping[str, Tensor],
    prefix: str = "grad_state/",
    tolerance: Tolerance = GRADIENT,
) -> None:
    """Compare parameter gradients with the fixture's, under the official names.

    state: official weights, for the shapes. Parameters without a gradient count as zero.
    """
    official = {n: torch.from_numpy(a.copy()) for n, a in checker.fixture.under(prefix).items()}
    names = NameMap(importer, {n: t.shape for n, t in state.items()})
    expected = importer({n: official.get(n, torch.zeros(t.shape)) for n, t in state.items()})
    ours = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in module.named_parameters()}
    for name, gradient in official.items():
        mine, theirs = names.gather(name, ours), names.gather(name, expected)
        if mine is None or theirs is None or mine.numel() != gradient.numel():
            continue  # no row is added, so the checker reports it
        checker.values(f"{prefix}{name}", mine, theirs, tolerance)
