"""Scores, loss and gradients of every method on a device against those of the processor in float32.

    python perf/devices.py [--device cuda] [--batch 16] [--json]

Features are noise of the embedded default's shape, weights are drawn once, dropout is off. A difference is
the largest one as a share of the largest value of its tensor. Exit 1 where one is above --most, 1e-3 by
default: what sums in another order may change in float32.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import torch

from benchmark.core.features import ImageFeatures, TextFeatures
from benchmark.training.loop import seeded_method
from benchmark.training.provenance import device_name
from methods.base import METHODS
from perf.shared import TEXT_WIDTH, WIDTH, device_parser, noise_texts

Numbers = dict[str, torch.Tensor]


def numbers(name: str, image: ImageFeatures, text: TextFeatures, device: str) -> Numbers:
    """What a method computes of a batch: (B, B) scores, the loss, and the gradient of every weight, on the
    processor."""
    method = seeded_method(name, {}, WIDTH, TEXT_WIDTH, 0).to(device).eval()
    own, texts = image.to(device), text.to(device)
    positives = torch.eye(len(own.pooled), dtype=torch.bool, device=device)
    loss = method.loss(own, texts, positives).total
    loss.backward()
    found = {"scores": method(own, texts), "loss": loss}
    found |= {f"gradient of {n}": p.grad for n, p in method.named_parameters() if p.grad is not None}
    return {key: value.detach().double().cpu() for key, value in found.items()}


def difference(one: Numbers, other: Numbers) -> tuple[float, str]:
    """The largest difference as a share of the largest value of its tensor, and where it is."""
    shares = {
        key: float((one[key] - other[key]).abs().max() / one[key].abs().max().clamp(min=1e-12)) for key in one
    }
    where = max(shares, key=shares.__getitem__)
    return shares[where], where


def main() -> int:
    parser = device_parser(__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--most", type=float, default=1e-3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    count = options.batch
    findings = torch.randint(-1, 2, (count, 8)).float()
    image = ImageFeatures(torch.randn(count, WIDTH), torch.randn(count, 64, WIDTH), (8, 8), findings)
    text = replace(noise_texts(count), findings=findings)
    rows = {}
    for name in METHODS.names():
        share, where = difference(
            numbers(name, image, text, "cpu"), numbers(name, image, text, options.device)
        )
        rows[name] = {"share": share, "where": where}
    if options.json:
        print(json.dumps(rows))
    else:
        print(f"{device_name(torch.device(options.device))} against the processor, float32, batch {count}")
        for name, row in rows.items():
            print(f"{name:<10}{row['share']:.1e}  {row['where']}")
    return 0 if all(row["share"] <= options.most for row in rows.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
