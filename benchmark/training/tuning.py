"""Stratified search under one budget for all methods; the choice is made on held-out patients only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from pydantic import BaseModel, Field
from scipy.stats.qmc import LatinHypercube

from benchmark.core.errors import BenchError
from benchmark.core.files import write_text
from benchmark.core.hashing import derive_seed
from benchmark.core.settings import MethodConfig, TrainConfig, set_fields, train_config
from benchmark.training.convergence import FLAT
from benchmark.training.data import TrainingData
from benchmark.training.distributed import Group, local_device
from benchmark.training.finished import load_method
from benchmark.training.loop import Diverged, seeded_method, train
from benchmark.training.validation import HeldOut
from methods.base import EQUAL_BUDGET, METHODS, Recipe, configure

Drawn = float | str
"""A value that a trial draws for one setting: a number, or one of the names of a choice."""
CRITERION = "macro AUROC of held-out sentences (benchmark.training.validation)"


class Range(BaseModel, frozen=True, extra="forbid"):
    """Where one hyper-parameter is drawn from: log-uniform or uniform in [low, high], or one of `values`."""

    kind: Literal["log", "uniform", "choice"]
    low: float | None = None
    high: float | None = None
    values: tuple[Drawn, ...] = Field(default=())

    def at(self, quantile: float) -> Drawn:
        """The value below which a share `quantile` in [0, 1) of the range lies."""
        if self.kind == "choice":
            return self.values[int(quantile * len(self.values))]
        assert self.low is not None
        assert self.high is not None
        if self.kind == "log":
            low, high = math.log(self.low), math.log(self.high)
            return float(f"{math.exp(low + quantile * (high - low)):.3g}")
        return float(f"{self.low + quantile * (self.high - self.low):.3g}")


SPACE: dict[str, Range] = {
    "training.learning_rate": Range(kind="log", low=2e-4, high=3e-2),
    "training.weight_decay": Range(kind="choice", values=(0.0, 0.01, 0.1)),
    "options.normalise_inputs": Range(kind="choice", values=("none", "layer", "standard")),
}
"""The same for every method, so that no method gets more freedom than another. Keys: `training.<field>`
of the recipe, `options.<field>` of the method. The width is not searched: it is one for all, set by cost."""


REPEATED, REPEATS = 3, 2
"""Best trials that are trained again, and with how many further seeds, so that noise does not choose."""

EQUAL = FLAT
"""Repeated trials that lie less below the best one are its equals, as a gain below it counts as none
where convergence is told. Of equals the lowest learning rate is chosen: trainings part from rounding the
sooner the higher their rate (docs/reproducibility.md)."""


@dataclass(frozen=True)
class Trial:
    """One draw and what it gave. repeats: scores of further seeds. A score is None where training diverged.

    sealed: evaluation set → macro AUROC of each seed in the order of `scores`, None where it is undefined. It
    is measured after the choice and takes no part in it, and shows how well the criterion tracks what it
    stands for.
    """

    number: int
    values: dict[str, Drawn]
    score: float | None
    val_loss: float | None
    seconds: float
    repeats: tuple[float | None, ...] = ()
    sealed: dict[str, tuple[float | None, ...]] = field(default_factory=dict)

    @property
    def scores(self) -> tuple[float | None, ...]:
        """Of all its seeds, the first one first."""
        return (self.score, *self.repeats)

    @property
    def mean(self) -> float:
        """Of the scores of all its seeds; one that diverged counts as 0, below every AUROC that is learnt."""
        return float(np.mean([score or 0.0 for score in self.scores]))


@dataclass(frozen=True)
class Tuning:
    """method, space, seed and all trials; `chosen` is the calmest of the best repeated trials (EQUAL).

    fixed: the options and training settings that all trials share. in_use: the scores of the trained main
    cell, a seed each, for comparison with the chosen trial. origins: dataset that
    was trained or evaluated on → whether it was its twin.
    """

    method: str
    seed: int
    fixed: dict[str, object]
    space: dict[str, Range]
    trials: tuple[Trial, ...]
    chosen: Trial
    groups: int
    train_images: int
    val_images: int
    in_use: tuple[float, ...] = ()
    origins: dict[str, str] = field(default_factory=dict)

    def sealed(self, values: Callable[[int, int], dict[str, float | None]]) -> Tuning:
        """The same search with the sealed values of every training that finished; the choice stays.

        values(number, repeat) → evaluation set → value of that training.
        """

        def of(trial: Trial) -> Trial:
            found = [None if s is None else values(trial.number, n) for n, s in enumerate(trial.scores)]
            names = dict.fromkeys(name for own in found if own is not None for name in own)
            return replace(
                trial, sealed={n: tuple(None if own is None else own[n] for own in found) for n in names}
            )

        trials = tuple(of(trial) for trial in self.trials)
        return replace(self, trials=trials, chosen=trials[self.chosen.number])

    def beside(self, scores: Sequence[float], origins: Mapping[str, str]) -> Tuning:
        """The same search beside the scores of the trained main cell, and where its data are from."""
        return replace(self, in_use=tuple(round(s, 6) for s in scores), origins=dict(origins))

    def write(self, folder: Path | str) -> Path:
        """reports/tuning/<method>.yaml: space, trials and choice."""
        path = Path(folder) / f"{self.method}.yaml"
        content = {
            "method": self.method,
            "criterion": CRITERION,
            "sentence_groups": self.groups,
            "train_images": self.train_images,
            "val_images": self.val_images,
            "origins": self.origins,
            "seed": self.seed,
            "fixed": self.fixed,
            "space": {
                name: item.model_dump(mode="json", exclude_defaults=True) for name, item in self.space.items()
            },
            "trials": [_plain(trial) for trial in self.trials],
            "chosen": self.chosen.number,
            "in_use": list(self.in_use),
            "options": self.values("options"),
            "training": self.values("training"),
        }
        write_text(path, yaml.safe_dump(content, sort_keys=False, width=100))
        return path

    def values(self, part: Literal["options", "training"]) -> dict[str, Drawn]:
        """The chosen values of one part."""
        return _part(self.chosen.values, part)


def trial_folder(folder: Path | str, number: int, repeat: int = 0) -> Path:
    """Where a trial's training lies. repeat: which of its further seeds, 0 for the first one."""
    return Path(folder) / (f"trial-{number}-repeat-{repeat}" if repeat else f"trial-{number}")


def draws(space: Mapping[str, Range], seed: int, trials: int) -> list[dict[str, Drawn]]:
    """Values of each trial; the first draws nothing: it is the recipe and the method as they are.

    The others are a Latin hypercube (scipy.stats.qmc): every range is cut into as many parts as there are
    trials and each part is tried once, so that few trials do not confound a rate with a choice.
    """
    names = sorted(space)
    rng = np.random.default_rng(derive_seed(seed, "tuning"))
    sampler = LatinHypercube(len(names), optimization="random-cd", rng=rng)
    points = sampler.random(max(trials - 1, 0))
    return [{}, *({n: space[n].at(float(q)) for n, q in zip(names, p, strict=True)} for p in points)]


def tune(
    method: str,
    data: TrainingData,
    folder: Path | str,
    *,
    trials: int,
    seed: int = 0,
    space: Mapping[str, Range] = SPACE,
    recipe: Recipe = EQUAL_BUDGET,
    options: MethodConfig = MethodConfig(),
    training: TrainConfig = TrainConfig(),
    report: Callable[[int, int], None] | None = None,
) -> Tuning:
    """Train `trials` draws of one method in `folder`/trial-<n> and choose by `HeldOut.match`.

    The best REPEATED are trained again with further seeds; of those whose mean is EQUAL to the highest the
    one with the lowest learning rate is chosen. Trials use seeds of their own, so that no reported seed has
    seen its own selection. What is finished is reused. Raises BenchError where every trial diverged.
    """
    METHODS.get(method)
    own, shared = set_fields(options), set_fields(training)
    held_out = HeldOut(data)

    def config_of(values: Mapping[str, Drawn]) -> TrainConfig:
        return train_config({**shared, **_part(values, "training")}, recipe)

    def rate(trial: Trial) -> float:
        return config_of(trial.values).learning_rate

    def run(number: int, values: Mapping[str, Drawn], repeat: int) -> Trial:
        config = config_of(values)
        chosen = configure(method, {**own, **_part(values, "options")})
        label = ("tuning run", repeat) if repeat else ("tuning run",)
        own_seed = derive_seed(seed, *label) % 2**31
        place = trial_folder(folder, number, repeat)
        start = seeded_method(method, chosen, data.images.width, data.text.width, own_seed)
        try:
            result = train(start, data, config, place, own_seed)
        except Diverged:
            return Trial(number, dict(values), None, None, 0.0)
        found = held_out.match(load_method(place), device=local_device(config.device, Group()))
        return Trial(number, dict(values), round(found.auroc, 6), result.val_loss, round(result.seconds, 1))

    done: list[Trial] = []
    total = trials + min(REPEATED, trials) * REPEATS
    for number, values in enumerate(draws(space, seed, trials)):
        done.append(run(number, values, 0))
        if report is not None:
            report(number + 1, total)
    finished = [trial for trial in done if trial.score is not None]
    if not finished:
        raise BenchError(f"{method}: all {trials} tuning trials diverged; lower the learning rates searched.")
    finished.sort(key=lambda trial: (-(trial.score or 0.0), trial.number))
    again = []
    for place, trial in enumerate(finished[:REPEATED]):
        repeats = [run(trial.number, trial.values, n).score for n in range(1, REPEATS + 1)]
        again.append(replace(trial, repeats=tuple(repeats)))
        done[trial.number] = again[-1]
        if report is not None:
            report(trials + (place + 1) * REPEATS, total)
    highest = max(trial.mean for trial in again)
    equals = [trial for trial in again if trial.mean > highest - EQUAL]
    best = min(equals, key=lambda trial: (rate(trial), -trial.mean))
    groups = len(set(held_out.groups.tolist()))
    fixed = {f"options.{k}": v for k, v in own.items()} | {f"training.{k}": v for k, v in shared.items()}
    return Tuning(method, seed, fixed, dict(space), tuple(done), best, groups, len(data.train), len(data.val))


def _part(values: Mapping[str, Drawn], part: str) -> dict[str, Drawn]:
    return {k.removeprefix(f"{part}."): v for k, v in values.items() if k.startswith(f"{part}.")}


def _plain(trial: Trial) -> dict[str, object]:
    sealed = {name: list(values) for name, values in trial.sealed.items()}
    return {**asdict(trial), "repeats": list(trial.repeats), "sealed": sealed}
