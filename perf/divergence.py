"""Two trainings that differ in their last bit, compared after the same steps; what may keep them together."""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.core.hashing import hash_value
from benchmark.grid.params import Cell
from perf.rounding import moved_data

if TYPE_CHECKING:
    from benchmark.training.data import TrainingData
    from benchmark.training.validation import HeldOut
    from methods.base import Method

Arrays = Mapping[str, np.ndarray]
Scores = Callable[["Method"], np.ndarray]

PLAIN = "as configured"
SCORED = (0.1, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0)
EPOCHS = tuple(sorted({*SCORED, 0.01, 0.25, 0.5, 1.5, 3.0, 5.0, 7.0, 10.0, 14.0}))
"""After so many epochs weights are compared, and after SCORED the scores of held-out sentences too."""
MOVED = ("stored", "float32", "float16", "weights")
"""What run 1 has in another last bit: its features, in the type that each is stored in or rounded to one type
for all; or its initial weights."""


@dataclass(frozen=True)
class Means:
    """What is changed of a cell.

    training, options: fields with their new values; times: fields of training that are multiplied. double:
    weights and arithmetic in float64. smooth: GELU wherever a method has a ReLU.
    """

    training: Mapping[str, Any] = field(default_factory=dict)
    times: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    double: bool = False
    smooth: bool = False

    def of(self, cell: Cell) -> Cell:
        """The cell under these means. Raises ValidationError where its method has no such option."""
        times = {name: getattr(cell.training, name) * factor for name, factor in self.times.items()}
        training = type(cell.training).model_validate(
            {**cell.training.model_dump(), **self.training, **times}
        )
        options = type(cell.options).model_validate({**cell.options.model_dump(), **self.options})
        return cell.model_copy(update={"training": training, "options": options})

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, methods compute what `smooth` says, in training and in evaluation."""
        from torch import nn
        from torch.nn import functional

        before = functional.relu, nn.ReLU.forward
        if self.smooth:
            functional.relu = lambda x, inplace=False: functional.gelu(x)  # type: ignore[assignment]
            nn.ReLU.forward = lambda own, x: functional.gelu(x)  # type: ignore[method-assign,assignment]
        try:
            yield
        finally:
            functional.relu, nn.ReLU.forward = before  # type: ignore[method-assign]


MEANS = {
    PLAIN: Means(),
    "rate / 2": Means(times={"learning_rate": 1 / 2}),
    "rate / 4": Means(times={"learning_rate": 1 / 4}),
    "warm-up x 4": Means(times={"warmup_fraction": 4}),
    "clip at 0.1": Means({"clip_norm": 0.1}),
    "no clipping": Means({"clip_norm": None}),
    "eps 1e-6": Means({"eps": 1e-6}),
    "eps 1e-4": Means({"eps": 1e-4}),
    "betas 0.9, 0.98": Means({"betas": (0.9, 0.98)}),
    "SGD": Means({"optimiser": "sgd", "momentum": 0.9, "learning_rate": 0.1}),
    "batch of 128": Means({"batch_size": 128}),
    "averaged over 0.1": Means({"average": 0.1}),
    "no dropout": Means(options={"dropout": 0.0}),
    "one layer": Means(options={"layers": 1}),
    "linear head": Means(options={"head": "linear"}),
    "larger initial weights": Means(options={"init_std": 0.2}),
    "float64": Means(double=True),
    "GELU for ReLU": Means(smooth=True),
    "GELU for ReLU, rate / 2": Means(times={"learning_rate": 1 / 2}, smooth=True),
    "GELU for ReLU, rate / 4": Means(times={"learning_rate": 1 / 4}, smooth=True),
}
"""Name → means; some name options that only CARZero has."""


class Stopped(Exception):
    """A training went as far as it is compared."""


@dataclass(frozen=True)
class Snapshot:
    """Trained weights in float64 after so many steps, and held-out scores (V, T) where they are compared."""

    epoch: float
    step: int
    weights: Arrays
    scores: np.ndarray | None


def trained(method: Method) -> dict[str, np.ndarray]:
    """The weights that train, in float64: no statistics of inputs."""
    return {name: p.detach().numpy().astype(np.float64) for name, p in method.named_parameters()}


class Follower:
    """An observer of a training that takes snapshots and raises Stopped after `last` of its `epochs`."""

    def __init__(self, method: Method, epochs: int, last: float, scores: Scores) -> None:
        self.method, self.epochs, self.last, self.scores = method, epochs, last, scores
        self.kept: list[Snapshot] = []

    def step(self, done: int, total: int) -> None:
        at = {max(1, round(e * total / self.epochs)): e for e in EPOCHS if e <= self.last}
        if done in at:
            scores = self.scores(self.method) if at[done] in SCORED else None
            self.kept.append(Snapshot(at[done], done, trained(self.method), scores))
        if done >= max(at):
            raise Stopped

    def epoch(self, row: dict[str, float]) -> None:
        """Nothing: a look would come after the last step that is compared."""


def in_type(data: TrainingData, dtype: type[np.floating[Any]]) -> TrainingData:
    """Every feature rounded to this type."""
    from benchmark.encoders.store import FeatureStore, TextStore

    images, text, name = data.images, data.text, np.dtype(dtype).name
    if not isinstance(images, FeatureStore) or not isinstance(text, TextStore):
        raise SystemExit("encoders are fine-tuned here: there are no features to round.")
    pooled, local, key = (
        images.pooled.astype(dtype),
        images.local.astype(dtype),
        hash_value([images.key, name]),
    )
    images = replace(images, pooled=pooled, local=local, key=key)
    pooled, tokens, key = text.pooled.astype(dtype), text.tokens.astype(dtype), hash_value([text.key, name])
    return replace(data, images=images, text=replace(text, pooled=pooled, tokens=tokens, key=key))


def move_weights(method: Method, seed: int) -> None:
    """Every weight that trains becomes its upper or lower neighbour in its own type, by chance."""
    import torch

    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in method.parameters():
            up = torch.rand(p.shape, generator=drawn) < 0.5
            p.copy_(torch.nextafter(p, torch.where(up, torch.inf, -torch.inf).to(p.dtype)))


def follow(data: TrainingData, cell: Cell, means: Means, seed: int, last: float, held: HeldOut,
           moved: int) -> list[Snapshot]:  # fmt: skip
    """Train a cell, as `means` made it, for its first `last` epochs. moved: seed of the move of its initial
    weights, 0 for none."""
    from benchmark.evaluation.scoring import score
    from benchmark.stages.train import untrained
    from benchmark.training.loop import train

    method = untrained(cell, seed, data)
    if means.double:
        method.double()
    if moved:
        move_weights(method, moved)

    def scores(own: Method) -> np.ndarray:
        return score(copy.deepcopy(own).float(), held.images, held.texts, rows=held.held)

    # No look and no saved state before the training is stopped; neither changes a step.
    training = cell.training.model_copy(update={"looks": 1, "checkpoint_seconds": 1e9, "device": "cpu"})
    watch = Follower(method, training.epochs or 1, last, scores)
    with tempfile.TemporaryDirectory() as folder, means.in_place(), contextlib.suppress(Stopped):
        train(method, data, training, folder, seed, observer=watch)
    return watch.kept


def curve(data: TrainingData, cell: Cell, means: Means, moved: str, run: int, seed: int, last: float,
          work: Path) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of epoch, step, measured and value: run 0 and a run that is moved, of the cell under the means.

    Held-out scores are of the features that were not moved. work: folder for the moved ones, meanwhile.
    """
    from benchmark.training.loop import PER_GROUP
    from benchmark.training.validation import HeldOut

    own = means.of(cell)
    if moved in ("float32", "float16"):
        data = in_type(data, getattr(np, moved))
    held = HeldOut(data, per_group=PER_GROUP)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        given = data if moved == "weights" else moved_data(data, run, Path(folder))
        kept = [
            follow(one, own, means, seed, last, held, number if moved == "weights" else 0)
            for number, one in ((0, data), (run, given))
        ]
    return compared(kept[0], kept[1], held)


def distance(one: Arrays, other: Arrays) -> float:
    """Euclidean, over all arrays, as a share of the norm of the first."""
    square = sum(float(np.square(one[k] - other[k]).sum()) for k in one)
    return float(np.sqrt(square / sum(float(np.square(v).sum()) for v in one.values())))


def score_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Of scores (V, T), each text's mean taken off, as a share of the norm of the first: only differences of
    images under one text decide its AUROC."""
    a, b = (s.astype(np.float64) - s.mean(0, dtype=np.float64) for s in (one, other))
    return distance({"": a}, {"": b})


def compared(one: Sequence[Snapshot], other: Sequence[Snapshot], held: HeldOut) -> list[dict[str, Any]]:
    from benchmark.training.validation import match

    rows = []
    for a, b in zip(one, other, strict=True):
        values = {"weights": distance(a.weights, b.weights)}
        if a.scores is not None and b.scores is not None:
            values["scores"] = score_distance(a.scores, b.scores)
            for name, scores in (("auroc", a.scores), ("auroc moved", b.scores)):
                values[name] = match(scores, held.labels, held.groups, least=held.least).auroc
        rows += [{"epoch": a.epoch, "step": a.step, "measured": k, "value": v} for k, v in values.items()]
    return rows


def steepest(steps: Sequence[int], values: Sequence[float], least: int = 25) -> float:
    """Largest growth of the logarithm of a distance per 100 steps, between neighbours at least so many steps
    apart; NaN where there are none or all are zero."""
    log = [np.log(v) if v > 0 else float("nan") for v in values]
    slopes = [
        100 * (log[k + 1] - log[k]) / (steps[k + 1] - steps[k])
        for k in range(len(steps) - 1)
        if steps[k + 1] - steps[k] >= least
    ]
    finite = [s for s in slopes if np.isfinite(s)]
    return max(finite) if finite else float("nan")
