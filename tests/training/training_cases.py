"""Small training data made of random but learnable features."""

from __future__ import annotations

import numpy as np
import torch

from benchmark.core.features import ImageFeatures, TextFeatures
from benchmark.encoders.store import FeatureStore, TextStore
from benchmark.training.data import TrainingData, training_data

IMAGE_DIM, TEXT_DIM, PATCHES = 12, 10, 9


def make_data(images: int = 40, seed: int = 0, dtype: torch.dtype = torch.float32) -> TrainingData:
    """Images whose features carry their concept, one to three sentences each, 20 patients."""
    rng = torch.Generator().manual_seed(seed)
    concept = torch.randint(0, 6, (images,), generator=rng)
    pooled = torch.randn(images, IMAGE_DIM, generator=rng) + 3 * torch.eye(IMAGE_DIM)[concept]
    local = torch.randn(images, PATCHES, IMAGE_DIM, generator=rng) + pooled[:, None]
    texts = [f"sentence {c} {v}" for c in range(6) for v in range(3)]
    lengths = torch.randint(1, 6, (len(texts),), generator=rng)
    mask = torch.arange(5)[None] < lengths[:, None]
    code = torch.eye(TEXT_DIM)[torch.arange(6).repeat_interleave(3)] * 3
    text_pooled = code + torch.randn(len(texts), TEXT_DIM, generator=rng)
    text_local = (code[:, None] + torch.randn(len(texts), 5, TEXT_DIM, generator=rng)) * mask[..., None]
    store = FeatureStore.of(ImageFeatures(pooled.to(dtype), local.to(dtype), (3, 3)))
    text = TextStore.of(texts, TextFeatures(text_pooled.to(dtype), text_local.to(dtype), mask))
    picks = np.random.default_rng(seed)
    sentences = [
        [f"sentence {int(c)} {v}" for v in picks.permutation(3)[: int(picks.integers(1, 4))]] for c in concept
    ]
    vectors = np.eye(6, dtype=np.int8)
    return training_data(
        store, sentences, text, [f"p{n // 2}" for n in range(images)],
        split=["val" if (n // 2) % 5 == 0 else "train" for n in range(images)],
        image_findings=vectors[concept.numpy()], text_findings=vectors[np.arange(6).repeat(3)],
    )  # fmt: skip
