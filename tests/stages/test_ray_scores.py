"""Images scored on a real Ray cluster of two nodes, and what of it needs no cluster.

pytest -m ray      needs ray, of the extra `cluster`
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing

import numpy as np
import pytest
import torch

from benchmark.core.errors import BenchError
from benchmark.core.features import TextFeatures
from benchmark.core.files import write_json
from benchmark.encoders.store import FeatureStore
from benchmark.evaluation import scoring
from benchmark.evaluation.scoring import score
from benchmark.stages import evaluate, ray_scores
from benchmark.stages.cluster import Resources
from benchmark.stages.evaluate import TILE
from benchmark.stages.ray_scores import Scoring, ShardScorer, score_shards
from benchmark.stages.ray_stream import OnRay, Shard, ray_stream
from benchmark.stages.versions import versions
from benchmark.training.loop import seeded_method
from tests.stages.ray_nodes import STORE

SHARD = 16
ONE = Resources(cpus=1, memory_gb=1)


@pytest.fixture
def work(tmp_path, monkeypatch) -> Scoring:
    """150 images of noise with 7 texts, in shards of 16; CARZero."""
    monkeypatch.setattr(ray_scores, "SHARD", SHARD)
    rng = np.random.default_rng(0)
    folder = tmp_path / "features"
    folder.mkdir()
    np.save(folder / "pooled.npy", rng.standard_normal((160, 12), dtype=np.float32))
    np.save(folder / "local.npy", rng.standard_normal((160, 4, 12), dtype=np.float32))
    write_json(folder / "store.json", {"kind": "image", "key": "noise", "grid": [2, 2]})
    torch.manual_seed(0)
    texts = TextFeatures(torch.randn(7, 10), torch.randn(7, 3, 10), torch.ones(7, 3, dtype=torch.bool))
    method = seeded_method("carzero", {"width": 8}, 12, 10, 0).eval()
    index = rng.permutation(160)[:150]
    name = scoring._key(method, FeatureStore.open(folder), texts, index, SHARD, None)
    return Scoring(name, "native", 1, versions(), method, texts, folder, "noise", index)


def scored(work: Scoring, rows: range) -> Shard:
    return ShardScorer(work).shard(rows, "this process")


def found_only(work: Scoring, shards, monkeypatch) -> np.ndarray:
    """What an evaluation reads of shards that are there; it fails where it would compute one."""
    images = FeatureStore.open(work.images)
    with monkeypatch.context() as patched:
        patched.setattr(type(work.method), "prepare_image", None)
        return score(work.method, images, work.texts, TILE, rows=work.index, shards=shards, shard=SHARD)


def test_an_evaluation_finds_the_scores_that_a_stream_made_and_it_goes_on_by_shard(
    work, tmp_path, monkeypatch
) -> None:
    images = FeatureStore.open(work.images)
    alone = score(work.method, images, work.texts, TILE, rows=work.index)

    def full(missing):
        yield from (scored(work, rows) for rows in missing[:4])
        yield Shard(missing[4].start, "node b", "node b: No space left on device", {})

    with pytest.raises(BenchError, match="node b: No space left on device"):
        score_shards(work, tmp_path / "shards", full)
    nodes = score_shards(work, tmp_path / "shards", lambda rest: (scored(work, r) for r in rest))
    assert nodes == Counter({"this process": 6}), "4 of 10 were there"
    assert found_only(work, tmp_path / "shards", monkeypatch).tobytes() == alone.tobytes()


def test_a_node_that_sees_another_folder_is_refused(work) -> None:
    write_json(work.images / "store.json", {"kind": "image", "key": "other", "grid": [2, 2]})
    with pytest.raises(BenchError, match="holds other features there"):
        ShardScorer(work).compute(range(4))


@pytest.mark.ray
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_loses_a_node_scores_as_one_process(cluster, work, tmp_path, monkeypatch) -> None:
    from benchmark.stages.ray_cluster import connected

    images = FeatureStore.open(work.images)
    alone = score(work.method, images, work.texts, TILE, rows=work.index)
    other = cluster.add_node(num_cpus=1, object_store_memory=STORE)

    def losing(missing):
        with closing(stream(missing)) as coming:
            for number, shard in enumerate(coming):
                if number == 3:
                    cluster.remove_node(other, allow_graceful=False)
                yield shard

    with connected(cluster.address) as ray:
        stream = ray_stream(OnRay(ray, ONE, tmp_path), ShardScorer, work)
        nodes = score_shards(work, tmp_path / "shards", losing)
    assert nodes.total() == 10
    assert len(nodes) == 2, "both nodes took part"
    assert found_only(work, tmp_path / "shards", monkeypatch).tobytes() == alone.tobytes()


@pytest.mark.ray
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore")
def test_a_model_evaluated_on_a_cluster_has_the_table_of_one_process(
    cluster, small_project, fresh_copy, bench, monkeypatch
) -> None:
    from tests.encoders.tiny_models import clip

    for module in (ray_scores, evaluate):
        monkeypatch.setattr(module, "SHARD", 64)
    clip(fresh_copy / "clip")
    command = ("run", "--model", "hf:clip", "--dataset", "chestxray14", "--json")
    on_ray = ("--cluster", "ray", "--address", cluster.address, "--cpus", "1", "--memory-gb", "1")
    code, found, err = bench(fresh_copy, *command, *on_ray)
    assert code == 0, err
    assert "160 images encoded; shards: 1 on node" in err
    assert "texts scored; shards: 2 on node" in err
    for folder in ("results", "runs", ".cache/features"):
        (fresh_copy / folder).rename(fresh_copy / f"{folder}-on-ray")
    code, alone, err = bench(fresh_copy, *command)
    assert (code, alone) == (0, found), err
