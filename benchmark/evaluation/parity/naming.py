"""Official parameter names against ours, found by sending marked tensors through a method's importer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from benchmark.evaluation.parity.check import GRADIENT, Checker, Tolerance

Importer = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


class NameMap:
    """Where each official tensor ends up in our state dict; works for renaming, splitting and reshaping."""

    def __init__(self, importer: Importer, shapes: Mapping[str, Sequence[int]]) -> None:
        self.importer = importer
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self.number = {name: i + 1 for i, name in enumerate(shapes)}
        marked = {n: torch.full(s, float(self.number[n])) for n, s in self.shapes.items()}
        self.marks = importer(marked)

    def places(self, official: str) -> dict[str, Tensor]:
        """Our name → mask of the elements that come from the official tensor; empty if it is not imported."""
        number = self.number.get(official)
        if number is None:
            return {}
        masks = {ours: mark.eq(number) for ours, mark in self.marks.items()}
        return {ours: mask for ours, mask in masks.items() if bool(mask.any())}

    def gather(self, official: str, ours: Mapping[str, Tensor]) -> Tensor | None:
        """Our elements that come from the official tensor, flat; None if it is not imported."""
        places = self.places(official)
        return torch.cat([ours[name][mask] for name, mask in places.items()]) if places else None


def load_official(method: nn.Module, imported: Mapping[str, Tensor]) -> None:
    """Strict load of an imported state."""
    method.load_state_dict(dict(imported))


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
