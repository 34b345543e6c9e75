"""Shards of images computed on the nodes of a Ray cluster, which come back as a stream in their order.

The missing shards are a dataset of Ray Data. Actors, each with what it needs loaded once, read from the
project's folder, which all nodes see. Ray computes at most IN_FLIGHT shards an actor ahead of what is taken,
begins those of a dead node again elsewhere, and gives each actor the cores, GPUs and memory asked for.
"""

from __future__ import annotations

import logging
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
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
"""Shards of an actor that are computed or wait to be taken."""


@dataclass(frozen=True)
class OnRay:
    """A cluster that was joined, and what each actor takes of it. home: the project's folder."""

    ray: Any
    resources: Resources
    home: Path


@dataclass(frozen=True)
class Work:
    """What a node is told about every shard. cores: batches at once on a CPU. tries: a folder with a file for
    each shard, a byte for each time that it was begun. versions: of whoever takes the shards."""

    numerics: numerics.Numerics
    cores: int
    tries: Path
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Shard:
    """Arrays of the images from `first`, by name. node: who computed them. said: why it could not, or ""."""

    first: int
    node: str
    said: str
    arrays: Mapping[str, np.ndarray]


Stream = Callable[[Sequence[range]], Generator[Shard]]
"""Rows of shards → the shards, in this order, computed as they are taken."""


class ShardWorker(ABC):
    """On a node: computes shards of one piece of work. A subclass names its arrays and computes them."""

    arrays: ClassVar[tuple[str, ...]]

    def __init__(self, work: Work) -> None:
        self.work = work

    @abstractmethod
    def compute(self, rows: range) -> tuple[np.ndarray, ...]:
        """The arrays of these images. Raises BenchError or OSError where this node cannot."""

    def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
        """A row of Ray Data (first, stop) → a row of a shard's fields and arrays."""
        rows = range(int(batch["first"][0]), int(batch["stop"][0]))
        node = f"node {ray_package().get_runtime_context().get_node_id()[:8]}"
        said, found = "", (np.zeros((1, 1), np.float32),) * len(self.arrays)
        try:
            self.begin(rows.start)
            found = self.compute(rows)
        except (BenchError, OSError) as error:
            said = f"{node}: {error}"
        named = dict(zip(self.arrays, found, strict=True))
        return {
            name: [value]
            for name, value in {"first": rows.start, "node": node, "said": said, **named}.items()
        }

    def begin(self, first: int) -> None:
        """Count a try. Raises BenchError where there were too many: Ray itself would go on for ever."""
        self.work.tries.mkdir(parents=True, exist_ok=True)
        with (self.work.tries / str(first)).open("ab") as tries:
            tries.write(b".")
            begun = tries.tell()
        if begun > RETRIES + 1:
            raise BenchError(
                f"images from {first} ended the process that had them {RETRIES + 1} times, perhaps for lack "
                "of memory. Ask for more by --memory-gb."
            )

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


def ray_stream(on: OnRay, worker: type[ShardWorker], work: Work, image_bytes: int) -> Stream:
    """Shards computed by actors on the nodes of a cluster, as many actors as it has places for.

    image_bytes: what one image takes of the memory that nodes share. Raises BenchError where Ray gives up.
    """

    def stream(missing: Sequence[range]) -> Generator[Shard]:
        if not missing:
            return
        shutil.rmtree(work.tries, ignore_errors=True)
        data, asked = _ray_data(), asked_of(on.resources)
        actors = min(max(1, places(on.ray, asked)), len(missing))
        limits = data.DataContext.get_current().execution_options
        limits.preserve_order = True
        ahead = IN_FLIGHT * actors * image_bytes * len(missing[0])
        limits.resource_limits = limits.resource_limits.copy(object_store_memory=ahead)
        pins = numerics.ENVIRONMENT if work.numerics == "portable" else numerics.ALWAYS
        rows = [{"first": rows.start, "stop": rows.stop} for rows in missing]
        found = data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            worker,
            fn_constructor_args=(work,),
            batch_size=1,
            compute=data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=IN_FLIGHT),
            runtime_env={"env_vars": {**pins, "CXR_ALIGNBENCH_HOME": str(on.home)}},
            **asked,
        )
        try:
            for batch in found.iter_batches(batch_size=1, prefetch_batches=0, batch_format="numpy"):
                arrays = {name: batch[name][0] for name in worker.arrays}
                yield Shard(int(batch["first"][0]), str(batch["node"][0]), str(batch["said"][0]), arrays)
        except on.ray.exceptions.RayError as error:
            said = " ".join(str(getattr(error, "cause", None) or error).split()).rstrip(".")
            raise BenchError(
                f"--cluster ray: {said:.300}. Finished shards are kept: run the same command again."
            ) from None
        shutil.rmtree(work.tries, ignore_errors=True)

    return stream


def _ray_data() -> Any:
    """Ray Data without its bars and its reports of what it plans."""
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray.data
