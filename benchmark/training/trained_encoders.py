"""Training of a method together with its encoders: the loop of `training.loop` with what live encoders need.

Inputs are normalised by the statistics of the encoders as they were. Held-out sentences choose the best look
as they do for frozen encoders, so that both are chosen by one criterion. Layers further down may have smaller
rates, and training images may be augmented. Gradient caching (`training.encoder_chunk`), mixed precision and
resuming are the loop's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from benchmark.core.errors import MetricUndefined
from benchmark.core.features import ImageFeatures, TextFeatures
from benchmark.core.reuse import Key, key_of, source
from benchmark.core.settings import TrainConfig
from benchmark.encoders.store import FeatureStore, TextStore
from benchmark.encoders.trainable import Encoder, depth, merge_low_rank, stages
from benchmark.training.augment import Augmentation, augmented
from benchmark.training.averaging import Average
from benchmark.training.data import TrainingData
from benchmark.training.distributed import Group
from benchmark.training.finished import MODEL, TrainingResult
from benchmark.training.live import PixelStore, pad_columns
from benchmark.training.loop import PER_GROUP, Observer, _Run, training_key
from benchmark.training.validation import HeldOut, SentenceMatch
from methods.base import Method

AT_ONCE = 64
"""Images or sentences that are encoded at once where no gradient is kept."""


@dataclass(frozen=True)
class TrainedEncoders:
    """What a training of encoders reads.

    live: pixels and sentences with the encoders that are trained (`trainable.make_trainable`), cached
    features of those that are not. frozen: the same images and texts with the features of all encoders as
    they were. layer_decay: rate of a layer as a share of the rate of the layer above it. augment: of
    training images. settings: all that was asked for, as text, for the key: the scale of matrices of low rank
    is in no tensor of `live`.
    """

    live: TrainingData
    frozen: TrainingData
    layer_decay: float = 1.0
    augment: Augmentation | None = None
    settings: str = ""

    def key(self, method: Method, config: TrainConfig, seed: int) -> Key:
        """Key of the trained method and encoders. method: with its initial weights."""
        return key_of(
            run=training_key(method, self.live, config, seed),
            frozen=self.frozen.key,
            layer_decay=self.layer_decay,
            augment=None if self.augment is None else repr(self.augment),
            settings=self.settings,
            source=source(__name__, "benchmark.encoders.trainable"),
        )

    def train(
        self, method: Method, data: TrainingData, config: TrainConfig, folder: Path | str, seed: int, *,
        group: Group | None = None, observer: Observer | None = None,
    ) -> TrainingResult:  # fmt: skip
        """`loop.train` of `live`, which `data` is. Raises as it does."""
        return _EncoderRun(self, method, config, Path(folder), seed, group or Group(), observer).go()


class AugmentedPixels(PixelStore):
    """Pixels that are augmented in training."""

    how: Augmentation
    training: bool = False

    @classmethod
    def by(cls, store: PixelStore, how: Augmentation) -> AugmentedPixels:
        """The same pixels, encoder and key."""
        own = cls(store.pixels, store.encoder, store.key)
        object.__setattr__(own, "how", how)
        return own

    def train(self, on: bool) -> None:
        object.__setattr__(self, "training", on)

    def get(self, rows: NDArray[Any]) -> ImageFeatures:
        """Features of these rows, in the caller's gradient mode."""
        if not self.training:
            return super().get(rows)
        changed = augmented(np.asarray(self.pixels[rows]), np.asarray(rows), self.how)
        device = next(self.encoder.parameters()).device
        return self.encoder.encode(torch.from_numpy(changed).to(device))


class _EncoderRun(_Run):
    def __init__(
        self, of: TrainedEncoders, method: Method, config: TrainConfig, folder: Path, seed: int,
        group: Group, observer: Observer | None,
    ) -> None:  # fmt: skip
        live = of.live
        if of.augment is not None and isinstance(live.images, PixelStore):
            live = replace(live, images=AugmentedPixels.by(live.images, of.augment))
        super().__init__(method, live, config, folder, seed, group, observer)
        self.of = of
        self.key = of.key(method, config, seed)
        self.identity = self.key.digest

    def _prepare(self) -> None:
        live, self.data = self.data, self.of.frozen
        self._fit_inputs()
        self.data = live
        super()._prepare()
        if self.of.layer_decay != 1:
            self._decay_rates()
        try:
            HeldOut(self.of.frozen, per_group=PER_GROUP)
            self.held_out = _HeldOutNow(self.data, self.of.frozen)
        except MetricUndefined:
            self.held_out = None

    def _decay_rates(self) -> None:
        """Groups of parameters of one layer each, with that layer's peak rate."""
        share: dict[int, float] = {}
        for encoder in self.encoders.values():
            top = len(stages(encoder)) + 1
            for name, parameter in encoder.named_parameters():
                share[id(parameter)] = self.of.layer_decay ** (top - depth(encoder, name))
        groups = []
        for group in self.optimiser.param_groups:
            for own in dict.fromkeys(share.get(id(p), 1.0) for p in group["params"]):
                params = [p for p in group["params"] if share.get(id(p), 1.0) == own]
                groups.append({**group, "params": params, "peak": group["peak"] * own})
        self.optimiser.param_groups[:] = groups
        self.parameters = [p for group in groups for p in group["params"]]
        self.average = Average(self.parameters, self.config.average, self.total)

    def _train_mode(self, on: bool) -> None:
        super()._train_mode(on)
        if isinstance(self.data.images, AugmentedPixels):
            self.data.images.train(on)


class _HeldOutNow(HeldOut):
    """Held-out sentences under the encoders as they are at the moment."""

    def __init__(self, live: TrainingData, frozen: TrainingData) -> None:
        self.live, self.frozen = live, frozen

    def match(
        self, method: Method, tile: tuple[int, int] = (64, 64), device: str | torch.device = "cpu"
    ) -> SentenceMatch:
        """Macro AUROC of these sentences. The method is left in evaluation mode."""
        now = encoded_now(self.live, self.frozen)
        return HeldOut(now, per_group=PER_GROUP).match(method, tile, device)


@torch.no_grad()
def encoded_now(live: TrainingData, frozen: TrainingData) -> TrainingData:
    """Held-out images and their sentences as the encoders of `live` give them now; cached features stay."""
    now = frozen
    if isinstance(live.images, PixelStore):
        held = live.image_rows[live.val]
        parts = [live.images.get(held[n : n + AT_ONCE]) for n in range(0, len(held), AT_ONCE)]
        pooled = torch.cat([p.pooled for p in parts]).float().cpu()
        local = torch.cat([p.local for p in parts]).float().cpu()
        rows = np.zeros_like(live.image_rows)
        rows[live.val] = np.arange(len(held))
        now = replace(
            now, images=FeatureStore.of(ImageFeatures(pooled, local, parts[0].grid)), image_rows=rows
        )
    if not isinstance(live.text, TextStore):
        now = replace(now, text=_texts_now(live))
    return now


def _texts_now(live: TrainingData) -> TextStore:
    """Features of the held-out sentences, in the rows that they have in `live`; other rows are empty."""
    rows = np.unique(np.concatenate([live.sentences(n) for n in live.val]))
    lengths = np.zeros(len(live.text), np.int64)
    lengths[rows] = live.text.lengths(rows)
    longest = max(int(lengths.max()), 1)
    parts = [live.text.get(rows[n : n + AT_ONCE]) for n in range(0, len(rows), AT_ONCE)]
    padded = [pad_columns(part, longest) for part in parts]
    found = torch.cat([p.pooled for p in padded]).float().cpu()
    pooled = torch.zeros(len(lengths), found.shape[1])
    pooled[torch.from_numpy(rows)] = found
    local = torch.zeros(len(lengths), longest, found.shape[1])
    local[torch.from_numpy(rows)] = torch.cat([p.local for p in padded]).float().cpu()
    mask = torch.from_numpy(np.arange(longest)[None] < lengths[:, None])
    return TextStore.of([str(n) for n in range(len(lengths))], TextFeatures(pooled, local, mask))


def load_encoder(folder: Path | str, kind: str, encoder: Encoder) -> Encoder:
    """The encoder of a finished run, matrices of low rank merged. encoder: prepared as for its training."""
    saved = load_file(Path(folder) / MODEL)
    prefix = f"encoder.{kind}."
    encoder.load_state_dict({k.removeprefix(prefix): v for k, v in saved.items() if k.startswith(prefix)})
    merge_low_rank(encoder)
    encoder.requires_grad_(False)
    encoder.eval()
    return encoder
