"""Images a second of every image encoder that can run here, side by side in one run.

    python perf/encode.py [--images 16] [--rounds 3] [--device cpu|cuda] [--encoder NAME|PATH ...]

Noise is encoded as the feature cache does it, without reading or writing. Cards whose weights are not here
run with random ones where their library knows the architecture, which costs the same time; the others are
named with the reason. Rounds go over all encoders in turn, so that a busy machine slows all of them alike;
the median round counts, ratios are to the first encoder. On a CPU the clock is that of the processor, of one
thread: `bench` encodes a batch a core. `memory`: what a batch adds to the peak of the process, in MiB.
"""

from __future__ import annotations

import statistics

import torch

from benchmark.core import numerics
from benchmark.core.errors import BenchError
from benchmark.encoders.base import ImageEncoder
from benchmark.encoders.card_files import encoder_entry, encoder_names
from benchmark.encoders.cards import ImageCard
from benchmark.encoders.factory import image_encoder
from benchmark.training.provenance import device_name
from perf.shared import clock_of, count_anew, device_parser, status


def named(wanted: list[str]) -> tuple[list[tuple[str, ImageEncoder]], list[str]]:
    """(name, encoder) of those that run here, and why the others do not."""
    found, lacking = [], []
    for name in wanted or image_cards():
        try:
            found.append((name, image_encoder(name)))
        except BenchError as error:
            entry = None if "/" in name else encoder_entry(name)
            if not isinstance(entry, ImageCard) or entry.source != "timm":
                lacking.append(f"{name}: {error}")
                continue
            card = entry.model_copy(update={"weights": "random", "sha256": None, "revision": None})
            found.append((f"{name} (random weights)", image_encoder(card)))
    return found, lacking


def image_cards() -> list[str]:
    return [name for name in encoder_names() if isinstance(encoder_entry(name), ImageCard)]


def main() -> None:
    parser = device_parser(__doc__)
    parser.add_argument("--images", type=int, default=16, help="of a batch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--encoder", action="append", default=[], help="repeatable; default: all cards")
    chosen = parser.parse_args()
    device, clock = torch.device(chosen.device), clock_of(chosen.device)
    encoders, lacking = named(chosen.encoder)
    seconds: dict[str, list[float]] = {name: [] for name, _ in encoders}
    memory = dict.fromkeys(seconds, 0.0)
    with torch.inference_mode():
        for number in range(chosen.rounds + 1):
            for name, encoder in encoders:
                side = encoder.preprocessing.side
                pixels = torch.randint(0, 256, (chosen.images, side, side), dtype=torch.uint8, device=device)
                count_anew()
                before, start = status(), clock()
                encoder.to(device).encode(pixels)
                took = clock() - start
                if number:  # the first round warms up
                    seconds[name].append(took)
                else:
                    memory[name] = (status() - before) / 2**20
    how = f"{chosen.rounds} rounds, numerics {numerics.state()}"
    print(f"{device_name(device)}, batches of {chosen.images}, {how}")
    print(f"{'encoder':<40}{'pixels':>7}{'tokens':>9}{'images/s':>10}{'ratio':>8}{'memory':>8}")
    first = None
    for name, encoder in encoders:
        rate = chosen.images / statistics.median(seconds[name])
        first = first or rate
        grid = "x".join(str(side) for side in encoder.grid)
        print(
            f"{name:<40}{encoder.preprocessing.side:>7}{grid:>9}{rate:>10.1f}{rate / first:>8.2f}"
            f"{memory[name]:>8.0f}"
        )
    for line in lacking:
        print(f"not here: {line}")


if __name__ == "__main__":
    main()
