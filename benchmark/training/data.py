"""What a run trains on: image rows, their sentences, and the split by patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.core.errors import DataError
from benchmark.core.hashing import derive_seed, hash_array, hash_value
from benchmark.core.settings import Duplicates, TrainsOn
from benchmark.encoders.store import FeatureStore, TextStore
from benchmark.training.live import PixelStore, SentenceStore

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class TrainingData:
    """N image-text examples.

    images: features, or pixels with an encoder to fine-tune. image_rows: (N,) rows of `images`.
    text: features of the distinct sentences, or the sentences with an encoder to fine-tune.
    text_rows, text_offsets: sentences of example n are text_rows[text_offsets[n]:text_offsets[n + 1]].
    train, val: example numbers; no patient is in both. Every example has at least one sentence.
    image_findings (N, K), text_findings (T, K): int8 in {-1, 0, 1} or None, extracted from the texts.
    concepts: names of the K findings.
    """

    images: FeatureStore | PixelStore
    image_rows: Rows
    text: TextStore | SentenceStore
    text_rows: Rows
    text_offsets: Rows
    train: Rows
    val: Rows
    image_findings: NDArray[np.int8] | None = None
    text_findings: NDArray[np.int8] | None = None
    concepts: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Content key of everything that a run reads."""
        arrays: list[NDArray[Any]] = [
            self.image_rows,
            self.text_rows,
            self.text_offsets,
            self.train,
            self.val,
        ]
        arrays += [a for a in (self.image_findings, self.text_findings) if a is not None]
        return hash_value([self.images.key, self.text.key, *map(hash_array, arrays)])

    def sentences(self, example: int) -> Rows:
        """Text rows of one example."""
        return self.text_rows[self.text_offsets[example] : self.text_offsets[example + 1]]


def training_data(
    images: FeatureStore | PixelStore,
    sentences: Sequence[Sequence[str]],
    text: TextStore | SentenceStore,
    patients: Sequence[str],
    *,
    image_rows: Sequence[int] | NDArray[Any] | None = None,
    split: Sequence[str | None] | None = None,
    validation: float = 0.1,
    image_findings: NDArray[Any] | None = None,
    text_findings: NDArray[Any] | None = None,
    concepts: Sequence[str] = (),
) -> TrainingData:
    """Join images with their sentences and split by patient; examples without a sentence are left out.

    sentences, patients: one entry an image, in the order of `image_rows` (default: of `images`).
    split: `train`, `val` or other per image, where the dataset has its own; else a share `validation` of
    the patients, chosen by a hash of the patient id, is held out.
    Raises DataError where nothing is left to train on or to validate with.
    """
    count = len(sentences)
    rows = np.arange(count) if image_rows is None else np.asarray(image_rows)
    if not (len(rows) == len(patients) == count):
        raise DataError(f"{len(rows)} images, {count} lists of sentences and {len(patients)} patients.")
    kept = np.array([n for n in range(count) if len(sentences[n])], dtype=np.int64)
    if split is None:
        held = np.array([_held_out(str(patient), validation) for patient in patients], dtype=bool)
        part = np.where(held, "val", "train")
    else:
        part = np.array([str(value) for value in split])
    chosen = part[kept]
    train, val = np.flatnonzero(chosen == "train"), np.flatnonzero(chosen == "val")
    if len(train) < 2 or len(val) < 2:
        raise DataError(
            f"{len(train)} training and {len(val)} validation images have sentences; each needs 2 or more. "
            "Check the reports and the share held out."
        )
    shared = {str(patients[kept[n]]) for n in train} & {str(patients[kept[n]]) for n in val}
    if shared:
        raise DataError(f"{len(shared)} patients are in both training and validation; correct the split.")
    flat = [sentence for n in kept for sentence in sentences[n]]
    offsets = np.concatenate([[0], np.cumsum([len(sentences[n]) for n in kept])]).astype(np.int64)
    return TrainingData(
        images=images,
        image_rows=rows[kept].astype(np.int64),
        text=text,
        text_rows=text.rows(flat),
        text_offsets=offsets,
        train=train.astype(np.int64),
        val=val.astype(np.int64),
        image_findings=None if image_findings is None else np.asarray(image_findings)[kept].astype(np.int8),
        text_findings=None if text_findings is None else np.asarray(text_findings).astype(np.int8),
        concepts=tuple(concepts),
    )


@dataclass(frozen=True)
class Batch:
    """examples: (I,). text_rows: (T,) rows of the text store. positives: (I, T) bool."""

    examples: Rows
    text_rows: Rows
    positives: NDArray[np.bool_]


def epoch_batches(
    data: TrainingData,
    seed: int,
    epoch: int,
    batch_size: int,
    trains_on: TrainsOn,
    duplicates: Duplicates = "merge",
    max_texts: int | None = None,
) -> list[Batch]:
    """The batches of one epoch: sizes differ by at most one, nothing is dropped or repeated.

    Order and sentence choice depend on seed and epoch alone, so every method sees the same.
    """
    order = np.random.default_rng(derive_seed(seed, "order", epoch)).permutation(data.train)
    draws = np.random.default_rng(derive_seed(seed, "sentences", epoch))
    return _batches(data, order, draws, batch_size, trains_on, duplicates, max_texts)


def validation_batches(
    data: TrainingData,
    batch_size: int,
    trains_on: TrainsOn,
    duplicates: Duplicates = "merge",
    max_texts: int | None = None,
) -> list[Batch]:
    """Held-out batches with fixed captions: the same for every seed, epoch and run."""
    rng = np.random.default_rng(derive_seed(0, "validation"))
    return _batches(data, rng.permutation(data.val), rng, batch_size, trains_on, duplicates, max_texts)


def _batches(
    data: TrainingData,
    order: Rows,
    rng: np.random.Generator,
    batch_size: int,
    trains_on: TrainsOn,
    duplicates: Duplicates,
    max_texts: int | None,
) -> list[Batch]:
    count = -(-len(order) // batch_size)
    uniform = rng.random(len(data.image_rows))
    batches = []
    for examples in np.array_split(order, count):
        if trains_on == "one":
            own = [data.sentences(n) for n in examples]
            rows = np.array([s[int(uniform[n] * len(s))] for n, s in zip(examples, own, strict=True)])
            positives = np.eye(len(examples), dtype=bool)
            if duplicates == "merge":
                positives = rows[:, None] == rows[None, :]
        else:
            own = [_some(data.sentences(n), max_texts, rng) for n in examples]
            flat = np.concatenate(own)
            owner = np.repeat(np.arange(len(own)), [len(s) for s in own])
            rows, column = (
                np.unique(flat, return_inverse=True)
                if duplicates == "merge"
                else (flat, np.arange(len(flat)))
            )
            positives = np.zeros((len(examples), len(rows)), dtype=bool)
            positives[owner, column] = True
        batches.append(Batch(examples, rows.astype(np.int64), positives))
    return batches


def _some(rows: Rows, most: int | None, rng: np.random.Generator) -> Rows:
    if most is None or len(rows) <= most:
        return rows
    return rows[np.sort(rng.permutation(len(rows))[:most])]


def _held_out(patient: str, share: float) -> bool:
    return derive_seed(0, "held out", patient) / 2**63 < share
