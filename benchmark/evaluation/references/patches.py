"""A supervised probe that attends over patch tokens: each class has a query of its own.

    z(x, c) = ⟨w_c, Σ_p a_cp v_p⟩ + ⟨u_c, g⟩ + b_c        a_c = softmax_p(⟨q_c, k_p⟩ / √d)

k_p, v_p: linear maps to width d of the patch tokens of x after one transformer layer; g: its pooled
features. Pooled features alone lose small lesions, so that a probe of them is no ceiling for methods that
look at patches.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.core.hashing import derive_seed
from benchmark.evaluation.references.base import (
    REFERENCES,
    Floats,
    Images,
    Labels,
    Reference,
    held_out,
    mean_auroc,
)

HIDDEN, WIDTH, HEADS = 128, 64, 4
BATCH = 64
EPOCHS = 16
RATE = 2e-3
DECAY = 0.05
SAMPLE = 512
"""Images whose features give the means and deviations of the channels."""


class Probe(nn.Module):
    """pooled (B, D), local (B, P, D) → (B, C) logits."""

    def __init__(self, pooled: Tensor, local: Tensor, classes: int) -> None:
        """pooled (N, D), local (N, P, D): features that the channels are standardised by."""
        super().__init__()
        self.pooled_mean: Tensor
        self.pooled_deviation: Tensor
        self.local_mean: Tensor
        self.local_deviation: Tensor
        for name, rows in (("pooled", pooled), ("local", local.flatten(0, 1))):
            deviation, mean = torch.std_mean(rows.double(), dim=0, correction=0)
            self.register_buffer(f"{name}_mean", mean.float())
            self.register_buffer(f"{name}_deviation", deviation.clamp(min=1e-6).float())
        self.embed = nn.Sequential(nn.Linear(local.shape[-1], HIDDEN), nn.GELU(), nn.LayerNorm(HIDDEN))
        self.place = nn.Parameter(torch.randn(local.shape[1], HIDDEN) * 0.02)
        self.mix = nn.TransformerEncoderLayer(
            HIDDEN, HEADS, 2 * HIDDEN, 0.1, "gelu", batch_first=True, norm_first=True
        )
        self.key = nn.Linear(HIDDEN, WIDTH, bias=False)
        self.value = nn.Linear(HIDDEN, WIDTH, bias=False)
        self.query = nn.Parameter(torch.randn(classes, WIDTH) * 0.02)
        self.weight = nn.Parameter(torch.randn(classes, WIDTH) * 0.02)
        self.whole = nn.Linear(pooled.shape[-1], classes)
        nn.init.zeros_(self.whole.weight)
        nn.init.zeros_(self.whole.bias)

    def forward(self, pooled: Tensor, local: Tensor) -> Tensor:
        tokens = self.embed((local - self.local_mean) / self.local_deviation)
        tokens = self.mix(tokens + self.place)
        attention = (self.key(tokens) @ self.query.T / WIDTH**0.5).softmax(dim=1)  # (B, P, C)
        votes = self.value(tokens) @ self.weight.T  # (B, P, C)
        whole = (pooled - self.pooled_mean) / self.pooled_deviation
        found: Tensor = (attention * votes).sum(dim=1) + self.whole(whole)
        return found


@REFERENCES.register("patches")
class Patches(Reference):
    name = "patches"
    title = "attentive probe of patch tokens"
    kind = "ceiling"
    order = 70
    reads = "the shared encoder's patch tokens and pooled features, through one transformer layer"
    joint = True

    def fit(self, train: Images, labels: Labels, seed: int) -> Callable[[Images], Floats]:
        """AdamW with one cosine cycle; the epoch is the one with the best mean AUROC on fitted patients that
        are held out."""
        fit, check = held_out(train, seed)
        own = derive_seed(seed, "attentive probe")
        order = np.random.default_rng(own)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(own)
            sample = train.features.get(train.rows[np.sort(order.permutation(fit)[:SAMPLE])])
            probe = Probe(sample.pooled, sample.local, labels.shape[1]).to(_device())
            optimiser = torch.optim.AdamW(probe.parameters(), lr=RATE, weight_decay=DECAY)
            batches = -(-len(fit) // BATCH)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, EPOCHS * batches)
            best, kept = -np.inf, probe.state_dict()
            for _ in range(EPOCHS):
                probe.train()
                for rows in np.array_split(order.permutation(fit), batches):
                    _step(probe, optimiser, train, rows, labels[rows])
                    schedule.step()
                found = mean_auroc(labels[check], _scores(probe, train.take(check)))
                if found > best:
                    best = found
                    kept = {name: tensor.clone() for name, tensor in probe.state_dict().items()}
        probe.load_state_dict(kept)
        return lambda images: _scores(probe, images)


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _step(
    probe: Probe, optimiser: torch.optim.Optimizer, train: Images, rows: np.ndarray, labels: Labels
) -> None:
    got = train.features.get(train.rows[rows]).to(_device())
    logits = probe(got.pooled, got.local)
    known = torch.from_numpy(labels >= 0).to(_device())
    truth = torch.from_numpy((labels == 1).astype(np.float32)).to(_device())
    losses = nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    optimiser.zero_grad(set_to_none=True)
    loss: Tensor = (losses * known).sum() / known.sum().clamp(min=1)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


@torch.no_grad()
def _scores(probe: Probe, images: Images) -> Floats:
    probe.eval()
    parts = []
    for start in range(0, len(images), 4 * BATCH):
        got = images.features.get(images.rows[start : start + 4 * BATCH]).to(_device())
        parts.append(probe(got.pooled, got.local).cpu().double().numpy())
    return np.concatenate(parts)
