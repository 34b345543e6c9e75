"""CARZero's pairs in training: recomputed tiles beside all pairs at once, in one run.

    python perf/memory.py [--target 256] [--batch 128] [--tile 32] [--device cpu|cuda]

Official size: width 768, 4 layers, 196 patches, 97 words, dropout on; loss, forward and backward of the
pairwise part, whose inputs (keys, values and queries of every image and text) are prepared beforehand.

Measured, each in a process of its own: what the peak memory of the process (on CUDA, of the allocator)
grows by from the first pair to the last gradient, and the time: CPU seconds, since other work disturbs the
clock; on CUDA, seconds of the clock. `--batch` is the largest batch that is also run with all pairs at once;
on CUDA give it the target where the card has the memory.

Computed, where the target does not fit: what the pairs of a small batch allocate (torch.profiler's events)
grows with the square of the batch, the gradients of inputs with the batch. The same sum for `--batch` stands
beside what was measured there. Values are compared without dropout, which draws per tile.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from typing import Any

from perf.options import described

os.environ.setdefault("KINETO_LOG_LEVEL", "99")

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmark.training.provenance import device_name
from benchmark.training.tiling import tiled_pairs
from methods.base import Prepared
from methods.carzero import CARZero
from perf.shared import COLUMNS, clock_of, count_anew, official_carzero, official_noise, status

SMALL = 32
GIB = 2**30
MEMORY_TARGET, TIME_TARGET = 8.0, 1.4


def model(device: str) -> CARZero:
    return official_carzero(mask_padding=True, init_std=0.04).train().to(device)


def inputs(method: CARZero, batch: int) -> tuple[Prepared, Prepared]:
    device = next(method.parameters()).device
    image, text = official_noise(batch, torch.full((batch,), COLUMNS), device)
    with torch.no_grad():
        return method.prepare_image(image), method.prepare_text(text)


def run(
    method: CARZero, parts: tuple[Prepared, Prepared], tile: int | None, input_gradients: bool = True
) -> list[Tensor]:
    """Forward and backward; loss and the gradients of the weights, 0 where the pairs do not use one."""
    image, text = (_leaves(part, input_gradients) for part in parts)
    method.zero_grad(set_to_none=True)
    size = None if tile is None else (tile, tile)
    pairs = tiled_pairs(method, image, text, size)
    eye = torch.eye(len(image), dtype=torch.bool, device=pairs["image_memory"].device)
    loss = method.objective(pairs, eye, image, text, None).total
    torch.autograd.backward(loss)
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in method.parameters()]
    return [loss.detach(), *gradients]


def _leaves(part: Prepared, gradients: bool) -> Prepared:
    own = {
        name: tensor.detach().requires_grad_(gradients and tensor.is_floating_point())
        for name, tensor in part.tensors.items()
    }
    return Prepared(own, len(part))


def measured(device: str, batch: int, tile: int | None) -> tuple[float, float]:
    """(GiB, seconds) of one step in a fresh process. Stops the script where that process is killed."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(theirs, device, batch, tile))
    process.start()
    theirs.close()
    try:
        found: tuple[float, float] = ours.recv()
    except EOFError:
        raise SystemExit(f"batch {batch} did not fit; give a smaller --batch") from None
    process.join()
    return found


def _measure(pipe: Any, device: str, batch: int, tile: int | None) -> None:
    method = model(device)
    parts = inputs(method, batch)
    run(method, inputs(method, 4), tile)  # libraries allocate on first use
    clock, grown = clock_of(device), _growth(device)
    start = clock()
    run(method, parts, tile)
    pipe.send((grown() / GIB, clock() - start))


def _growth(device: str) -> Callable[[], int]:
    """Starts a measurement; bytes that the peak has grown by since."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        return lambda: torch.cuda.max_memory_allocated() - before
    count_anew()
    before = status("VmRSS")
    return lambda: status() - before


def allocated(batch: int) -> float:
    """GiB that the pairs of a batch allocate at once, without gradients of weights and inputs."""
    method = model("cpu")
    parts = inputs(method, batch)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run(method, parts, None, False)
    live = highest = 0
    for _, size in sorted(_allocations(record)):
        live += size
        highest = max(highest, live)
    return (highest - sum(parameter.nbytes for parameter in method.parameters())) / GIB


def _allocations(record: Any) -> list[tuple[int, int]]:
    """(time, bytes) of every allocation (positive) and release (negative)."""
    events = record.profiler.kineto_results.events()
    return [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]


def difference(device: str) -> float:
    """Largest difference of loss and gradients over the size of each (at least 0.02), tiled and not."""
    method = model(device).eval()
    parts = inputs(method, SMALL)
    pairs = zip(run(method, parts, SMALL // 3), run(method, parts, None), strict=True)
    gaps = [(a - b).abs().max() / b.abs().max().clamp(min=0.02) for a, b in pairs]
    return float(torch.stack(gaps).max())


def main() -> None:
    parser = described(__doc__)
    parser.add_argument("--target", type=int, default=256, help="batch of the official training")
    parser.add_argument("--batch", type=int, default=128, help="batch that is run both ways")
    parser.add_argument("--tile", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    device, batch, tile, target = chosen.device, chosen.batch, chosen.tile, chosen.target
    threads = f", {torch.get_num_threads()} threads" if device == "cpu" else ""
    print(
        f"{device_name(torch.device(device))}{threads}; torch {torch.__version__}; tiles of {tile} x {tile}"
    )
    gap = difference(device)
    print(f"loss and gradients differ by {gap:.1e} of their size (at most 1e-5)")
    if gap > 1e-5:
        raise SystemExit("the numbers differ")
    (tiled, recomputed), (whole, once) = (measured(device, batch, size) for size in (tile, None))
    print(f"batch {batch}, measured: at once {whole:.2f} GiB, {once:.1f} s")
    print(f"batch {batch}, measured: tiled {tiled:.2f} GiB, {recomputed:.1f} s")
    print(f"  1/{whole / tiled:.1f} of the memory, x {recomputed / once:.2f} of the time")
    far, seconds = (tiled, recomputed) if batch == target else measured(device, target, tile)
    print(f"batch {target}, measured: tiled {far:.2f} GiB, {seconds:.1f} s")
    source = "measured"
    if batch != target:
        held = sum(t.nbytes for part in inputs(model("cpu"), SMALL) for t in part.tensors.values()) / GIB
        pairs = allocated(SMALL)
        known, whole = (pairs * (n / SMALL) ** 2 + held * n / SMALL for n in (batch, target))
        source = f"computed (the same sum gives {known:.2f} GiB at batch {batch})"
    print(f"batch {target}, {source}: at once {whole:.2f} GiB")
    memory, cost = whole / far, recomputed / once
    met = "reached" if memory >= MEMORY_TARGET and cost <= TIME_TARGET else "MISSED"
    print(
        f"at most 1/{MEMORY_TARGET:.0f} of the memory at batch {target}, x {TIME_TARGET} of the time: {met}"
    )
    print(f"  1/{memory:.1f} of the memory at batch {target}, x {cost:.2f} of the time at batch {batch}")


if __name__ == "__main__":
    main()
