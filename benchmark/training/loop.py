"""The training loop: one for every method, frozen or fine-tuned encoders, one process or many."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmark.core import numerics
from benchmark.core.errors import BenchError, MetricUndefined
from benchmark.core.hashing import derive_seed, hash_array, hash_value
from benchmark.core.reuse import Key, changes, key_of, source
from benchmark.core.settings import TrainConfig
from benchmark.training.averaging import Average
from benchmark.training.convergence import looks
from benchmark.training.data import Batch, TrainingData, epoch_batches, validation_batches
from benchmark.training.distributed import Group, local_device
from benchmark.training.draws import quick_masks
from benchmark.training.finished import MARK, TrainingResult, finished_run, remove_run, write_run
from benchmark.training.live import PixelStore, SentenceStore
from benchmark.training.optimiser import optimiser, rate, set_rate
from benchmark.training.provenance import commit, device_name, peak_memory_bytes, reset_peak_memory, versions
from benchmark.training.state import NAME as STATE
from benchmark.training.state import TENSORS, load_state, put_back, save_state, tensors
from benchmark.training.step import Loaded, Step
from benchmark.training.validation import HeldOut
from methods.base import Method, MethodConfig, build

STATISTICS_IMAGES = 2048
PER_GROUP = 2
"""Sentences of each group of equal findings that a look scores: a third of the time of all of them, and the
same value within 0.003 (docs/fairness.md)."""


class Diverged(BenchError):
    """The loss is no longer a finite number."""


class Observer(Protocol):
    """Follows a run: progress bars, MLflow. Called on rank 0 only."""

    def step(self, done: int, total: int) -> None: ...

    def epoch(self, row: dict[str, float]) -> None: ...


def seeded_method(
    name: str, options: Mapping[str, Any] | MethodConfig, image_dim: int, text_dim: int, seed: int
) -> Method:
    """A method with its initial weights drawn from `seed`; the caller's generators stay as they are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weights"))
        return build(name, options, image_dim, text_dim)


def train(
    method: Method,
    data: TrainingData,
    config: TrainConfig,
    folder: Path | str,
    seed: int,
    *,
    group: Group | None = None,
    observer: Observer | None = None,
) -> TrainingResult:
    """Train, keep the weights of the best look at the held-out patients, record the run.

    The best look is the one with the highest AUROC of held-out sentences (`validation.HeldOut`), the same
    criterion by which settings are chosen, and comparable over losses. Where it is undefined, with too few
    held-out images or with encoders that are fine-tuned, it is the one with the lowest validation loss.

    method: with its initial weights (`seeded_method`). A finished run of the same key whose files are as it
    left them is returned; an unfinished one goes on from its last saved state with the same final numbers.
    Read the trained weights with `finished.load_method`; `method` itself is left with those of the last step.
    Raises Diverged where the loss stops being finite, BenchError for settings that do not fit the data.
    """
    return _Run(method, data, config, Path(folder), seed, group or Group(), observer).go()


def training_key(method: Method, data: TrainingData, config: TrainConfig, seed: int) -> Key:
    """Key of a trained method, which is the identity of its run. method: with its initial weights."""
    return key_of(
        source=source("benchmark.training.loop", type(method).__module__),
        method=method.name,
        options=method.config.model_dump(mode="json"),
        training=config.identity(),
        numerics=numerics.state(),
        seed=seed,
        data=data.key,
        weights=_weights_hash(method),
    )


class _Run:
    def __init__(
        self, method: Method, data: TrainingData, config: TrainConfig, folder: Path, seed: int,
        group: Group, observer: Observer | None,
    ) -> None:  # fmt: skip
        self.method, self.data, self.config, self.folder = method, data, config, folder
        self.seed, self.group, self.observer = seed, group, observer
        self.device = local_device(config.device, group)
        self.epochs = config.epochs or 1
        self.trains_on = method.trains_on
        encoders = {"image": data.images, "text": data.text}
        self.encoders: dict[str, nn.Module] = {
            kind: store.encoder
            for kind, store in encoders.items()
            if isinstance(store, PixelStore | SentenceStore)
        }
        self.key = training_key(method, data, config, seed)
        self.identity = self.key.digest
        self.why: tuple[str, ...] = ()

    def go(self) -> TrainingResult:
        done = self._finished()
        if done is not None:
            return done
        with numerics.on_threads(self.config.threads):
            return self._train()

    def _train(self) -> TrainingResult:
        if self.group.first:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.why = changes(self.folder / MARK, self.key)
            remove_run(self.folder)
        self._prepare()
        before = torch.are_deterministic_algorithms_enabled()
        if self.config.deterministic and self.device.type == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            devices = [self.device] if self.device.type == "cuda" else []
            with torch.random.fork_rng(devices=devices), quick_masks():
                self._epochs()
        finally:
            torch.use_deterministic_algorithms(before)
        return self._finish()

    def _prepare(self) -> None:
        # Sharp attention leaves denormal weights, on which a CPU is many times slower (GLoRIA: 8 times).
        torch.set_flush_denormal(True)
        if not self.encoders:
            self._fit_inputs()
        for module in (self.method, *self.encoders.values()):
            module.to(self.device)
        reset_peak_memory(self.device)
        self.group.broadcast([*self.method.parameters(), *self.method.buffers()])
        self.optimiser = optimiser(self.config, self.method, self.encoders.values())
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=self.config.precision == "float16 mixed" and self.device.type == "cuda"
        )
        interact = torch.compile(self.method.interact) if self.config.compile else None
        self.step = Step(
            self.method, self.data, self.config, self.device, self.group, interact, self.scaler.scale
        )
        self.parameters = [p for part in self.optimiser.param_groups for p in part["params"]]
        self.plan = [self._batch_size(epoch) for epoch in range(self.epochs)]
        self.total = sum(-(-len(self.data.train) // size) for size in self.plan)
        self.validation = validation_batches(self.data, self.plan[0], self.trains_on, *self._choices())
        self.average = Average(self.parameters, self.config.average, self.total)
        try:
            self.held_out: HeldOut | None = None if self.encoders else HeldOut(self.data, per_group=PER_GROUP)
        except MetricUndefined:
            self.held_out = None

    def _fit_inputs(self) -> None:
        """Input statistics from a fixed sample of training images and all their sentences."""
        order = torch.from_numpy(self.data.train)
        picked = order[torch.linspace(0, len(order) - 1, min(len(order), STATISTICS_IMAGES)).long()].numpy()
        rows = sorted({int(row) for example in picked for row in self.data.sentences(example)})
        image = self.data.images.get(self.data.image_rows[picked])
        self.method.fit_inputs(image, self.data.text.get(torch.tensor(rows).numpy()))

    def _batch_size(self, epoch: int) -> int:
        sizes = [size for first, size in self.config.batch_schedule if first <= epoch]
        return sizes[-1] if sizes else self.config.batch_size

    def _choices(self) -> tuple[Any, ...]:
        return self.config.duplicates, self.config.max_texts

    def _epochs(self) -> None:
        config = self.config
        state = self.group.agree(
            None if not self.group.first else self._meta(load_state(self.folder, self.identity))
        )
        self.best: dict[str, Tensor] = {}
        self.now: dict[str, Any] = state or {
            "identity": self.identity, "epoch": 0, "batch": 0, "step": 0, "loss": 0.0, "seconds": 0.0,
            "best": -math.inf, "best_epoch": -1, "history": [],
        }  # fmt: skip
        if state is not None:
            self._restore()
        self.began = time.perf_counter() - self.now["seconds"]
        saved = time.perf_counter()
        while self.now["epoch"] < self.epochs and not self._stale():
            epoch = self.now["epoch"]
            batches = epoch_batches(
                self.data, self.seed, epoch, self.plan[epoch], self.trains_on, *self._choices()
            )
            self._train_mode(True)
            total = torch.tensor(self.now["loss"], dtype=torch.float64, device=self.device)
            for number, (batch, loaded) in enumerate(
                self.step.loaded(batches[self.now["batch"] :]), self.now["batch"]
            ):
                total += self._update(batch, loaded).double() * len(batch.examples)
                self.now["step"] += 1
                self.now["batch"] = number + 1
                if self.observer is not None and self.group.first:
                    self.observer.step(self.now["step"], self.total)
                due = time.perf_counter() - saved >= config.checkpoint_seconds
                if due and number + 1 < len(batches):
                    self.now["loss"] = float(total)
                    self._save()
                    saved = time.perf_counter()
            self._close_epoch(float(total) / len(self.data.train))
            saved = time.perf_counter()

    def _update(self, batch: Batch, loaded: Loaded | None) -> Tensor:
        own = 0 if self.step.draws_jointly else self.group.rank
        torch.manual_seed(derive_seed(self.seed, "step", self.now["step"], own))
        set_rate(self.optimiser, rate(self.config, self.now["step"], self.total))
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.step.backward(batch, loaded).total.detach()
        self.group.average_gradients(self.parameters)
        self.scaler.unscale_(self.optimiser)
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.method.after_step()
        self.average.update()
        return loss

    def _close_epoch(self, train_loss: float) -> None:
        now = self.now
        epoch = now["epoch"] + 1
        if not math.isfinite(train_loss):
            raise self._diverged(train_loss, epoch)
        row = None
        if epoch in looks(self.epochs, self.config):
            with self.average.in_place():
                row = self._look(train_loss, epoch)
        now.update(epoch=epoch, batch=0, loss=0.0)
        if row is not None:
            self._save()
            if self.observer is not None and self.group.first:
                self.observer.epoch(row)

    def _look(self, train_loss: float, epoch: int) -> dict[str, float]:
        """Validate the weights as they stand and keep them where they are the best so far."""
        now = self.now
        self._train_mode(False)
        weights = [len(batch.examples) for batch in self.validation]
        losses = [float(self.step.evaluate(batch).total) for batch in self.validation]
        val_loss = math.fsum(w * v for w, v in zip(weights, losses, strict=True)) / sum(weights)
        if not math.isfinite(val_loss):
            raise self._diverged(val_loss, epoch)
        row = {
            "epoch": epoch, "step": now["step"], "learning_rate": self.optimiser.param_groups[0]["lr"],
            "train_loss": train_loss, "val_loss": val_loss,
        }  # fmt: skip
        worth = -val_loss
        if self.held_out is not None:
            own = self.held_out.match(self.method, device=self.device).auroc if self.group.first else None
            worth = row["val_auroc"] = self.group.agree(own)
        row["seconds"] = time.perf_counter() - self.began
        now["history"] = [*now["history"], row]
        if worth > now["best"]:
            now["best"], now["best_epoch"], now["val_loss"] = worth, epoch - 1, val_loss
            if self.group.first:
                self.best = tensors(self.method, self.encoders)
        return row

    def _diverged(self, loss: float, epoch: int) -> Diverged:
        return Diverged(
            f"{self.method.name}: the loss is {loss} after epoch {epoch}; "
            "lower training.learning_rate or set training.clip_norm."
        )

    def _stale(self) -> bool:
        patience = self.config.patience
        return patience is not None and self.now["epoch"] - 1 - self.now["best_epoch"] >= patience

    def _train_mode(self, on: bool) -> None:
        self.method.train(on)

    def _save(self) -> None:
        if not self.group.first:
            return
        self.now["seconds"] = time.perf_counter() - self.began
        save_state(self.folder, {
            **self.now, "weights": tensors(self.method, self.encoders), "best_weights": self.best,
            "optimiser": self.optimiser.state_dict(), "scaler": self.scaler.state_dict(),
            "average": self.average.state(),
        })  # fmt: skip

    def _meta(self, state: dict[str, Any] | None) -> dict[str, Any] | None:
        if state is None:
            return None
        return {k: v for k, v in state.items() if k not in TENSORS}

    def _restore(self) -> None:
        """Weights and optimiser of the saved state, read by every process of the machine."""
        state = load_state(self.folder, self.identity)
        if state is None:
            raise BenchError(f"{self.folder}: rank {self.group.rank} cannot read {STATE}; share the folder.")
        self.best = state["best_weights"]
        put_back(state["weights"], self.method, self.encoders)
        self.optimiser.load_state_dict(state["optimiser"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.average.load(state["average"])

    def _sentences_seen(self) -> int:
        """Sentences of images that were trained on, with repeats: one an image and epoch, or all of them."""
        if self.trains_on == "one":
            return len(self.data.train) * int(self.now["epoch"])
        own = [len(self.data.sentences(n)) for n in self.data.train]
        most = self.config.max_texts
        return sum(own if most is None else (min(n, most) for n in own)) * int(self.now["epoch"])

    def _flops_per_image(self) -> float | None:
        """Floating-point operations of matrix products in one training step, forward and backward, an image;
        None where several processes share a step, encoders are fine-tuned or pairs are compiled."""
        if self.group.size > 1 or self.encoders or self.config.compile:
            return None
        batch = self.validation[0]
        self._train_mode(True)
        # Attention as plain products: the counter does not know the fused kernel of a CPU.
        counter = FlopCounterMode(display=False)
        with torch.random.fork_rng(devices=[]), sdpa_kernel(SDPBackend.MATH), counter:
            self.step.backward(batch)
        self.optimiser.zero_grad(set_to_none=True)
        return float(counter.get_total_flops()) / len(batch.examples)

    def _finished(self) -> TrainingResult | None:
        found = self.group.agree(finished_run(self.folder, self.key) if self.group.first else None)
        return None if found is None else TrainingResult.of(self.folder, found, reused=True)

    def _finish(self) -> TrainingResult:
        now, run = self.now, {}
        flops = self._flops_per_image()
        if self.group.first:
            trained = sum(p.numel() for p in self.parameters)
            run = {
                "identity": self.identity, "method": self.method.name, "seed": self.seed,
                "options": self.method.config.model_dump(mode="json"),
                "training": self.config.model_dump(mode="json"), "processes": self.group.size,
                "image_dim": self.method.image_dim, "text_dim": self.method.text_dim,
                "fine_tuned": sorted(self.encoders), "data_key": self.data.key,
                "images_key": self.data.images.key, "text_key": self.data.text.key,
                "train_images": len(self.data.train), "val_images": len(self.data.val),
                "steps": now["step"], "epochs": now["epoch"], "best_epoch": now["best_epoch"] + 1,
                "val_loss": now["val_loss"],
                "parameters_trained": trained, "sentences_seen": self._sentences_seen(),
                "flops_per_image": flops, "seconds": time.perf_counter() - self.began,
                "peak_memory_bytes": peak_memory_bytes(self.device), "device": device_name(self.device),
                "commit": commit(), "versions": versions(), "numerics": numerics.state(),
            }  # fmt: skip
            run = write_run(self.folder, self.key, self.best, now["history"], run)
            (self.folder / STATE).unlink(missing_ok=True)
        self.method.eval()
        run = self.group.agree(run)
        return TrainingResult.of(self.folder, run, reused=False, why=self.why)


def _weights_hash(method: Method) -> str:
    return hash_value({name: hash_array(t.detach().cpu().numpy()) for name, t in method.state_dict().items()})
