"""Each switch of precision and kernels, on beside off, in one run.

    python perf/switches.py [--device cpu|cuda] [--repeat 5] [--method carzero] [--compile]

Training steps are those of a method at the embedded default's shapes: 64 tokens of 112 channels, 64 images
and texts a batch. Both settings are timed in turn and the median ratio of the pairs is printed: below 1, the
switch saves time. CPU seconds of one thread on a CPU, seconds of the clock on CUDA. What a switch does to the
numbers stands beside it. `--compile` also compiles the pairs, which takes a C++ compiler and a minute.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from benchmark.core.settings import train_config
from benchmark.encoders.factory import image_encoder, text_encoder
from benchmark.training.data import TrainingData, epoch_batches
from benchmark.training.loop import seeded_method
from benchmark.training.provenance import device_name
from benchmark.training.step import Step
from perf.shared import TEXT_WIDTH, WIDTH, clock_of, device_parser, examples, noise_store

BATCH = 64


class PlainAttention(TorchFunctionMode):
    """Attention by its equations instead of torch's fused function."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        query, key, value = args
        mask, drop = kwargs.get("attn_mask"), kwargs.get("dropout_p", 0.0)
        logits = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        weights = (logits if mask is None else logits + mask).softmax(-1)
        return functional.dropout(weights, drop, drop > 0) @ value


def in_turn(off: Callable[[], Any], on: Callable[[], Any], repeat: int, device: torch.device) -> float:
    """Median of time(on) / time(off) over pairs of runs."""
    ratios = []
    for round_ in range(repeat + 1):
        before = seconds(off, device)
        after = seconds(on, device)
        if round_:  # the first pair warms up
            ratios.append(after / before)
    return statistics.median(ratios)


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    clock = clock_of(device)
    start = clock()
    work()
    return clock() - start


def stepper(name: str, data: TrainingData, device: torch.device, **changes: Any) -> Callable[[], Tensor]:
    """Forward and backward of one fixed batch; returns the loss."""
    compiled = changes.pop("compile", False)
    config = train_config({"batch_size": BATCH, "device": device.type, **changes})
    method = seeded_method(name, {}, WIDTH, TEXT_WIDTH, 0).to(device).train()
    interact = torch.compile(method.interact) if compiled else None
    step = Step(method, data, config, device, interact=interact)
    batch = epoch_batches(data, 0, 0, BATCH, method.trains_on, max_texts=1)[0]
    loaded = step.load(batch)

    def work() -> Tensor:
        method.zero_grad(set_to_none=True)
        torch.manual_seed(0)
        return step.backward(batch, loaded).total.detach()

    return work


def say(switch: str, ratio: float, note: str) -> None:
    print(f"{switch:<26} x {ratio:5.2f} of the time   {note}", flush=True)


@torch.no_grad()
def scoring(chosen: argparse.Namespace, device: torch.device, data: TrainingData) -> None:
    method = seeded_method(chosen.method, {}, WIDTH, TEXT_WIDTH, 0).to(device).eval()
    image = method.prepare_image(data.images.get(np.arange(BATCH)).to(device))
    text = method.prepare_text(data.text.get(np.arange(BATCH)).to(device))

    def fused() -> Tensor:
        return method.score_pairs(method.interact(image, text, scoring=True))

    def plain() -> Tensor:
        with PlainAttention():
            return fused()

    ratio = in_turn(plain, fused, 4 * chosen.repeat, device)
    say("fused attention, scoring", ratio, f"scores {float((fused() - plain()).abs().max()):.1e}")


def steps(chosen: argparse.Namespace, device: torch.device, data: TrainingData) -> None:
    off = stepper(chosen.method, data, device)
    expected = off().item()

    def gap(found: Tensor) -> str:
        return f"loss {found.item() - expected:+.1e}"

    def plain() -> Tensor:
        with PlainAttention():
            return off()

    say("fused attention, training", in_turn(plain, off, chosen.repeat, device), gap(plain()))
    kinds = ("bfloat16", "float16 mixed") if device.type == "cuda" else ("bfloat16",)
    for kind in kinds:
        on = stepper(chosen.method, data, device, precision=kind)
        say(f"precision {kind}", in_turn(off, on, chosen.repeat, device), gap(on()))
    if chosen.compile:
        on = stepper(chosen.method, data, device, compile=True)
        first = seconds(on, device)
        say("compile", in_turn(off, on, chosen.repeat, device), f"{gap(on())}, first step {first:.0f} s")


@torch.inference_mode()
def encoding(chosen: argparse.Namespace, device: torch.device) -> None:
    network, plain = (image_encoder("efficientnet-lite0").network for _ in range(2))
    assert isinstance(network, nn.Module)
    assert isinstance(plain, nn.Module)
    network, plain = network.to(device), plain.to(device).to(memory_format=torch.contiguous_format)
    last = torch.rand(32, 3, 128, 128, device=device).contiguous(memory_format=torch.channels_last)
    found = network(last)
    usual = last.contiguous(memory_format=torch.contiguous_format)
    ratio = in_turn(lambda: plain(usual), lambda: network(last), chosen.repeat, device)
    say("channels-last", ratio, f"features {float((found - plain(usual)).abs().max()):.1e}")
    texts = [" ".join(["opacity"] * (1 + (7 * n) % 24)) for n in range(256)]
    encoder = text_encoder("minilm-l6").to(device)

    def encode(order: list[str]) -> None:
        for first in range(0, len(order), 32):
            encoder.encode(order[first : first + 32])

    ratio = in_turn(lambda: encode(texts), lambda: encode(sorted(texts, key=len)), chosen.repeat, device)
    say("length-sorted texts", ratio, "256 texts of 1 to 24 words")


def main() -> None:
    parser = device_parser(__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--method", default="carzero")
    parser.add_argument("--compile", action="store_true")
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    print(f"{device_name(device)}, {chosen.method}, batches of {BATCH}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as place:
        data = examples(noise_store(Path(place) / "features", 600, "float16"))
        scoring(chosen, device, data)
        steps(chosen, device, data)
    encoding(chosen, device)


if __name__ == "__main__":
    main()
