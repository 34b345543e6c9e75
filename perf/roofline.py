"""Achieved FLOP/s of training and scoring against this machine's own matrix-product rate.

    python perf/roofline.py [--device cpu|cuda] [--precision float32|bfloat16|float16] [--seconds 5]

CARZero at official size (width 768, 4 layers, feed-forward 1024, 196 patches, 97 words). The arithmetic is
counted by torch's FlopCounterMode on the work that is timed, recomputation included. The reference rate is
the best of square matrix products and of products in the shapes that a tile has, so "60%" means that of
what this machine reaches on plain `torch.mm`. On a CPU both run on one thread and are timed in CPU seconds
of this process, so that other work on the machine does not count; a GPU is timed by the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmark.training.provenance import device_name
from benchmark.training.tiling import tiled_pairs
from perf.shared import COLUMNS, OFFICIAL_WIDTH, clock_of, device_parser, official_carzero, official_noise

TARGETS = {"AMD": (0.75, 0.85)}
USUAL = (0.60, 0.70)
"""Shares of the matrix product that scoring and training are to reach, by vendor of the processor."""


def matrix_products(device: torch.device, dtype: torch.dtype) -> list[tuple[Callable[[], object], float]]:
    """(work, FLOP) of plain matrix products, large enough to reach the machine's rate."""
    side = 8192 if device.type == "cuda" else 1536
    shapes = [(side, side, side), *((side * 2, OFFICIAL_WIDTH, n) for n in (OFFICIAL_WIDTH, 1024))]
    found: list[tuple[Callable[[], object], float]] = []
    for m, k, n in shapes:
        a, b = torch.randn(m, k, device=device, dtype=dtype), torch.randn(k, n, device=device, dtype=dtype)
        found.append((partial(torch.mm, a, b), 2.0 * m * k * n))
    return found


def counted(work: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def best_rate(work: Callable[[], object], flops: float, device: torch.device, seconds: float) -> float:
    """Highest FLOP/s over repetitions: the least disturbed one."""
    work()
    clock, best, spent = clock_of(device), 0.0, 0.0
    while spent < seconds:
        start = clock()
        work()
        took = clock() - start
        best, spent = max(best, flops / took), spent + took
    return best


def main() -> None:
    parser = device_parser(__doc__)
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--seconds", type=float, default=5.0, help="of timing for each figure")
    parser.add_argument("--side", type=int, default=None, help="images and texts of a tile")
    chosen = parser.parse_args()
    device, dtype = torch.device(chosen.device), getattr(torch, chosen.precision)
    side = chosen.side or (64 if device.type == "cuda" else 32)
    method = official_carzero().to(device)

    def autocast() -> torch.autocast:
        return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)

    image, text = official_noise(side, torch.full((side,), COLUMNS), device)
    with torch.no_grad(), autocast():
        method.eval()
        ready = method.prepare_image(image), method.prepare_text(text)

    @torch.no_grad()
    def scoring() -> object:
        with autocast():
            return method.score_pairs(method.interact(*ready, scoring=True))

    def training() -> None:
        method.train()
        method.zero_grad(set_to_none=True)
        with autocast():
            own = method.prepare_image(image), method.prepare_text(text)
            pairs = tiled_pairs(method, *own, (side, side))
        positives = torch.eye(side, dtype=torch.bool, device=device)
        pairs = {name: matrix.float() for name, matrix in pairs.items()}
        method.objective(pairs, positives, *own, None).total.backward()

    products = matrix_products(device, dtype)
    work = {"scoring tile": scoring, "training step": training}
    flops = {name: counted(task) for name, task in work.items()}
    peak, rates = 0.0, dict.fromkeys(work, 0.0)
    for _ in range(3):
        for product, count in products:
            peak = max(peak, best_rate(product, count, device, chosen.seconds / 9))
        for name, task in work.items():
            method.train(name == "training step")
            rates[name] = max(rates[name], best_rate(task, flops[name], device, chosen.seconds / 3))
    threads = ", one thread" if device.type == "cpu" else ""
    print(
        f"{device_name(device)}{threads}, {chosen.precision}, tiles of {side} × {side}, "
        f"torch {torch.__version__}"
    )
    print(f"matrix product   {peak / 1e9:10.1f} GFLOP/s   100%")
    for name, rate in rates.items():
        print(
            f"{name:<16} {rate / 1e9:10.1f} GFLOP/s  {rate / peak:5.0%}   {flops[name] / 1e9:.1f} GFLOP each"
        )
    targets = TARGETS.get(device_name(device).split()[0], USUAL)
    for (name, rate), target in zip(rates.items(), targets, strict=True):
        print(f"target: {name} at {target:.0%}: {'reached' if rate >= target * peak else 'MISSED'}")


if __name__ == "__main__":
    main()
