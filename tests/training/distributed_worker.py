"""One process of a distributed test; the environment says which (as torchrun sets it)."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from training_cases import IMAGE_DIM, TEXT_DIM, make_data

from benchmark.core.settings import TrainConfig, train_config
from benchmark.evaluation.scoring import score
from benchmark.training.data import epoch_batches
from benchmark.training.distributed import Group, RankLost, process_group, tile_bounds
from benchmark.training.finished import load_method
from benchmark.training.loop import seeded_method, train
from benchmark.training.step import Step
from methods.base import METHODS, Method

CONFIG = {
    "epochs": 2, "batch_size": 11, "checkpoint_seconds": 0.0,
    "optimiser": "sgd", "learning_rate": 0.05, "momentum": 0.9, "clip_norm": 1.0,
}  # fmt: skip
"""SGD, since Adam turns the rounding of a gradient that is zero in exact arithmetic into full steps."""


def method_of(name: str) -> Method:
    # The default spread and head of so narrow a CARZero start with dead units, whose gradients are zero.
    live = {"init_std": 0.3, "head_widths": (16, 8)} if name == "carzero" else {}
    return seeded_method(name, {"width": 8, **live}, IMAGE_DIM, TEXT_DIM, 0)


def config_of(**changes: object) -> TrainConfig:
    return train_config({**CONFIG, **changes})


def has_dropout(method: Method) -> bool:
    return any(isinstance(part, torch.nn.Dropout) and part.p > 0 for part in method.modules())


def one_step(name: str, group: Group) -> dict[str, torch.Tensor]:
    """Loss and averaged gradients of one joint batch of 11 images: uneven over two processes."""
    data, method = make_data(), method_of(name)
    batch = epoch_batches(data, 0, 0, 11, method.trains_on)[0]
    tile = None if has_dropout(method) else [3, 4]  # tiles draw their own dropout
    torch.manual_seed(7)
    loss = Step(method, data, config_of(tile=tile), torch.device("cpu"), group).backward(batch)
    group.average_gradients(method.parameters())
    return {
        "loss": loss.total.detach(),
        **{k: p.grad for k, p in method.named_parameters() if p.grad is not None},
    }


class Suicide:
    """Kills this process without a word, as an out-of-memory killer would."""

    def __init__(self, at: int) -> None:
        self.at = at

    def step(self, done: int, total: int) -> None:
        if done == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def epoch(self, row: dict[str, float]) -> None:
        pass


def main(task: str, folder: Path) -> int:
    torch.set_num_threads(1)
    try:
        with process_group("gloo", timeout_seconds=60) as group:
            if task == "equal":
                for name in METHODS.names():
                    found = one_step(name, group)
                    if group.first:
                        torch.save(found, folder / f"{name}.pt")
                    train(method_of(name), make_data(), config_of(), folder / name, 0, group=group)
                    group.barrier()
                method, data = load_method(folder / "carzero"), make_data()
                text = data.text.get(slice(None))
                bounds = tile_bounds(len(data.images), 4, group)
                mine = np.arange(bounds[group.rank], bounds[group.rank + 1])
                part = score(method, data.images, text, rows=mine, shards=folder / "shards", shard=3)
                whole = group.join_rows(part, bounds)
                if group.first:
                    np.save(folder / "scores.npy", whole)
            else:
                observer = Suicide(5) if group.rank == 0 else None
                train(
                    method_of("clip"),
                    make_data(),
                    config_of(),
                    folder / "clip",
                    0,
                    group=group,
                    observer=observer,
                )
    except RankLost as lost:
        sys.stderr.write(f"{lost}\n")
        return lost.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
