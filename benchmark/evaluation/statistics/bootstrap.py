"""Patient-clustered bootstrap of the ranking metrics, thousands of draws of a whole table in seconds.

A draw gives every patient a count w. All three metrics of a class need only, for each distinct score u_k
of its positives, the weight of the positives at u_k, of the negatives at u_k, and of the negatives
between u_{k-1} and u_k. These are sums of rows of the (patients × draws) count matrix over runs of
images sorted once: a segmented gather-sum, the work of an embedding bag. Counts are small integers, so
float32 sums are exact below 2²⁴ images.

Sources: Field & Welsh 2007 (cluster bootstrap); Efron 1987 (BCa; acceleration from the influences).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from benchmark.evaluation.statistics.curves import WeightedCurve
from benchmark.evaluation.statistics.distributions import norm_cdf, norm_ppf
from benchmark.evaluation.statistics.metrics import RANK_METRICS, metric_of

BLOCK = 128
"""Draws at a time: the block of counts then stays in the processor's cache."""


@dataclass(frozen=True)
class Draws:
    """values: (M, B, C) per metric, draw and class; NaN where a draw has no positive or no negative."""

    metrics: tuple[str, ...]
    values: np.ndarray

    def of(self, metric: str) -> np.ndarray:
        """(B, C)."""
        return np.asarray(self.values[self.metrics.index(metric)])

    @property
    def undefined(self) -> np.ndarray:
        """(C,) draws without positives or negatives."""
        return np.asarray(np.isnan(self.values[0]).sum(axis=0))


@dataclass(frozen=True)
class _Sorted:
    """One class: patients of its images in the order of scores, and where runs start (int32)."""

    negatives: torch.Tensor
    negative_starts: torch.Tensor
    positives: torch.Tensor
    positive_starts: torch.Tensor
    tied: bool


def draw_counts(clusters: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks (clusters, <= BLOCK) float32: how often each draw picks each patient. Same seed, same counts."""
    rng = np.random.default_rng(seed)
    for start in range(0, draws, BLOCK):
        width = min(BLOCK, draws - start)
        block = np.empty((width, clusters), dtype=np.float32)
        for row in block:
            row[:] = np.bincount(rng.integers(0, clusters, clusters), minlength=clusters)
        yield np.ascontiguousarray(block.T)


def bootstrap(
    scores: np.ndarray,
    labels: np.ndarray,
    codes: np.ndarray,
    clusters: int,
    *,
    draws: int = 2000,
    seed: int = 0,
    metrics: tuple[str, ...] = RANK_METRICS,
    step: Callable[[], None] | None = None,
) -> Draws:
    """Resample patients with replacement. scores (N, C), labels (N, C) in {1, 0, -1}, codes (N,) in 0..P-1.

    Equal seeds give equal draws of patients, so that differences between scores of the same images are
    paired. step: called after every block of draws.
    """
    columns = scores.shape[1]
    by_class, truth = np.ascontiguousarray(scores.T), np.ascontiguousarray(labels.T)
    short = np.asarray(codes, dtype=np.int32)
    prepared = [_prepare(by_class[j], truth[j], short) for j in range(columns)]
    values = np.full((len(metrics), draws, columns), np.nan)

    def fill(start: int, counts: np.ndarray) -> None:
        weights = torch.from_numpy(counts)
        for j, item in enumerate(prepared):
            if item is not None:
                values[:, start : start + counts.shape[1], j] = _weighted(item, weights, metrics)
        if step is not None:
            step()

    with _workers() as pool:
        waiting: deque[Future[None]] = deque()
        for number, counts in enumerate(draw_counts(clusters, draws, seed)):
            waiting.append(pool.submit(fill, number * BLOCK, counts))
            if len(waiting) > pool.size:
                waiting.popleft().result()
        for future in waiting:
            future.result()
    return Draws(tuple(metrics), values)


class _Pool(ThreadPoolExecutor):
    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


@contextmanager
def _workers() -> Iterator[_Pool]:
    """Threads over blocks of draws, each operation single-threaded: no barrier waits on a busy machine."""
    size = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _Pool(size) as pool:
            yield pool
    finally:
        torch.set_num_threads(size)


def _prepare(scores: np.ndarray, labels: np.ndarray, codes: np.ndarray) -> _Sorted | None:
    pos, neg = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    if len(pos) == 0 or len(neg) == 0:
        return None
    pos = pos[np.argsort(scores[pos], kind="stable")]
    neg = neg[np.argsort(scores[neg], kind="stable")]
    u, first = np.unique(scores[pos], return_index=True)
    left, right = np.searchsorted(scores[neg], u, "left"), np.searchsorted(scores[neg], u, "right")
    tied = bool((left != right).any())
    inner = np.stack([left, right], axis=1).ravel() if tied else left
    starts = np.concatenate([[0], inner])
    return _Sorted(
        torch.from_numpy(codes[neg]),
        torch.from_numpy(starts.astype(np.int32)),
        torch.from_numpy(codes[pos]),
        torch.from_numpy(first.astype(np.int32)),
        tied,
    )


def _weighted(item: _Sorted, weights: torch.Tensor, metrics: tuple[str, ...]) -> np.ndarray:
    """(M, b) metrics under each of b draws; NaN where a draw has no positive or no negative."""
    below = embedding_bag(item.negatives, weights, item.negative_starts, mode="sum").double().cumsum(0)
    at = embedding_bag(item.positives, weights, item.positive_starts, mode="sum").double()
    tp_ge = at.flip(0).cumsum(0).flip(0)
    w0, w1 = below[-1], tp_ge[0]
    low, upto = (below[0:-1:2], below[1::2]) if item.tied else (below[:-1], below[:-1])
    curve = WeightedCurve(at, tp_ge, low, upto, w1, w0)
    result = torch.stack([metric_of(name).resampled(curve) for name in metrics])
    result[:, (w0 == 0) | (w1 == 0)] = torch.nan
    return result.numpy()


def point(scores: np.ndarray, labels: np.ndarray, metrics: tuple[str, ...]) -> np.ndarray:
    """(M, C) metrics of the sample itself: the same kernel with every image counted once."""
    n = len(scores)
    ones = torch.ones((n, 1))
    columns = []
    for j in range(scores.shape[1]):
        item = _prepare(np.ascontiguousarray(scores[:, j]), labels[:, j], np.arange(n, dtype=np.int32))
        columns.append(
            np.full(len(metrics), np.nan) if item is None else _weighted(item, ones, metrics)[:, 0]
        )
    return np.stack(columns, axis=1)


def percentile_interval(draws: np.ndarray, level: float) -> tuple[float, float]:
    """Limits from draws (B,); undefined draws are left out. NaN where fewer than half are defined."""
    kept = draws[~np.isnan(draws)]
    if 2 * len(kept) < len(draws):
        return np.nan, np.nan
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bca_interval(draws: np.ndarray, value: float, influence: np.ndarray, level: float) -> tuple[float, float]:
    """Bias-corrected and accelerated limits. draws (B,), influence (P,) of the same quantity.

    NaN where all defined draws lie on one side of the value.
    """
    kept = draws[~np.isnan(draws)]
    square = float(np.square(influence).sum())
    if 2 * len(kept) < len(draws) or square <= 0:
        return np.nan, np.nan
    share = (np.count_nonzero(kept < value) + 0.5 * np.count_nonzero(kept == value)) / len(kept)
    if not 0 < share < 1:
        return np.nan, np.nan
    bias = norm_ppf(share)
    acceleration = float((influence**3).sum()) / (6 * square**1.5)
    ends = bias + norm_ppf([(1 - level) / 2, (1 + level) / 2])
    with np.errstate(divide="ignore"):
        low, high = np.quantile(kept, norm_cdf(bias + ends / (1 - acceleration * ends)))
    return float(low), float(high)
