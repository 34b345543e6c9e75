"""Many processes, one joint batch: gathers with gradient, averaged gradients, rank-0 writing.

Every rank computes the loss of the joint batch from gathered tensors. The backward of a gather sums the
gradients of all ranks' (equal) losses, which counts each contribution once a rank; averaging parameter
gradients over ranks divides by that number, so they equal those of one process with the joint batch.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from benchmark.core.errors import BenchError
from methods.base import Prepared

T = TypeVar("T")


class RankLost(BenchError):
    """Another process of a distributed run died."""

    exit_code = 1


@dataclass(frozen=True)
class Group:
    """The processes of a run; `Group()` is a run of one."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """This rank's rows of a joint batch; sizes differ by at most one."""
        bounds = self.bounds(count)
        return slice(bounds[self.rank], bounds[self.rank + 1])

    def bounds(self, count: int) -> list[int]:
        base, more = divmod(count, self.size)
        return [rank * base + min(rank, more) for rank in range(self.size + 1)]

    def barrier(self) -> None:
        if self.size > 1:
            dist.barrier()

    def gather(self, tensor: Tensor, count: int) -> Tensor:
        """(own rows, …) → (count, …), the rows of all ranks in order, with gradient."""
        if self.size == 1:
            return tensor
        if not tensor.is_floating_point():
            return _joined(tensor.detach(), self.bounds(count))
        gathered: Tensor = _Gather.apply(tensor, self.bounds(count), self.rank)
        return gathered

    def gather_prepared(self, part: Prepared, count: int) -> Prepared:
        """All ranks' rows of every tensor."""
        if self.size == 1:
            return part
        return Prepared(
            {name: self.gather(part.tensors[name], count) for name in sorted(part.tensors)}, count
        )

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Mean of the gradients over ranks, in one bucket a dtype."""
        if self.size == 1:
            return
        buckets: dict[torch.dtype, list[Tensor]] = {}
        for parameter in parameters:
            if parameter.requires_grad:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                buckets.setdefault(parameter.dtype, []).append(parameter.grad)
        for gradients in buckets.values():
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            dist.all_reduce(flat)
            flat /= self.size
            start = 0
            for gradient in gradients:
                gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
                start += gradient.numel()

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Rank 0's values for everyone, in place."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.data, 0)

    def agree(self, value: Any) -> Any:
        """Rank 0's value (None, numbers, strings, and lists and dicts of these)."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, 0)
        return box[0]

    def first_then_all(self, work: Callable[[], T]) -> T:
        """Rank 0 does the work, then the others, who find the files that it wrote.

        Where it raises a BenchError on rank 0, every rank raises it.
        """
        if self.size == 1:
            return work()
        failure: BenchError | None = None
        if self.first:
            try:
                found = work()
            except BenchError as error:
                failure = error
        said = self.agree(None if failure is None else (str(failure), failure.exit_code))
        if failure is not None:
            raise failure
        if said is not None:
            told = BenchError(said[0])
            told.exit_code = said[1]
            raise told
        return found if self.first else work()

    def join_rows(self, own: NDArray[Any], bounds: list[int]) -> NDArray[Any]:
        """(own rows, …) → the rows of all ranks in order; rank r holds bounds[r]:bounds[r + 1]."""
        if self.size == 1:
            return own
        device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else "cpu"
        found: NDArray[Any] = _joined(torch.from_numpy(own).to(device), bounds).cpu().numpy()
        return found


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, bounds: list[int], rank: int) -> Tensor:
        ctx.own = slice(bounds[rank], bounds[rank + 1])
        return _joined(tensor, bounds)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.own], None, None


def _joined(tensor: Tensor, bounds: list[int]) -> Tensor:
    sizes = np.diff(bounds)
    wire = tensor.to(torch.uint8) if tensor.dtype == torch.bool else tensor
    padded = wire.new_zeros(int(sizes.max()), *wire.shape[1:])
    padded[: len(wire)] = wire
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded.contiguous())
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)]).to(tensor.dtype)


@contextlib.contextmanager
def process_group(backend: str | None = None, timeout_seconds: float = 86_400) -> Iterator[Group]:
    """The group that torchrun describes in the environment, or a group of one without it.

    The time limit is long because ranks wait while rank 0 prepares data; a process that dies closes its
    connections, which ends the wait of the others at once. Raises RankLost where another process dies.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or dist.is_initialized():
        yield Group() if size == 1 else Group(dist.get_rank(), dist.get_world_size())
        return
    chosen = backend or ("nccl" if torch.cuda.is_available() else "gloo")
    if chosen == "nccl":
        torch.cuda.set_device(local_device("cuda", Group(0, size)))
    dist.init_process_group(chosen, timeout=timedelta(seconds=timeout_seconds))
    group = Group(dist.get_rank(), dist.get_world_size())
    try:
        with _told_to_end(group):
            yield group
    except (dist.DistBackendError, dist.DistNetworkError, RuntimeError) as error:
        if isinstance(error, dist.DistBackendError | dist.DistNetworkError) or _connection(error):
            raise _lost(group, "another process of this run ended or stopped answering") from None
        raise
    finally:
        with contextlib.suppress(Exception):
            dist.destroy_process_group()


def _lost(group: Group, what: str) -> RankLost:
    return RankLost(
        f"rank {group.rank}: {what}. Run the same command again to go on from the last saved state."
    )


@contextlib.contextmanager
def _told_to_end(group: Group) -> Iterator[None]:
    """SIGTERM, which torchrun sends to the ranks that are left when one dies, becomes RankLost."""

    def end(number: int, frame: Any) -> None:
        raise _lost(group, "the launcher ended this process, as it does when another one died")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def local_device(device: str, group: Group) -> torch.device:
    """`cuda` becomes this rank's own card. Raises BenchError where the device does not exist here."""
    if device == "auto":
        device = (
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BenchError(f"device {device}: this machine has no CUDA device; use device: cpu or auto.")
    if device == "cuda" and group.size > 1:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", group.rank)))
    return torch.device(device)


def _connection(error: RuntimeError) -> bool:
    text = str(error).lower()
    return any(sign in text for sign in ("connection", "gloo", "timed out", "timeout", "socket", "peer"))


def tile_bounds(count: int, tile: int, group: Group) -> list[int]:
    """Bounds of each rank's rows in evaluation: every row once over all ranks, none dropped or repeated.

    Ranks part at whole tiles, so that each tile is computed as one process computes it.
    """
    return [min(bound * tile, count) for bound in group.bounds(-(-count // tile))]
