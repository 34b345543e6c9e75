"""Where a step of training goes: into matrix products, and into all else.

    python perf/step.py [--methods carzero radzero gloria] [--steps 200] [--rounds 3]

The main cells of the nearest params.yaml on features of the embedded default's shape (64 tokens of 112
channels), with its numerics, on one thread: forward, backward and the optimiser. Products are counted by
torch's FlopCounterMode and timed by its profiler; beside them stands the rate of `torch.mm` for squares in the
same run. `at least` is what a step would take were its products as fast as that and all else free: no change
that keeps the arithmetic makes it cheaper. Processor time; the least of the rounds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmark.core import numerics

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
SIDE = 1536


def main() -> None:
    import torch
    from loader import TEXT_WIDTH, WIDTH, examples, store
    from torch.profiler import ProfilerActivity, profile
    from torch.utils.flop_counter import FlopCounterMode

    from benchmark.grid.params import main_cell
    from benchmark.grid.params_file import load_params
    from benchmark.grid.layout import Project
    from benchmark.training.data import epoch_batches
    from benchmark.training.draws import quick_masks
    from benchmark.training.loop import seeded_method
    from benchmark.training.optimiser import optimiser
    from benchmark.training.provenance import device_name
    from benchmark.training.step import Step

    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--methods", nargs="*")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    params = load_params(Project.find().params)
    numerics.apply(params.numerics)
    torch.set_num_threads(1)
    place = torch.device("cpu")

    def product() -> None:
        torch.mm(square, square)

    def seconds(work: Callable[[], None], times: int) -> float:
        work()
        took = []
        for _ in range(chosen.rounds):
            start = time.process_time()
            for _ in range(times):
                work()
            took.append((time.process_time() - start) / times)
        return min(took)

    square = torch.randn(SIDE, SIDE)
    fastest = 2 * SIDE**3 / seconds(product, 5) / 1e9
    print(f"{device_name(place)}, one thread, numerics {params.numerics}, torch.mm {fastest:.0f} GFLOP/s")
    print(f"{'':<9}{'ms':>7}{'products':>10}{'their rate':>13}{'of mm':>7}{'at least':>10}")
    with tempfile.TemporaryDirectory() as folder, quick_masks():
        data = examples(store(Path(folder) / "features", 1000, params.encoders.precision))
        for name in chosen.methods or params.methods:
            cell = main_cell(params, name)
            method = seeded_method(name, cell.options, WIDTH, TEXT_WIDTH, 0).train()
            step = Step(method, data, cell.training, place)
            own = optimiser(cell.training, method)
            batch = epoch_batches(data, 0, 0, cell.training.batch_size, method.trains_on, max_texts=1)[0]

            def work() -> None:
                own.zero_grad()
                step.backward(batch)
                own.step()

            took = seconds(work, chosen.steps)
            with FlopCounterMode(display=False) as counted:
                work()
            flop = counted.get_total_flops() / 1e9
            with profile(activities=[ProfilerActivity.CPU]) as traced:
                for _ in range(20):
                    work()
            events = traced.key_averages()
            whole = sum(event.self_cpu_time_total for event in events)
            share = sum(e.self_cpu_time_total for e in events if e.key in PRODUCTS) / whole
            rate = flop / (share * took)
            least = 1000 * flop / fastest
            print(
                f"{name:<9}{1000 * took:7.2f}{share:10.0%}{rate:8.0f} GF/s{rate / fastest:7.0%}{least:7.2f} ms"
            )


if __name__ == "__main__":
    numerics.pin(numerics.wanted([], Path.cwd()))
    main()
