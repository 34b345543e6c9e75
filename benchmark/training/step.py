"""One joint batch: features, pairs, loss and gradients, on one process or many, tiled or not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.core.errors import ParamsError
from benchmark.core.features import ImageFeatures, TextFeatures
from benchmark.core.settings import TrainConfig
from benchmark.training.data import Batch, TrainingData
from benchmark.training.distributed import Group
from benchmark.training.draws import JointDropout
from benchmark.training.live import PixelStore, SentenceStore, pad_columns
from benchmark.training.tiling import Interact, tile_within, tiled_pairs
from methods.base import Losses, Method

Loaded = tuple[ImageFeatures, TextFeatures]


@dataclass
class Step:
    """Computes losses and gradients of joint batches. `scale` multiplies the loss before backward
    (fp16 gradient scaling)."""

    method: Method
    data: TrainingData
    config: TrainConfig
    device: torch.device
    group: Group = field(default_factory=Group)
    interact: Interact | None = None
    scale: Callable[[Tensor], Tensor] = lambda loss: loss

    @property
    def live(self) -> bool:
        """Whether an encoder is in the graph."""
        return isinstance(self.data.images, PixelStore) or isinstance(self.data.text, SentenceStore)

    @property
    def draws_jointly(self) -> bool:
        """Whether ranks draw dropout as one process does. Tiles and compiled pairs draw for themselves."""
        alone = self.config.tile is not None or self.config.memory_gib is not None
        return self.group.size > 1 and not alone and self.interact is None

    def load(self, batch: Batch) -> Loaded:
        """This rank's share of a batch's cached features, on the CPU. Nothing where encoders are live."""
        image_rows, text_rows, length = self._rows(batch)
        return self.data.images.get(image_rows), self.data.text.get(text_rows, length)

    def loaded(self, batches: Sequence[Batch]) -> Iterator[tuple[Batch, Loaded | None]]:
        """Batches with their cached features, the next one read meanwhile; None where `backward` reads them
        itself, as it does without `prefetch`."""
        if self.live or not self.config.prefetch:
            yield from ((batch, None) for batch in batches)
            return
        with ThreadPoolExecutor(1) as pool:
            waiting: list[Future[Loaded]] = [pool.submit(self._read, batch) for batch in batches[:1]]
            for number, batch in enumerate(batches):
                found = waiting.pop().result()
                if number + 1 < len(batches):
                    waiting.append(pool.submit(self._read, batches[number + 1]))
                yield batch, found

    def _read(self, batch: Batch) -> Loaded:
        image, text = self.load(batch)
        if self.device.type == "cuda":
            pinned = [t.pin_memory() for t in (image.pooled, image.local, text.pooled, text.local)]
            image = type(image)(pinned[0], pinned[1], image.grid)
            text = type(text)(pinned[2], pinned[3], text.mask, text.words)
        return image, text

    def backward(self, batch: Batch, loaded: Loaded | None = None) -> Losses:
        """Loss of the joint batch; its gradients are added to the parameters', averaged over ranks later."""
        if not self.live:
            image, text = self._placed(*(loaded or self.load(batch)))
            losses = self.losses(batch, image, text)
            self._back(losses)
            return losses
        if self.config.encoder_chunk is None:
            with self._autocast():
                image, text = self.load(batch)
            losses = self.losses(batch, *self._placed(image, text))
            self._back(losses)
            return losses
        image, text, chunks = self._leaves(batch)
        losses = self.losses(batch, image, text)
        self._back(losses)
        for again, span, leaves in chunks:
            found = again(span)
            outputs, gradients = [], []
            for output, leaf in zip((found.pooled, found.local), leaves, strict=True):
                if leaf.grad is not None and output.requires_grad:
                    outputs.append(output)
                    gradients.append(leaf.grad[span])
            if outputs:
                torch.autograd.backward(outputs, gradients)
        return losses

    def _back(self, losses: Losses) -> None:
        self.scale(losses.total).backward()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> Losses:
        """Loss of the joint batch without gradients."""
        with self._autocast():
            image, text = self.load(batch)
        return self.losses(batch, *self._placed(image, text))

    def losses(self, batch: Batch, image: ImageFeatures, text: TextFeatures) -> Losses:
        """Joint loss from this rank's features; the same value on every rank."""
        images, texts = batch.positives.shape
        draws = JointDropout(self.group, (images, texts))
        with self._autocast(), draws if self.draws_jointly else contextlib.nullcontext():
            own_image = self.method.prepare_image(image)
            draws.phase = "text"
            own_text = self.method.prepare_text(text)
            all_text = self.group.gather_prepared(own_text, texts)
            tile = self.config.tile
            if tile is None and self.config.memory_gib is not None:
                tile = tile_within(self.method, own_image, all_text, self.config.memory_gib)
            draws.phase = "pairs"
            pairs = tiled_pairs(self.method, own_image, all_text, tile, interact=self.interact)
        pairs = {name: self.group.gather(_full(matrix), images) for name, matrix in pairs.items()}
        all_image = self.group.gather_prepared(own_image, images)
        positives = torch.from_numpy(batch.positives).to(self.device)
        return self.method.objective(pairs, positives, all_image, all_text, self._agreement(batch))

    def _agreement(self, batch: Batch) -> Tensor | None:
        data = self.data
        if data.image_findings is None or data.text_findings is None:
            return None
        image = torch.from_numpy(data.image_findings[batch.examples]).to(self.device)
        text = torch.from_numpy(data.text_findings[batch.text_rows]).to(self.device)
        return self.method.agreement(image, text)

    def _rows(self, batch: Batch) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        if min(batch.positives.shape) < self.group.size:
            raise ParamsError(
                f"a batch of {batch.positives.shape[0]} images cannot be shared by {self.group.size} "
                "processes; raise batch_size or start fewer."
            )
        examples = batch.examples[self.group.part(len(batch.examples))]
        text_rows = batch.text_rows[self.group.part(len(batch.text_rows))]
        length = max(int(self.data.text.lengths(batch.text_rows).max(initial=0)), 1)
        return self.data.image_rows[examples], text_rows, length

    def _placed(self, image: ImageFeatures, text: TextFeatures) -> tuple[ImageFeatures, TextFeatures]:
        dtype = next(self.method.parameters()).dtype
        return image.to(self.device, dtype), text.to(self.device, dtype)

    def _autocast(self) -> AbstractContextManager[Any]:
        kind = {"bfloat16": torch.bfloat16, "float16 mixed": torch.float16}.get(self.config.precision)
        if kind is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=kind)

    def _leaves(self, batch: Batch) -> tuple[ImageFeatures, TextFeatures, list[Any]]:
        """Features as leaves, and how to compute each chunk again with gradient (Gao et al. 2021,
        gradient caching: exact gradients of a large batch through encoders, one chunk at a time)."""
        image_rows, text_rows, length = self._rows(batch)
        size = self.config.encoder_chunk or 1
        chunks: list[Any] = []

        def image_of(span: slice) -> ImageFeatures:
            with self._autocast():
                return self.data.images.get(image_rows[span]).to(self.device)

        def text_of(span: slice) -> TextFeatures:
            with self._autocast():
                return pad_columns(self.data.text.get(text_rows[span]).to(self.device), length)

        def encoded(of: Callable[[slice], Any], count: int, trained: bool) -> list[Any]:
            spans = [slice(first, min(first + size, count)) for first in range(0, count, size)]
            with torch.no_grad():
                parts = [of(span) for span in spans]
            leaves = [torch.cat([getattr(p, n) for p in parts]).float() for n in ("pooled", "local")]
            if trained:
                for leaf in leaves:
                    leaf.requires_grad_()
                chunks.extend((of, span, leaves) for span in spans)
            return [*leaves, parts]

        pooled, local, parts = encoded(image_of, len(image_rows), isinstance(self.data.images, PixelStore))
        image = ImageFeatures(pooled, local, parts[0].grid)
        pooled, local, parts = encoded(text_of, len(text_rows), isinstance(self.data.text, SentenceStore))
        words = tuple(row for part in parts for row in part.words or ())
        mask = torch.cat([part.mask for part in parts])
        return image, TextFeatures(pooled, local, mask, words or None), chunks


def _full(matrix: Tensor) -> Tensor:
    """Losses are computed in float32 whatever the pairs were computed in."""
    return matrix.float() if matrix.dtype in (torch.float16, torch.bfloat16) else matrix
