"""Where a step of training goes: into matrix products, and into all else.

    python perf/step.py [--methods carzero radzero gloria] [--steps 200] [--rounds 3]

The main cells of the nearest params.yaml on features of the embedded default's shape (64 tokens of 112
channels), with its numerics, on one thread: forward, backward and the optimiser. Products are counted by
torch's FlopCounterMode and timed by its profiler; beside them stands the rate of `torch.mm` for squares in
the same run. `at least` is what a step would take were its products as fast as that and all else free: no
change that keeps the arithmetic makes it cheaper. Processor time; the least of the rounds.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmark.core import numerics
from perf.options import described

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
SIDE = 1536


def seconds(work: Callable[[], object], times: int, rounds: int) -> float:
    work()
    took = []
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(times):
            work()
        took.append((time.process_time() - start) / times)
    return min(took)


def one_step(own: Any, step: Any, batch: Any) -> None:
    own.zero_grad()
    step.backward(batch)
    own.step()


def products(work: Callable[[], object]) -> tuple[float, float]:
    """GFLOP of the matrix products in one step, and their share of its time."""
    from torch.profiler import ProfilerActivity, profile
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counted:
        work()
    with profile(activities=[ProfilerActivity.CPU]) as traced:
        for _ in range(20):
            work()
    events = traced.key_averages()
    whole = sum(event.self_cpu_time_total for event in events)
    own = sum(event.self_cpu_time_total for event in events if event.key in PRODUCTS)
    return counted.get_total_flops() / 1e9, own / whole


def main() -> None:
    parser = described(__doc__)
    parser.add_argument("--methods", nargs="*")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    numerics.pin(numerics.wanted([], Path.cwd()))  # before torch and numpy are loaded

    import torch

    from benchmark.grid.layout import Project
    from benchmark.grid.params import main_cell
    from benchmark.grid.params_file import load_params
    from benchmark.training.data import epoch_batches
    from benchmark.training.draws import quick_masks
    from benchmark.training.loop import seeded_method
    from benchmark.training.optimiser import optimiser
    from benchmark.training.provenance import device_name
    from benchmark.training.step import Step
    from perf.shared import TEXT_WIDTH, WIDTH, examples, noise_store

    params, place = load_params(Project.find().params), torch.device("cpu")
    numerics.apply(params.numerics)
    torch.set_num_threads(1)
    square = torch.randn(SIDE, SIDE)
    fastest = 2 * SIDE**3 / seconds(partial(torch.mm, square, square), 5, chosen.rounds) / 1e9
    print(f"{device_name(place)}, one thread, numerics {params.numerics}, torch.mm {fastest:.0f} GFLOP/s")
    print(f"{'':<9}{'ms':>7}{'products':>10}{'their GFLOP/s':>15}{'of mm':>7}{'at least, ms':>14}")
    with tempfile.TemporaryDirectory() as folder, quick_masks():
        data = examples(noise_store(Path(folder) / "features", 1000, params.encoders.precision))
        for name in chosen.methods or params.methods:
            cell = main_cell(params, name)
            method = seeded_method(name, cell.options, WIDTH, TEXT_WIDTH, 0).train()
            batch = epoch_batches(data, 0, 0, cell.training.batch_size, method.trains_on, max_texts=1)[0]
            step = Step(method, data, cell.training, place)
            work = partial(one_step, optimiser(cell.training, method), step, batch)
            took = seconds(work, chosen.steps, chosen.rounds)
            gflop, share = products(work)
            rate = gflop / (share * took)
            line = f"{name:<9}{1000 * took:7.2f}{share:10.0%}{rate:15.0f}{rate / fastest:7.0%}"
            print(f"{line}{1000 * gflop / fastest:14.2f}")


if __name__ == "__main__":
    main()
