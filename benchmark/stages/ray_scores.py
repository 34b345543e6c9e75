"""Images scored on a Ray cluster: shards of scores stream to this process, which evaluates them.

An evaluation keeps the scores of every shard in a file of its own until it is done
(`evaluation.scoring.score`). Here the cluster computes the shards that are missing, this process writes them,
and the evaluation finds them: it goes on where it was, whoever computed what.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.errors import BenchError
from benchmark.core.features import TextFeatures
from benchmark.core.files import atomic_path
from benchmark.core.progress import watched
from benchmark.core.tasks import CLASSIFICATION, TaskContext
from benchmark.encoders.store import FeatureStore
from benchmark.evaluation.scoring import _key, score
from benchmark.grid.params import Cell
from benchmark.stages.evaluate import SHARD, TILE, evaluation
from benchmark.stages.features import device
from benchmark.stages.ray_features import encode_set
from benchmark.stages.ray_stream import (
    OnRay,
    ShardWorker,
    Stream,
    Work,
    nodes_text,
    ranges,
    ray_stream,
    taken,
)
from benchmark.stages.run import Session
from benchmark.stages.run_record import WeightsRecord
from benchmark.stages.versions import versions

if TYPE_CHECKING:
    from methods.base import Method


@dataclass(frozen=True)
class Scoring(Work):
    """Images of one set to score. name: key of the scores. images: folder of the features, of this key.
    index: (N,) rows of them."""

    method: Method
    texts: TextFeatures
    images: Path
    images_key: str
    index: np.ndarray


def score_ahead(
    on: OnRay, session: Session, cell: Cell, dataset: str, run: WeightsRecord, method: Method
) -> None:
    """Encode a set with the encoders of a session and score it against the prompts of its classes on the
    cluster, before `evaluate_task` evaluates it here. Scores nothing where that is done, or where one shard
    holds the set. Raises BenchError as `encode_set`."""
    assert session.encoders is not None
    manifest, encoder = session.manifest(dataset), session.encoders[0]
    encode_set(on, session.project, session.params, manifest, session.say, encoder)
    todo = evaluation(session, CLASSIFICATION, cell, 0, dataset, run)
    if todo.on_disk() is not None:
        return
    method = method.to(device()).eval()
    for number, texts in enumerate(todo.prompts):
        given = TaskContext(
            session.params.statistics, todo.settings, partial(_score, on, session, todo.shards), device(),
            helper=True, own_prompts=number == 0,
        )  # fmt: skip
        todo.task.evaluate(method, todo.data, texts, given)


def _score(
    on: OnRay, session: Session, shards: Path, method: Method, images: FeatureStore, rows: np.ndarray,
    texts: TextFeatures,
) -> np.ndarray:  # fmt: skip
    place = session.project.cache / "features" / images.key
    index = np.asarray(rows, dtype=np.int64)
    name = _key(method, images, texts, index, SHARD, None)
    work = Scoring(
        name, session.params.numerics, on.resources.cpus, versions(), method, texts, place, images.key, index
    )
    stream = ray_stream(on, ShardScorer, work)
    nodes = score_shards(work, shards, stream)
    if nodes:
        session.say(f"{len(rows):,} images × {len(texts):,} texts scored; shards: {nodes_text(nodes)}")
    return score(method, images, texts, TILE, rows=rows, shards=shards, shard=SHARD, device=device())


def score_shards(work: Scoring, shards: Path, stream: Stream) -> Counter[str]:
    """Write the shards that `scoring.score` would find missing in `shards`: node → shards.

    Raises BenchError with what a shard said.
    """
    nodes, total = Counter[str](), len(work.index)
    if total <= SHARD:
        return nodes
    folder = shards / work.name[:16]
    every = ranges(total, SHARD)
    missing = [rows for rows in every if not _file(folder, rows.start).is_file()]
    with closing(stream(missing)) as coming, watched("score") as report:
        for shard in coming:
            with atomic_path(_file(folder, taken(shard).first)) as target:
                np.save(target, shard.arrays["scores"])
            nodes[shard.node] += 1
            report(len(every) - len(missing) + nodes.total(), len(every))
    return nodes


def _file(folder: Path, first: int) -> Path:
    """Where `scoring.score` looks for the scores of the images from `first`."""
    return folder / f"{first:09d}.npy"


class ShardScorer(ShardWorker):
    """Scores: scores (n, T) float32."""

    arrays = ("scores",)

    def __init__(self, work: Scoring) -> None:
        super().__init__(work)
        self.asked = work
        self.images: FeatureStore | None = None

    def compute(self, rows: range) -> tuple[np.ndarray, ...]:
        """Raises BenchError where this node has other versions, or does not see the features."""
        work = self.asked
        if self.images is None:
            self.check()
            self.images = FeatureStore.open(work.images)
            if self.images.key != work.images_key:
                raise BenchError(f"{work.images} holds other features there. Give all nodes the same folder.")
        own = work.index[rows.start : rows.stop]
        return (score(work.method, self.images, work.texts, TILE, rows=own, device=device()),)
