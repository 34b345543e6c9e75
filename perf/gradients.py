"""Gradients over two processes: the suite's own mean beside torch's DDP and FSDP2, in one run.

    python perf/gradients.py [--steps 6] [--batch 23] [--width 32] [--methods clip carzero …]

Two gloo processes on this machine, one thread each, train a small model of each method on the joint loss of
the same batches, whose rows they share unevenly. Five ways to reduce gradients take each step in turn:

    own     `Group.average_gradients`: one bucket after the whole backward pass
    hooks   DDP around a module whose forward is the joint loss, gathers and all; its hooks send buckets
            while the backward pass runs. It ends with an error where a parameter has no part in the loss
            (none has). Buffers are not broadcast, as no step changes them
    prepare the same by `Accelerator.prepare` of accelerate, model and optimiser. Its FSDP2 is for GPUs: of
            processes on processors it makes DDP, whatever its plugin says
    end     DDP without its hooks until the backward pass is over, then one pass of it over 0 · parameters,
            which sends what was accumulated
    shards  FSDP2 (`fully_shard`) around the same module as DDP: each rank keeps its part of every weight,
            gathers the others before the forward pass, and its hooks reduce gradients to the parts.
            It takes no scalar parameter; the temperature is left to the own mean

Printed of each: the largest difference of a weight from that of one process at the joint batch, and between
the two ranks, both as parts of the largest change of a weight in training; KiB that a rank hands to the
reductions of a step (of FSDP2 to gather the weights too, by their sizes); milliseconds of a step by the
clock, and the median ratio to `own` of the same step.
`tiled` computes pairs in tiles and again in the backward pass, without dropout, which draws per tile.
`encoder` trains the embedded image encoder (CLIP, at most 4 steps): in double precision, as single precision
rounds by 4e-4 in its fifty layers, and in `chunks`, whose forward passes are repeated (gradient caching).
SGD, since Adam turns the rounding of a zero into steps. Where FSDP2 cannot train a case it says why. Exit 1
where `own` is off by more than a thousandth, or its ranks differ.
"""

from __future__ import annotations

import copy
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from benchmark.core.settings import train_config
from benchmark.encoders.factory import image_encoder
from benchmark.encoders.store import FeatureStore
from benchmark.training.data import Batch, TrainingData, epoch_batches
from benchmark.training.distributed import Group
from benchmark.training.live import PixelStore
from benchmark.training.loop import seeded_method
from benchmark.training.provenance import device_name
from benchmark.training.step import Step
from methods.base import METHODS, Losses
from perf.options import described
from perf.shared import examples, noise_store

WAYS = ("own", "hooks", "prepare", "end", "shards")
CLOSE = 1e-3
"""Of the largest change of a weight: the rounding of float32 in a network of fifty layers."""


class Joint(nn.Module):
    """What DDP wraps: the joint loss of a step as the forward pass of one module."""

    def __init__(self, step: ThroughDDP | Step) -> None:
        super().__init__()
        self.parts = nn.ModuleList(modules_of(step))
        self.losses: Callable[..., Losses] = lambda *given: Step.losses(step, *given)

    def forward(self, *given: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of (batch, image, text); of nothing a zero that every parameter takes part in."""
        if not given:
            return sum((0 * p.sum() for p in self.parameters() if p.requires_grad), torch.zeros(())), {}
        found = self.losses(*given)
        return found.total, found.parts


class ThroughDDP(Step):
    """A step whose losses are the forward pass of DDP, or of FSDP2."""

    ddp: nn.Module

    def losses(self, batch: Batch, image: Any, text: Any) -> Losses:
        return Losses(*self.ddp(batch, image, text))


def modules_of(step: Step) -> list[nn.Module]:
    return [step.method, *([step.data.images.encoder] if isinstance(step.data.images, PixelStore) else [])]


class Way:
    """One copy of the model, its optimiser and how its gradients are reduced."""

    def __init__(self, way: str, name: str, data: TrainingData, group: Group, chosen: Any, case: Any) -> None:
        if isinstance(data.images, PixelStore):
            data = replace(data, images=replace(data.images, encoder=copy.deepcopy(data.images.encoder)))
        text, images = data.text.width, data.images.width
        method = seeded_method(name, {"width": chosen.width}, images, text, 0).train()
        changed = {"encoder_chunk": case.get("chunk"), "tile": case.get("tile")}
        if case.get("double"):
            assert isinstance(data.images, PixelStore)
            data.images.encoder.double()
            method.double()
        config = train_config({"batch_size": chosen.batch, "optimiser": "sgd", **changed})
        if case.get("tile"):
            for part in method.modules():
                if isinstance(part, nn.Dropout):
                    part.p = 0.0
        kind = ThroughDDP if way in ("hooks", "prepare", "shards") else Step
        self.way, self.group, self.bytes, self.refused = way, group, 0, ""
        self.step = kind(method, data, config, torch.device("cpu"), group)
        self.modules = modules_of(self.step)
        if way == "shards":
            self._shard()
        self.parameters = [p for part in self.modules for p in part.parameters() if p.requires_grad]
        self.optimiser = torch.optim.SGD(
            self.parameters, lr=0.001 if case.get("live") else 0.02, momentum=0.9
        )
        self.before = self.weights()
        if way in ("hooks", "prepare", "end"):
            self._wrap()

    def _shard(self) -> None:
        for module in self.modules:  # FSDP2 refuses channels-last weights
            module.to(memory_format=torch.contiguous_format)
        joint, mesh = Joint(self.step), init_device_mesh("cpu", (self.group.size,))
        scalars = {p for p in joint.parameters() if p.ndim == 0}
        fully_shard(joint, mesh=mesh, ignored_params=scalars)
        if isinstance(self.step, ThroughDDP):
            self.step.ddp = joint

    def _wrap(self) -> None:
        joint = Joint(self.step)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer versions of torch have another word for the buffers
            if self.way == "prepare":
                ours = DistributedDataParallelKwargs(broadcast_buffers=False)
                by = Accelerator(cpu=True, kwargs_handlers=[ours])
                self.ddp, self.optimiser = by.prepare(joint, self.optimiser)
            else:
                self.ddp = DistributedDataParallel(joint, broadcast_buffers=False)
        self.ddp.register_comm_hook(None, self._sent)
        if isinstance(self.step, ThroughDDP):
            self.step.ddp = self.ddp

    def _sent(self, _, bucket):  # type: ignore[no-untyped-def]  # DDP takes no annotation that is a string
        self.bytes += bucket.buffer().nbytes
        group = dist.group.WORLD
        assert group is not None
        return allreduce_hook(group, bucket)

    def take(self, batch: Batch, seed: int) -> float:
        """One step; its seconds by the clock. Nothing more is done where an earlier one was refused."""
        if self.refused:
            return float("nan")
        self.bytes = 0
        self.group.barrier()
        began = time.perf_counter()
        torch.manual_seed(seed if self.step.draws_jointly else seed + 1000 * self.group.rank)
        self.optimiser.zero_grad(set_to_none=True)
        try:
            self.step.backward(batch)
        except (RuntimeError, AssertionError) as error:
            if self.way != "shards":
                raise
            self.refused = str(error).splitlines()[0][:90]
            return float("nan")
        if self.way == "shards":
            self.group.average_gradients([p for p in self.parameters if not isinstance(p, DTensor)])
            parts = [p.to_local() for p in self.parameters if isinstance(p, DTensor)]
            self.bytes = sum(p.nbytes for p in self.parameters) + sum(p.nbytes for p in parts)
        elif self.way == "own":
            self.bytes = sum(p.nbytes for p in self.parameters)
            self.group.average_gradients(self.parameters)
        elif self.way == "end":
            self.ddp()[0].backward()
        self.optimiser.step()
        self.group.barrier()
        return time.perf_counter() - began

    def weights(self) -> Tensor:
        """Of all parameters, those of FSDP2 put together from the parts of both ranks."""
        whole = [p.full_tensor() if isinstance(p, DTensor) else p for p in self.parameters]
        return torch.cat([p.detach().flatten() for p in whole])


def cases(chosen: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """(method, what is tried, its settings)."""
    tile = [max(2, chosen.batch // 4), max(2, chosen.batch // 3)]
    found: list[tuple[str, str, dict[str, Any]]] = [
        (name, what, own) for name in chosen.methods for what, own in (("", {}), ("tiled", {"tile": tile}))
    ]
    if "clip" in chosen.methods:
        found += [
            ("clip", "encoder, double", {"live": True, "double": True}),
            ("clip", "encoder, chunks", {"live": True, "chunk": 3}),
        ]
    return found


def data_of(chosen: Any, live: bool) -> TrainingData:
    with tempfile.TemporaryDirectory() as place:
        data: TrainingData = examples(noise_store(Path(place) / "noise", chosen.images, "float32"))
        if not live:
            found = data.images
            assert isinstance(found, FeatureStore)
            kept = FeatureStore(np.array(found.pooled), np.array(found.local), found.grid, found.key)
            return replace(data, images=kept)
    encoder = image_encoder("efficientnet-lite0").requires_grad_(True)
    side = encoder.preprocessing.side
    pixels = np.random.default_rng(0).integers(0, 256, (chosen.images, side, side), dtype=np.uint8)
    return replace(data, images=PixelStore.of(pixels, encoder))


class Trained(NamedTuple):
    """One case: way → its copy of the model, and the seconds of its steps."""

    runs: dict[str, Way]
    seconds: dict[str, list[float]]


def trained(chosen: Any, group: Group, ways: Sequence[str]) -> list[Trained]:
    """Every case with every way, a step of each in turn."""
    out = []
    for name, _, case in cases(chosen):
        data = data_of(chosen, bool(case.get("live")))
        runs = {way: Way(way, name, data, group, chosen, case) for way in ways}
        size = min(chosen.batch, 7) if case.get("live") else chosen.batch
        batches = epoch_batches(data, 0, 0, size, runs["own"].step.method.trains_on, max_texts=1)
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        steps = min(chosen.steps, 4) if case.get("live") else chosen.steps
        for number, batch in zip(range(steps), batches, strict=False):
            for way, run in runs.items():
                seconds[way].append(run.take(batch, number))
        out.append(Trained(runs, seconds))
    return out


def rank(number: int, chosen: Any, place: Path) -> None:
    """One of the two processes; the first writes what is printed."""
    torch.set_num_threads(1)
    alone = trained(chosen, Group(), ["own"]) if number == 0 else []
    dist.init_process_group("gloo", init_method=f"file://{place / 'meet'}", rank=number, world_size=2)
    own = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "OMP_NUM_THREADS": 1}
    os.environ |= {key: f"{value}" for key, value in own.items()}  # accelerate asks these
    found = trained(chosen, Group(number, 2), WAYS)
    rows = []
    for index, ((name, what, _), done) in enumerate(zip(cases(chosen), found, strict=True)):
        for way, run in done.runs.items():
            mine = run.weights()
            other = mine.clone()
            dist.broadcast(other, 1)
            if number == 0:
                one = alone[index].runs["own"].weights()
                moved = float((one - run.before).abs().max())
                later = slice(2, None)  # DDP orders its buckets anew after the first step
                pairs = zip(done.seconds[way][later], done.seconds["own"][later], strict=True)
                rows.append({
                    "method": name, "what": what, "way": way, "bytes": run.bytes,
                    "one": float((mine - one).abs().max()) / moved,
                    "ranks": float((mine - other).abs().max()) / moved,
                    "time": statistics.median(a / b for a, b in pairs),
                    "refused": run.refused, "ms": 1e3 * statistics.median(done.seconds[way][later]),
                })  # fmt: skip
    dist.destroy_process_group()
    if number == 0:
        (place / "rows.json").write_text(json.dumps(rows))


def main() -> int:
    parser = described(__doc__)
    for name, default in (("steps", 6), ("batch", 23), ("width", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--methods", nargs="+", default=METHODS.names(), choices=METHODS.names())
    chosen = parser.parse_args()
    chosen.images = chosen.batch * chosen.steps * 2
    with tempfile.TemporaryDirectory() as place:
        torch.multiprocessing.spawn(rank, (chosen, Path(place)), nprocs=2)  # type: ignore[attr-defined]
        rows = json.loads((Path(place) / "rows.json").read_text())
    kind = device_name(torch.device("cpu"))
    print(f"{kind}, 2 processes; torch {torch.__version__}; {chosen.steps} steps of {chosen.batch} images")
    print(f"{'':<25}{'':<7}{'from one':>9}{'ranks':>9}{'KiB':>8}{'ms':>8}{'x own':>7}")
    for row in rows:
        name = ", ".join(filter(None, (row["method"], row["what"])))
        if row["refused"]:
            print(f"{name:<25}{row['way']:<7} cannot: {row['refused']}")
            continue
        said = "ITS RANKS TRAIN TWO MODELS" if row["ranks"] > CLOSE else ""
        print(f"{name:<25}{row['way']:<7}{row['one']:>9.1e}{row['ranks']:>9.1e}{row['bytes'] / 1024:>8.0f}"
              f"{row['ms']:>8.1f}{row['time']:>7.2f}  {said}")  # fmt: skip
    own = [row for row in rows if row["way"] == "own"]
    return int(any(row["one"] > CLOSE or row["ranks"] for row in own))


if __name__ == "__main__":
    sys.exit(main())
