"""Images encoded on a Ray cluster: shards stream from its nodes to this process, the store's only writer.

The shards that a store still lacks are a dataset of Ray Data. Actors, each with the encoder loaded once, read
decoded pixels from the project's folder, which all nodes see; features come back in the order of the images.
Ray computes at most IN_FLIGHT shards an actor ahead of what is written, begins those of a dead node again
elsewhere, and gives each actor the cores, GPUs and memory that were asked for. One writer, because machines
that map one file of NFS lose each other's bytes where their shards share a page.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmark.core import numerics
from benchmark.core.errors import BenchError
from benchmark.core.progress import Report, watched
from benchmark.core.settings import Precision
from benchmark.core.tables import Manifest
from benchmark.encoders.cache import _SHARD, _build, _ready, _stored, at_once, image_key
from benchmark.grid.layout import Project
from benchmark.grid.params import Params
from benchmark.grid.request import Request, plan
from benchmark.stages.cluster import Resources
from benchmark.stages.features import _decode, device, shared_image_encoder
from benchmark.stages.own_encoders import Sessions
from benchmark.stages.ray_cluster import RETRIES, asked_of, places, ray_package
from benchmark.stages.run import Say, Session
from benchmark.stages.train import training_source
from benchmark.stages.versions import difference, versions

if TYPE_CHECKING:
    from benchmark.encoders.base import ImageEncoder
    from benchmark.encoders.cards import ImageCard

IN_FLIGHT = 2
"""Shards of an actor that are computed or wait to be written."""


@dataclass(frozen=True)
class Work:
    """What a node needs to encode shards of one set.

    pixels: file of the decoded images, (N, S, S) uint8, or volumes, (N, Z, Y, X) int16. key: of the features,
    which the node's encoder must give too. cores: batches at once on a CPU. tries: a folder with a file for
    each shard, a byte for each time that it was begun.
    """

    encoder: str | ImageCard
    pixels: Path
    pixels_key: str
    precision: Precision
    key: str
    numerics: numerics.Numerics
    cores: int
    tries: Path
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Shard:
    """Features of the images from `first` as the store holds them: pooled (n, D), local (n, P, D). node: who
    computed it. said: why it could not be, "" where it was."""

    first: int
    node: str
    said: str
    pooled: np.ndarray
    local: np.ndarray


Stream = Callable[[Sequence[range]], Generator[Shard]]
"""Rows of shards → their features, in this order, computed as they are taken."""


def encode_request(ray: Any, project: Project, request: Request, resources: Resources, say: Say) -> None:
    """Encode on the cluster what the cells of a request read: the training images and every evaluated set,
    under the frozen encoders of each cell. Raises BenchError as `encode_sets`."""
    todo = plan(project, request)
    sessions = Sessions(Session(project, todo.params, say, protocol=request.protocol))
    done: list[tuple[str | ImageCard, Precision, str, bool]] = []
    for cell in todo.cells:
        own = sessions.of(cell)
        encoders, train = own.params.encoders, own.params.data.train
        evaluated = todo.datasets if encoders.train.image == "none" else ()
        for dataset, training in [(train, True), *((name, False) for name in evaluated)]:
            asked = encoders.image, encoders.precision, dataset, training
            if asked not in done:
                done.append(asked)
                manifest = own.manifest(dataset)
                chosen = training_source(own.params, manifest).manifest if training else manifest
                encode_sets(ray, project, own.params, [chosen], resources, say)


def encode_sets(
    ray: Any, project: Project, params: Params, sets: Sequence[Manifest], resources: Resources, say: Say
) -> None:
    """Encode the images of manifests under the run's image encoder on a cluster: what `features.image_store`
    makes in one process, the same bytes under the same keys. What is in the cache is left.

    Pixels are decoded on this machine. Raises BenchError for an image that cannot be read, a node of another
    version, a disk that takes no more, and a shard that ended its process RETRIES + 1 times; finished shards
    stay, and the same call goes on from them.
    """
    encoder = shared_image_encoder(params.encoders.image)
    for manifest in sets:
        with watched(f"decode {manifest.dataset}") as report:
            pixels, pixels_key = _decode(project, encoder, manifest, report)
        assert isinstance(pixels, np.memmap)
        work = work_of(params, encoder, Path(str(pixels.filename)), pixels_key, project, resources)
        with watched(f"encode {manifest.dataset}") as report:
            stream = ray_stream(ray, work, resources, project)
            nodes = encode_store(work, encoder, project.cache / "features", stream, report)
        if nodes is not None:
            told = ", ".join(f"{count} on {node}" for node, count in sorted(nodes.items()))
            say(f"{manifest.dataset}: {len(manifest):,} images encoded; shards: {told}")


def work_of(
    params: Params, encoder: ImageEncoder, pixels: Path, pixels_key: str, project: Project,
    resources: Resources,
) -> Work:  # fmt: skip
    precision = params.encoders.precision
    key = image_key(encoder, pixels_key, precision)
    return Work(
        params.encoders.image, pixels, pixels_key, precision, key, params.numerics, resources.cpus,
        project.cache / "features" / f"{key}.tries", versions(),
    )  # fmt: skip


def encode_store(
    work: Work, encoder: ImageEncoder, cache: Path, stream: Stream, report: Report | None = None
) -> Counter[str] | None:
    """Write the store of `work` from a stream of its missing shards: node → shards; None where it is there.

    Raises BenchError with what a shard said.
    """
    if (cache / work.key / "store.json").is_file():
        return None
    pixels = np.load(work.pixels, mmap_mode="r")
    total, begun = len(pixels), cache / f"{work.key}.partial" / "done"
    missing = [
        range(first, min(first + _SHARD, total))
        for first in range(0, total, _SHARD)
        if not (begun / str(first)).exists()
    ]
    coming, nodes = stream(missing), Counter[str]()

    def taken(start: int, stop: int) -> Shard:
        for shard in coming:
            if shard.said:
                raise BenchError(shard.said)
            if shard.first == start:
                return shard
        return ShardEncoder(work).encode(range(start, stop))  # another process had begun it, and died

    def fill(start: int, stop: int, arrays: dict[str, np.ndarray]) -> None:
        shard = taken(start, stop)
        arrays["pooled"][start:stop], arrays["local"][start:stop] = shard.pooled, shard.local
        nodes[shard.node] += 1

    tokens = int(np.prod(encoder.grid)), getattr(encoder, "local_width", encoder.width)
    layout = {
        "pooled": ((total, encoder.width), np.float32),
        "local": ((total, *tokens), np.dtype(work.precision).type),
    }
    info = {"kind": "image", "key": work.key, "grid": list(encoder.grid), "precision": work.precision,
            "encoder": encoder.card.name, "licence": encoder.card.licence}  # fmt: skip
    with closing(coming):
        _build(cache, work.key, layout, total, _SHARD, 1, info, fill, report)
    shutil.rmtree(work.tries, ignore_errors=True)
    return nodes


def ray_stream(ray: Any, work: Work, resources: Resources, project: Project) -> Stream:
    """Shards encoded by actors on the nodes of a cluster, as many actors as it has places for."""

    def stream(missing: Sequence[range]) -> Generator[Shard]:
        if not missing:
            return
        shutil.rmtree(work.tries, ignore_errors=True)
        data, asked = _ray_data(), asked_of(resources)
        actors = min(max(1, places(ray, asked)), len(missing))
        limits = data.DataContext.get_current().execution_options
        limits.preserve_order = True
        limits.resource_limits = limits.resource_limits.copy(
            object_store_memory=IN_FLIGHT * actors * shard_bytes(work, len(missing[0]))
        )
        pins = numerics.ENVIRONMENT if work.numerics == "portable" else numerics.ALWAYS
        found = data.from_items(
            [{"first": rows.start, "stop": rows.stop} for rows in missing], override_num_blocks=len(missing)
        ).map_batches(
            ShardEncoder,
            fn_constructor_args=(work,),
            batch_size=1,
            compute=data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=IN_FLIGHT),
            runtime_env={"env_vars": {**pins, "CXR_ALIGNBENCH_HOME": str(project.root)}},
            **asked,
        )
        try:
            for batch in found.iter_batches(batch_size=1, prefetch_batches=0, batch_format="numpy"):
                yield Shard(**{name: values[0] for name, values in batch.items()})
        except ray.exceptions.RayError as error:
            said = " ".join(str(getattr(error, "cause", None) or error).split()).rstrip(".")
            raise BenchError(
                f"--cluster ray: {said:.300}. Finished shards are kept: run the same command again."
            ) from None

    return stream


def shard_bytes(work: Work, images: int) -> int:
    """What a shard of so many images takes in the memory that nodes share."""
    encoder = shared_image_encoder(work.encoder)
    tokens = int(np.prod(encoder.grid)) * getattr(encoder, "local_width", encoder.width)
    return images * (4 * encoder.width + np.dtype(work.precision).itemsize * tokens)


def _ray_data() -> Any:
    """Ray Data without its bars and its reports of what it plans."""
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray.data


class ShardEncoder:
    """On a node: encodes shards of one set, with the encoder loaded once."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.encoder: ImageEncoder | None = None

    def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
        """One row (first, stop) → one row of the fields of a `Shard`."""
        rows = range(int(batch["first"][0]), int(batch["stop"][0]))
        node = f"node {ray_package().get_runtime_context().get_node_id()[:8]}"
        try:
            self.begin(rows.start)
            shard = self.encode(rows, node)
        except (BenchError, OSError) as error:
            nothing = np.zeros((1, 1), np.float32)
            shard = Shard(rows.start, node, f"{node}: {error}", nothing, nothing)
        return {name: [value] for name, value in vars(shard).items()}

    def begin(self, first: int) -> None:
        """Count a try. Raises BenchError where there were too many: Ray itself would go on for ever."""
        self.work.tries.mkdir(parents=True, exist_ok=True)
        with (self.work.tries / str(first)).open("ab") as tries:
            tries.write(b".")
            begun = tries.tell()
        if begun > RETRIES + 1:
            raise BenchError(
                f"images from {first} ended the process that encoded them {RETRIES + 1} times, perhaps for "
                "lack of memory. Ask for more by --memory-gb."
            )

    def encode(self, rows: range, node: str = "this process") -> Shard:
        """Features of these images, in the batches and on the threads of `encoders.cache.image_features`.

        Raises BenchError where this node has other versions, weights or kernels than the work asks for, and
        OSError where it does not see the pixels.
        """
        work = self.work
        if self.encoder is None:
            self.encoder = self._checked().to(device())
        encoder, pixels = self.encoder, np.load(work.pixels, mmap_mode="r")
        volumes = encoder.modality == "ct"
        together = 1 if volumes else at_once(encoder.preprocessing.side)
        portable_cpu = device() == "cpu" and work.numerics == "portable" and not volumes

        @torch.inference_mode()
        def batch(first: int) -> tuple[np.ndarray, np.ndarray]:
            part = np.array(pixels[first : min(first + together, rows.stop)])
            found = encoder.encode(torch.from_numpy(part).to(device()))
            return (
                found.pooled.float().cpu().numpy(),
                _stored(found.local, work.precision, encoder.card.name),
            )

        with ThreadPoolExecutor(work.cores if portable_cpu else 1, initializer=_ready) as pool:
            pooled, local = zip(*pool.map(batch, rows[::together]), strict=True)
        return Shard(rows.start, node, "", np.concatenate(pooled), np.concatenate(local))

    def _checked(self) -> ImageEncoder:
        if other := difference(self.work.versions, versions()):
            raise BenchError(f"it has {other}. Install the same versions on all nodes.")
        numerics.apply(self.work.numerics)
        encoder = shared_image_encoder(self.work.encoder)
        if image_key(encoder, self.work.pixels_key, self.work.precision) != self.work.key:
            raise BenchError(
                f"encoder {encoder.card.name} has other weights there. Give all nodes the same files."
            )
        return encoder
