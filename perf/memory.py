"""CARZero's pairs in training: recomputed tiles beside all pairs at once, in one run.

    python perf/memory.py [--batch 48] [--tile 24] [--target-batch 256] [--target-tile 32]

Official size: width 768, 4 layers, 196 patches, 97 words, dropout on; loss, forward and backward of the
pairwise part, whose inputs (keys, values and queries of every image and text) are prepared beforehand.

Memory is the largest sum of live tensor bytes, from the allocator's own events (torch.profiler), less the
gradients of the weights. It is taken twice: `pairs` lets gradients reach the weights only, so that nothing
but the pairs is counted; `with input gradients` adds the gradients of the inputs, which both ways hold and
which grow with the batch, not with its square. The target batch, which would not fit this machine untiled,
is computed: pairs at once grow with the square of the batch, those of a tile with the square of the tile.
`--batch 256 --tile 32` measures it where there is the memory. Time is CPU time of the process, since other
work disturbs wall time; both are those of the runs with input gradients. Values are compared without
dropout, which draws per tile.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmark.core.features import ImageFeatures, TextFeatures
from benchmark.training.tiling import tiled_pairs
from methods.base import Prepared
from methods.carzero import CARZero

WIDTH, GRID, WORDS = 768, (14, 14), 97
GIB = 2**30


def inputs(method: CARZero, batch: int) -> tuple[Prepared, Prepared]:
    patches = GRID[0] * GRID[1]
    image = ImageFeatures(torch.randn(batch, WIDTH), torch.randn(batch, patches, WIDTH), GRID)
    mask = torch.ones(batch, WORDS, dtype=torch.bool)
    text = TextFeatures(torch.randn(batch, WIDTH), torch.randn(batch, WORDS, WIDTH), mask)
    with torch.no_grad():
        return method.prepare_image(image), method.prepare_text(text)


def run(
    method: CARZero, parts: tuple[Prepared, Prepared], tile: int | None, input_gradients: bool
) -> tuple[float, list[Tensor]]:
    """Forward and backward; seconds, then loss and the gradients of the weights."""
    image, text = (_leaves(part, input_gradients) for part in parts)
    method.zero_grad(set_to_none=True)
    torch.manual_seed(1)
    start = time.process_time()
    size = None if tile is None else (tile, tile)
    pairs = tiled_pairs(method, image, text, size)
    eye = torch.eye(len(image), dtype=torch.bool)
    loss = method.objective(pairs, eye, image, text, None).total
    torch.autograd.backward(loss)
    spent = time.process_time() - start
    return spent, [loss.detach(), *(p.grad for p in method.parameters() if p.grad is not None)]


def peak(
    method: CARZero, parts: tuple[Prepared, Prepared], tile: int | None, input_gradients: bool
) -> tuple[float, float]:
    """GiB at the largest sum of bytes allocated and not yet freed while `run` runs; CPU seconds."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        spent, _ = run(method, parts, tile, input_gradients)
    live = highest = 0
    for _, size in sorted(_allocations(record)):
        live += size
        highest = max(highest, live)
    weights = sum(parameter.nbytes for parameter in method.parameters())
    return (highest - weights) / GIB, spent


def _allocations(record: Any) -> list[tuple[int, int]]:
    """(time, bytes) of every allocation (positive) and release (negative)."""
    events = record.profiler.kineto_results.events()
    return [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]


def _leaves(part: Prepared, gradients: bool) -> Prepared:
    own = {
        name: tensor.detach().requires_grad_(gradients and tensor.is_floating_point())
        for name, tensor in part.tensors.items()
    }
    return Prepared(own, len(part))


def difference(found: list[Tensor], expected: list[Tensor]) -> float:
    """Largest difference over the size of each tensor (at least 0.02, as gradients are compared)."""
    gaps = [(a - b).abs().max() / b.abs().max().clamp(min=0.02) for a, b in zip(found, expected, strict=True)]
    return float(torch.stack(gaps).max())


def line(title: str, whole: float, tiled: float, unit: str, note: str) -> None:
    print(f"  {title:<22} at once {whole:8.3f} {unit}, tiled {tiled:8.3f} {unit}, {note}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    defaults = (("batch", 48), ("tile", 24), ("target-batch", 256), ("target-tile", 32))
    for name, default in defaults:
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    batch, tile, target, side = options.batch, options.tile, options.target_batch, options.target_tile
    torch.manual_seed(0)
    settings = CARZero.settings("official") | {"mask_padding": True, "init_std": 0.04}
    method = CARZero(CARZero.Config(**settings), WIDTH, WIDTH).train()
    parts = inputs(method, batch)
    held = sum(t.nbytes for part in parts for t in part.tensors.values()) / GIB
    print(f"CPU, {torch.get_num_threads()} threads; torch {torch.__version__}; dropout on")
    print(f"batch {batch}, tiles of {tile} x {tile}, prepared inputs {held:.2f} GiB: measured")
    whole, tiled = (peak(method, parts, size, False)[0] for size in (None, tile))
    line("pairs", whole, tiled, "GiB", f"1/{whole / tiled:.1f}")
    (all_whole, slow), (all_tiled, recomputed) = (peak(method, parts, size, True) for size in (None, tile))
    line("with input gradients", all_whole, all_tiled, "GiB", f"1/{all_whole / all_tiled:.1f}")
    line("CPU time", slow, recomputed, "s  ", f"x {recomputed / slow:.2f} (at most 1.4)")
    method.eval()
    gap = difference(run(method, parts, tile, True)[1], run(method, parts, None, True)[1])
    print(f"  largest difference of loss and gradients {gap:.1e} of their size (at most 1e-5)")
    print(f"batch {target}, tiles of {side} x {side}: computed")
    pairs, one, gradients = whole * (target / batch) ** 2, tiled * (side / tile) ** 2, held * target / batch
    line("pairs", pairs, one, "GiB", f"1/{pairs / one:.1f} (at most 1/8)")
    ratio = (pairs + gradients) / (one + gradients)
    line("with input gradients", pairs + gradients, one + gradients, "GiB", f"1/{ratio:.1f}")
    if gap > 1e-5:
        raise SystemExit("the numbers differ")


if __name__ == "__main__":
    main()
