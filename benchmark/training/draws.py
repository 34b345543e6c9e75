"""Dropout of a shared batch: every rank draws the masks of the joint batch and keeps its own rows.

A mask decides what is trained, so ranks that drew their own would train another model than one process does.
The masks come from the generator in the order and memory layout of one process; on a CPU they are the same
numbers. The price is that each rank draws all of them.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from benchmark.core.hashing import derive_seed
from benchmark.training.distributed import Group


@contextlib.contextmanager
def quick_masks() -> Iterator[None]:
    """Inside, `bernoulli_` of a float32 tensor on a CPU makes four draws of one 64-bit number.

    Dropout draws one number a mask entry otherwise, by a generator of the vendor's library: 13% of CARZero's
    step goes there (70 against 60 ms, one thread), and the masks depend on whether torch has that library.
    The chance is rounded to a multiple of 2⁻¹⁶. The numbers come from the generator that is given or torch's
    own, so that its seeds and saved states mean what they did.
    """
    library: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of every kernel that is replaced on purpose
        library.impl("bernoulli_.float", _bernoulli, "CPU")
    try:
        yield
    finally:
        library._destroy()


def _bernoulli(out: Tensor, p: float = 0.5, *, generator: Generator | None = None) -> Tensor:
    if p >= 1:
        return out.fill_(1)
    count = out.numel()
    words = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None, generator=generator)
    drawn = words.view(torch.int16)[:count] < round(p * 2**16) - 2**15
    if torch.empty_like(out, device="meta").stride() != out.stride():  # entries do not lie side by side
        return out.copy_(drawn.view(out.shape))
    out.as_strided((count,), (1,)).copy_(drawn)
    return out


Phase = Literal["image", "text", "pairs"]


class JointDropout(TorchFunctionMode):
    """Replaces dropout, alone and inside attention, while a rank computes its rows of a joint batch.

    batch: (I, T) of the joint batch. `phase` says what is computed: rows of images, rows of texts, or pairs
    of own images with all texts, of which either may come first. A tensor whose rows cannot be told from its
    shape (as many own images as texts) is drawn for itself, from a seed of this rank.
    """

    def __init__(self, group: Group, batch: tuple[int, int]) -> None:
        super().__init__()
        self.group, self.batch = group, batch
        self.phase: Phase = "image"
        self._alone = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.dropout:
            return self._dropout(*args, **kwargs)
        if func is functional.scaled_dot_product_attention and kwargs.get("dropout_p"):
            return self._attention(*args, **kwargs)
        return func(*args, **kwargs)

    def _dropout(self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return x
        axis = self._axis(x, 0, 1)
        if axis is None:
            return self._for_itself(lambda: functional.dropout(x, p, True, inplace), x.device)
        mask = self._mask(x, p, axis)
        return x.mul_(mask) if inplace else x * mask

    def _attention(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *,
        dropout_p: float, is_causal: bool = False, scale: float | None = None, **more: Any,
    ) -> Tensor:  # fmt: skip
        axis = self._axis(query, 0, -2)
        if axis is None or is_causal or more or (attn_mask is not None and attn_mask.dtype == torch.bool):
            return self._for_itself(
                lambda: functional.scaled_dot_product_attention(
                    query, key, value, attn_mask, dropout_p, is_causal, scale=scale, **more
                ),
                query.device,
            )
        logits = query @ key.transpose(-1, -2) * (scale or query.shape[-1] ** -0.5)
        attention = (logits if attn_mask is None else logits + attn_mask).softmax(-1)
        return attention * self._mask(attention, dropout_p, axis) @ value

    def _axis(self, x: Tensor, first: int, second: int) -> int | None:
        """The axis of x that holds own rows; None where the shape does not tell."""
        texts = self.batch[1]
        if self.phase != "pairs":
            return 0 if x.ndim and x.shape[0] == self._own(self.phase) else None
        own = self._own("image")
        if x.ndim < 3 or own == texts:
            return None
        sides = x.shape[first], x.shape[second]
        if sides == (own, texts):
            return first
        return int(second % x.ndim) if sides == (texts, own) else None

    def _own(self, phase: Phase) -> int:
        part = self.group.part(self.batch[phase == "text"])
        return int(part.stop - part.start)

    def _mask(self, x: Tensor, p: float, axis: int) -> Tensor:
        count = self.batch[self.phase == "text"]
        part = self.group.part(count)
        order = sorted(range(x.ndim), key=lambda a: (-x.stride()[a], a))
        shape = [count if a == axis else x.shape[a] for a in order]
        ones = torch.ones(shape, dtype=x.dtype, device=x.device).permute(
            [order.index(a) for a in range(x.ndim)]
        )
        return functional.dropout(ones, p, True).narrow(axis, part.start, part.stop - part.start)

    def _for_itself(self, draw: Callable[[], Tensor], device: torch.device) -> Tensor:
        self._alone += 1
        seed = derive_seed(torch.initial_seed() % 2**63, "rank", self.group.rank, self._alone)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            return draw()
