"""Shards of images computed on the nodes of a Ray cluster, which come back as a stream in their order.

Each missing shard is a task. At most IN_FLIGHT tasks a place of the cluster are begun ahead of the shard that
is taken, so that no node runs away from the writer; Ray gives a task the cores, GPUs and memory asked for,
and begins those of a dead node again elsewhere. What a task loads stays with its process for the next one.

Not Ray Data: where its pool of actors may not run ahead of shards that are taken in order, and a node is gone
for good, the dead actor waits for a place that the living ones hold, and these for its shards, for ever.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmark.core import numerics
from benchmark.core.errors import BenchError
from benchmark.stages.cluster import Resources
from benchmark.stages.ray_cluster import RETRIES, asked_of, places, ray_package
from benchmark.stages.versions import difference, versions

IN_FLIGHT = 2
"""Shards of a place that are computed or wait to be taken."""


def ranges(total: int, size: int) -> list[range]:
    """The rows of each shard of `size`, the last one shorter."""
    return [range(first, min(first + size, total)) for first in range(0, total, size)]


def nodes_text(nodes: Counter[str]) -> str:
    """`3 on node a, 5 on node b`: where shards were computed."""
    return ", ".join(f"{count} on {node}" for node, count in sorted(nodes.items()))


@dataclass(frozen=True)
class OnRay:
    """A cluster that was joined, and what each task takes of it. home: the project's folder."""

    ray: Any
    resources: Resources
    home: Path


@dataclass(frozen=True)
class Work:
    """What a node is told about every shard. name: of this work. cores: batches at once on a CPU. versions:
    of whoever takes the shards."""

    name: str
    numerics: numerics.Numerics
    cores: int
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Shard:
    """Arrays of the images from `first`, by name. node: who computed them. said: why it could not, or ""."""

    first: int
    node: str
    said: str
    arrays: Mapping[str, np.ndarray]


Stream = Callable[[Iterable[range]], Generator[Shard]]
"""Rows of shards → the shards, in this order, computed as they are taken."""


class ShardWorker(ABC):
    """On a node: computes shards of one piece of work. A subclass names its arrays and computes them."""

    arrays: ClassVar[tuple[str, ...]]

    def __init__(self, work: Work) -> None:
        self.work = work

    @abstractmethod
    def compute(self, rows: range) -> tuple[np.ndarray, ...]:
        """The arrays of these images. Raises BenchError or OSError where this node cannot."""

    def shard(self, rows: range, node: str) -> Shard:
        """What `compute` gives, or why it cannot."""
        try:
            return Shard(rows.start, node, "", dict(zip(self.arrays, self.compute(rows), strict=True)))
        except (BenchError, OSError) as error:
            return Shard(rows.start, node, f"{node}: {error}", {})

    def check(self) -> None:
        """Compute as the work says. Raises BenchError where this node has other versions."""
        if other := difference(self.work.versions, versions()):
            raise BenchError(f"it has {other}. Install the same versions on all nodes.")
        numerics.apply(self.work.numerics)


def taken(shard: Shard) -> Shard:
    """Raises BenchError with what the node said of a shard that it could not compute."""
    if shard.said:
        raise BenchError(shard.said)
    return shard


def ray_stream(on: OnRay, worker: type[ShardWorker], work: Work) -> Stream:
    """Shards computed by tasks on the nodes of a cluster. Raises BenchError where Ray gives one up: its
    process or node died RETRIES + 1 times."""

    def stream(missing: Iterable[range]) -> Generator[Shard]:
        asked = asked_of(on.resources)
        pins = numerics.ENVIRONMENT if work.numerics == "portable" else numerics.ALWAYS
        # A process with a GPU would end after each shard without max_calls.
        task = on.ray.remote(max_calls=0)(_compute).options(
            **asked,
            max_retries=RETRIES,
            runtime_env={"env_vars": {**pins, "CXR_ALIGNBENCH_HOME": str(on.home)}},
        )
        given = on.ray.put(work)
        ahead = IN_FLIGHT * max(1, places(on.ray, asked))
        begun: deque[Any] = deque()
        for rows in missing:
            begun.append(task.remote(worker, given, rows))
            if len(begun) == ahead:
                yield _got(on.ray, begun.popleft())
        while begun:
            yield _got(on.ray, begun.popleft())

    return stream


def _got(ray: Any, task: Any) -> Shard:
    try:
        found: Shard = ray.get(task)
    except ray.exceptions.RayError as error:
        said = " ".join(str(getattr(error, "cause", None) or error).split()).rstrip(".")
        raise BenchError(
            f"--cluster ray: {said:.300}. Finished shards are kept: run the same command again, with more "
            "--memory-gb where that was short."
        ) from None
    return found


_workers: dict[str, ShardWorker] = {}
"""Of this process, by the name of its work: the last one."""


def _compute(worker: type[ShardWorker], work: Work, rows: range) -> Shard:
    if work.name not in _workers:
        _workers.clear()
        _workers[work.name] = worker(work)
    node = f"node {ray_package().get_runtime_context().get_node_id()[:8]}"
    return _workers[work.name].shard(rows, node)
