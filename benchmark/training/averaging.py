"""An exponential average of the weights, which is validated and kept in place of the weights of a step.

    a ← a + (w - a) / min(h, 1 + t / 9)         h: horizon in steps, t: steps done

The second term lets the first weights, which are far from any average, be forgotten, as in timm's average.
Source: Polyak & Juditsky 1992; Izmailov et al. 2018 for what it does to a network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn


class Average:
    """The average of `parameters`; with `share` None there is none and every call leaves things as they are.

    share: the horizon as a share of `total` steps, so that a longer run averages over as much of itself.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], share: float | None, total: int) -> None:
        self.parameters = parameters
        self.horizon = None if share is None else max(share * total, 1.0)
        self.steps = 0
        self.values: list[Tensor] = [] if self.horizon is None else [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights after a step into the average."""
        if self.horizon is None:
            return
        self.steps += 1
        weight = 1 / min(self.horizon, 1 + self.steps / 9)
        torch._foreach_lerp_(self.values, list(self.parameters), weight)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The averaged weights stand in the parameters inside, the weights of the step again after."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state(self) -> dict[str, object]:
        return {"steps": self.steps, "values": [value.cpu() for value in self.values]}

    def load(self, state: dict[str, object]) -> None:
        self.steps = int(state["steps"])  # type: ignore[call-overload]
        for own, saved in zip(self.values, state["values"], strict=True):  # type: ignore[call-overload]
            own.copy_(saved)

    def _swap(self) -> None:
        for parameter, value in zip(self.parameters, self.values, strict=bool(self.values)):
            parameter.data, value.data = value.data, parameter.data
