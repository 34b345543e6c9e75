"""Images encoded on a Ray cluster: shards stream from its nodes to this process, the store's only writer.

One writer, because machines that map one file of NFS lose each other's bytes where their shards share a page.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmark.core.errors import BenchError
from benchmark.core.progress import Report, watched
from benchmark.core.settings import Precision
from benchmark.core.tables import Manifest
from benchmark.encoders.cache import _SHARD, _build, _ready, _stored, at_once, image_key
from benchmark.grid.layout import Project
from benchmark.grid.params import Params
from benchmark.grid.request import Request, plan
from benchmark.stages.features import _decode, device, shared_image_encoder
from benchmark.stages.own_encoders import Sessions
from benchmark.stages.ray_stream import (
    OnRay,
    Shard,
    ShardWorker,
    Stream,
    Work,
    nodes_text,
    ranges,
    ray_stream,
    taken,
)
from benchmark.stages.run import Say, Session
from benchmark.stages.train import training_source
from benchmark.stages.versions import versions

if TYPE_CHECKING:
    from benchmark.encoders.base import ImageEncoder
    from benchmark.encoders.cards import ImageCard


@dataclass(frozen=True)
class Encoding(Work):
    """Images of one set to encode. encoder: what a card names, or an encoder itself.

    name: key of the features, which the encoder must give on a node too. pixels: file of the decoded images,
    (N, S, S) uint8, or volumes, (N, Z, Y, X) int16.
    """

    encoder: str | ImageCard | ImageEncoder
    pixels: Path
    pixels_key: str
    precision: Precision


def encode_request(on: OnRay, project: Project, request: Request, say: Say) -> None:
    """Encode on the cluster what the cells of a request read: the training images and every evaluated set,
    under the frozen encoders of each cell. Raises BenchError as `encode_set`."""
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
                encode_set(on, project, own.params, chosen, say)


def encode_set(
    on: OnRay, project: Project, params: Params, manifest: Manifest, say: Say,
    encoder: ImageEncoder | None = None,
) -> None:  # fmt: skip
    """Encode the images of a manifest on a cluster: what `features.encode_images` makes in one process, the
    same bytes under the same key. What is in the cache is left.

    encoder: in place of the run's shared one. Pixels are decoded on this machine. Raises BenchError for
    an image that cannot be read, a node of another version, a disk that takes no more, and a shard that ended
    its process too often; finished shards stay, and the same call goes on from them.
    """
    network = encoder or shared_image_encoder(params.encoders.image)
    with watched(f"decode {manifest.dataset}") as report:
        pixels, pixels_key = _decode(project, network, manifest, report)
    assert isinstance(pixels, np.memmap)
    work = encoding(
        params, network, encoder or params.encoders.image, Path(str(pixels.filename)), pixels_key,
        on.resources.cpus,
    )  # fmt: skip
    with watched(f"encode {manifest.dataset}") as report:
        stream = ray_stream(on, ShardEncoder, work)
        nodes = encode_store(work, network, project.cache / "features", stream, report)
    if nodes is not None:
        say(f"{manifest.dataset}: {len(manifest):,} images encoded; shards: {nodes_text(nodes)}")


def encoding(
    params: Params, network: ImageEncoder, encoder: str | ImageCard | ImageEncoder, pixels: Path,
    pixels_key: str, cores: int,
) -> Encoding:  # fmt: skip
    """encoder: what the nodes are given of `network`."""
    precision = params.encoders.precision
    key = image_key(network, pixels_key, precision)
    return Encoding(key, params.numerics, cores, versions(), encoder, pixels, pixels_key, precision)


def encode_store(
    work: Encoding, encoder: ImageEncoder, cache: Path, stream: Stream, report: Report | None = None
) -> Counter[str] | None:
    """Write the store of `work` from a stream of its missing shards: node → shards; None where it is there.

    Raises BenchError with what a shard said.
    """
    if (cache / work.name / "store.json").is_file():
        return None
    pixels = np.load(work.pixels, mmap_mode="r")
    total, begun = len(pixels), cache / f"{work.name}.partial" / "done"
    missing = [rows for rows in ranges(total, _SHARD) if not (begun / str(rows.start)).exists()]
    coming, nodes = stream(missing), Counter[str]()

    def wanted(rows: range) -> Shard:
        for shard in coming:
            if taken(shard).first == rows.start:
                return shard
        found = ShardEncoder(work).compute(rows)  # another process had begun it, and died
        return Shard(rows.start, "this process", "", dict(zip(ShardEncoder.arrays, found, strict=True)))

    def fill(start: int, stop: int, arrays: dict[str, np.ndarray]) -> None:
        shard = wanted(range(start, stop))
        for name, own in shard.arrays.items():
            arrays[name][start:stop] = own
        nodes[shard.node] += 1

    tokens = int(np.prod(encoder.grid)), getattr(encoder, "local_width", encoder.width)
    layout = {
        "pooled": ((total, encoder.width), np.float32),
        "local": ((total, *tokens), np.dtype(work.precision).type),
    }
    info = {"kind": "image", "key": work.name, "grid": list(encoder.grid), "precision": work.precision,
            "encoder": encoder.card.name, "licence": encoder.card.licence}  # fmt: skip
    with closing(coming):
        _build(cache, work.name, layout, total, _SHARD, 1, info, fill, report)
    return nodes


class ShardEncoder(ShardWorker):
    """Encodes: pooled (n, D) float32 and local (n, P, D), as the store holds them."""

    arrays = ("pooled", "local")

    def __init__(self, work: Encoding) -> None:
        super().__init__(work)
        self.asked = work
        self.encoder: ImageEncoder | None = None

    def compute(self, rows: range) -> tuple[np.ndarray, ...]:
        """In the batches and on the threads of `encoders.cache.image_features`.

        Raises BenchError where this node has other versions, weights or kernels than the work asks for, and
        OSError where it does not see the pixels.
        """
        work = self.asked
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
            pooled = found.pooled.float().cpu().numpy()
            return pooled, _stored(found.local, work.precision, encoder.card.name)

        with ThreadPoolExecutor(work.cores if portable_cpu else 1, initializer=_ready) as pool:
            pooled, local = zip(*pool.map(batch, rows[::together]), strict=True)
        return np.concatenate(pooled), np.concatenate(local)

    def _checked(self) -> ImageEncoder:
        self.check()
        work = self.asked
        given = work.encoder
        encoder = given if isinstance(given, torch.nn.Module) else shared_image_encoder(given)
        if image_key(encoder, work.pixels_key, work.precision) != work.name:
            raise BenchError(
                f"encoder {encoder.card.name} has other weights there. Give all nodes the same files."
            )
        return encoder
