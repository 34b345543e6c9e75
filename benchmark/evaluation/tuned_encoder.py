"""Fine-tuning of an image encoder on labels, as papers report it: together with a linear layer on its pooled
vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmark.encoders.base import ImageEncoder
from benchmark.evaluation.transfer import STRENGTHS, Floats, LabelDraw, Labels, _fitted, _log_loss, learnable

AT_ONCE = 64
"""Images that are encoded at once where no gradient is kept."""


def tuned_encoder(
    encoder: ImageEncoder,
    pixels: NDArray[Any],
    rows: NDArray[np.int64],
    labels: Labels,
    draw: LabelDraw,
    *,
    epochs: int,
    learning_rates: Sequence[float],
    batch: int,
    device: str,
    seed: int,
) -> Callable[[NDArray[np.int64]], Floats]:
    """Tune an encoder and a linear layer on its pooled vector: rows of `pixels` (N,) → (N, C) log-odds.

    encoder: whose weights that require a gradient are tuned, in place. pixels: (M, S, S) uint8. rows: of the
    labelled images, labels: (L, C) in {1, 0, -1 unknown}.

    The linear layer starts as the linear probe of the encoder as it was, which keeps what the encoder knows
    (Kumar et al. 2022, ICLR, "Fine-Tuning can Distort Pretrained Features", sec. 3.4); the checked patients
    choose its penalty. Then binary cross-entropy, AdamW, once with each learning rate from the same start.
    The weights are those after the epoch, of any rate, with the lowest loss on the checked patients, the
    probe where none is better. A class that the draw does not show scores 0 everywhere, an AUROC of 0.5.
    """
    encoder.to(device)

    def pooled(chosen: NDArray[np.int64]) -> Tensor:
        return encoder.encode(torch.from_numpy(np.array(pixels[chosen])).to(device)).pooled.float()

    def whole(read: Callable[[NDArray[np.int64]], Tensor], chosen: NDArray[np.int64]) -> Tensor:
        with torch.no_grad():
            return torch.cat([read(chosen[k : k + AT_ONCE]) for k in range(0, len(chosen), AT_ONCE)])

    mean, std, head = _probe(whole(pooled, rows[draw.rows]), labels, draw)
    head.to(device)
    mean, std = mean.to(device), std.to(device)

    def log_odds(chosen: NDArray[np.int64]) -> Tensor:
        return head((pooled(chosen) - mean) / std)  # type: ignore[no-any-return]

    fitted = torch.from_numpy(learnable(labels[draw.fit])).to(device)
    truth = torch.from_numpy(labels.astype(np.float32)).to(device)
    parts = nn.ModuleDict({"encoder": encoder, "head": head})
    trained = [p for p in parts.parameters() if p.requires_grad]

    def loss(chosen: NDArray[np.int64], logits: Tensor) -> Tensor:
        known = (truth[chosen] >= 0) & fitted
        each = functional.binary_cross_entropy_with_logits(
            logits, truth[chosen].clamp(min=0), reduction="none"
        )
        return (each * known).sum() / known.sum().clamp(min=1)

    def checked() -> float:
        return float(loss(draw.check, whole(log_odds, rows[draw.check])))

    def epoch(optimiser: torch.optim.Optimizer, order: NDArray[np.int64]) -> None:
        for k in range(0, len(order), batch):
            step = order[k : k + batch]
            with torch.enable_grad():
                now = loss(step, log_odds(rows[step]))
            optimiser.zero_grad()
            now.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()

    start = _copied(parts)
    best, kept = checked(), start
    for rate in learning_rates if fitted.any() else ():
        parts.load_state_dict(start)
        optimiser = torch.optim.AdamW(trained, lr=rate, weight_decay=0.01)
        shuffle = np.random.default_rng(seed)
        for _ in range(epochs):
            epoch(optimiser, shuffle.permutation(draw.fit))
            after = checked()
            if after < best:
                best, kept = after, _copied(parts)
    parts.load_state_dict(kept)
    return lambda chosen: whole(log_odds, chosen).cpu().numpy().astype(np.float64)


def _probe(inputs: Tensor, labels: Labels, draw: LabelDraw) -> tuple[Tensor, Tensor, nn.Linear]:
    """Mean and deviation of the fitted images' pooled vectors, and the probe of these as a linear layer on
    standardised inputs. inputs: (F + K, D) of `draw.rows`."""
    x = np.zeros((len(labels), inputs.shape[1]))
    x[draw.rows] = inputs.cpu().numpy()
    probes = [_fitted(x, labels, draw.fit, strength) for strength in STRENGTHS]
    losses = [_log_loss(probe(x[draw.check]), labels[draw.check]) for probe in probes]
    probe = probes[int(np.argmin(losses))]
    mean, std = x[draw.fit].mean(0), x[draw.fit].std(0)
    std[std == 0] = 1.0
    offset = probe(mean[None])[0]
    weights = probe(mean + np.diag(std)) - offset  # (D, C): the probe is affine
    head = nn.Linear(inputs.shape[1], labels.shape[1])
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weights.T))
        head.bias.copy_(torch.from_numpy(offset))
    return torch.from_numpy(mean).float(), torch.from_numpy(std).float(), head


def _copied(parts: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in parts.state_dict().items()}
