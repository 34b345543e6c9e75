"""Images encoded on a real Ray cluster of two nodes, and what of it needs no cluster.

pytest -m ray      needs ray, of the extra `cluster`
"""

from __future__ import annotations

import filecmp
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.core import numerics
from benchmark.core.errors import BenchError
from benchmark.core.progress import Report
from benchmark.encoders import cache
from benchmark.grid.layout import Project
from benchmark.grid.params_file import load_params
from benchmark.stages import ray_features
from benchmark.stages.cluster import Resources
from benchmark.stages.features import shared_image_encoder
from benchmark.stages.ray_features import Encoding, ShardEncoder, encode_store, encoding
from benchmark.stages.ray_stream import IN_FLIGHT, OnRay, Shard, ray_stream
from tests.stages.ray_nodes import STORE

SHARD = 16
ONE = Resources(cpus=1, memory_gb=1)


class Cut(Exception):
    """The process that writes was ended."""


@pytest.fixture
def job(root, tmp_path, monkeypatch):
    """Work on 152 random images in shards of 16, its encoder, and a cache for what it makes."""
    for module in (cache, ray_features):
        monkeypatch.setattr(module, "_SHARD", SHARD)
    project = Project(tmp_path)
    params = load_params(root / "params.yaml")
    numerics.apply(params.numerics)
    encoder = shared_image_encoder(params.encoders.image)
    side = encoder.preprocessing.side
    pixels = np.random.default_rng(0).integers(0, 256, (152, side, side), dtype=np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    name = params.encoders.image
    work = encoding(params, encoder, name, tmp_path / "pixels.npy", "of this test", ONE.cpus)
    return work, encoder, project.cache / "features"


def alone(job, folder: Path) -> Path:
    """The store that one process makes."""
    work, encoder, _ = job
    pixels = np.load(work.pixels)
    found = cache.image_features(
        pixels, encoder, folder, precision=work.precision, pixels_key=work.pixels_key
    )
    assert found.key == work.name
    return folder / work.name


def assert_same_store(found: Path, wanted: Path) -> None:
    names = sorted(path.name for path in wanted.iterdir())
    assert sorted(path.name for path in found.iterdir()) == names
    assert filecmp.cmpfiles(found, wanted, names, shallow=False) == (names, [], [])


def encoded(work: Encoding, rows: range) -> Shard:
    return ShardEncoder(work).shard(rows, "this process")


def in_this_process(work):
    return lambda missing: (encoded(work, rows) for rows in missing)


def cut_after(shards: int):
    def report(done: int, total: int) -> None:
        if done >= shards * SHARD:
            raise Cut

    return report


def test_a_store_written_from_a_stream_is_that_of_one_process_and_goes_on_by_shard(job, tmp_path) -> None:
    work, encoder, folder = job
    with pytest.raises(Cut):
        encode_store(work, encoder, folder, in_this_process(work), cut_after(3))
    asked: list[range] = []

    def stream(missing):
        asked.extend(missing)
        yield from in_this_process(work)(missing[:-1])

    nodes = encode_store(work, encoder, folder, stream)
    assert [rows.start for rows in asked] == list(range(3 * SHARD, 152, SHARD))
    assert nodes == Counter({"this process": 7}), "the one that did not come is encoded here"
    assert_same_store(folder / work.name, alone(job, tmp_path / "alone"))
    assert encode_store(work, encoder, folder, in_this_process(work)) is None


def test_a_node_that_cannot_encode_is_named_and_what_was_done_stays(job) -> None:
    work, encoder, folder = job

    def stream(missing):
        yield encoded(work, missing[0])
        yield Shard(missing[1].start, "node b", "node b: No space left on device", {})

    with pytest.raises(BenchError, match="node b: No space left on device"):
        encode_store(work, encoder, folder, stream)
    assert [path.name for path in (folder / f"{work.name}.partial" / "done").iterdir()] == ["0"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"versions": {"torch": "0.1"}}, "torch .*, not 0.1. Install the same versions"),
        ({"name": "0" * 64}, "has other weights there"),
    ],
)
def test_a_node_of_other_versions_or_weights_is_refused(job, changed, said) -> None:
    with pytest.raises(BenchError, match=said):
        ShardEncoder(replace(job[0], **changed)).compute(range(0, 4))


@pytest.mark.ray
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_loses_a_node_writes_the_store_of_one_process(cluster, job, tmp_path) -> None:
    from benchmark.stages.ray_cluster import connected

    work, encoder, folder = job
    other = cluster.add_node(num_cpus=1, object_store_memory=STORE)

    begun: list[range] = []

    def watched(missing):
        for rows in missing:
            begun.append(rows)
            yield rows

    def encode(asked: Encoding, report: Report | None = None) -> Counter[str] | None:
        with connected(cluster.address) as ray:
            on = OnRay(ray, ONE, tmp_path)
            stream = ray_stream(on, ShardEncoder, asked)
            return encode_store(work, encoder, folder, lambda rest: stream(watched(rest)), report)

    with pytest.raises(BenchError, match=r"^node \w+: .*nowhere.npy"):
        encode(replace(work, pixels=tmp_path / "nowhere.npy"))
    with pytest.raises(Cut):
        begun.clear()
        encode(replace(work, encoder=encoder), cut_after(2))
    assert len(begun) <= 2 + 2 * IN_FLIGHT, "no node runs ahead of the writer"

    def kill(done: int, total: int) -> None:
        if done == 4 * SHARD:
            cluster.remove_node(other, allow_graceful=False)

    nodes = encode(work, kill)
    assert nodes is not None
    assert nodes.total() == 8, "the two shards that were there were not encoded again"
    assert len(nodes) == 2, "both nodes took part"
    assert_same_store(folder / work.name, alone(job, tmp_path / "alone"))
