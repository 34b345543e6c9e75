"""Seconds of whole datasets on 1, 8 and 64 GPUs, on paper: arithmetic is counted, its rate is assumed.

    python perf/paper.py [--rate 395.6] [--batch 256]

Torch's FlopCounterMode counts an image, a text and a pair of CARZero at official size, and a picture through
a ViT-B/16 at 224 pixels. The usual rate is 40% of the 989 TFLOP/s of an NVIDIA H100 in bfloat16. Decoding,
reading and writing are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import timm
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from perf.options import described
from perf.shared import COLUMNS, GRID, OFFICIAL_WIDTH, official_carzero, official_noise

GPUS = (1, 8, 64)
COMPUTED = 4
"""Times that a training step computes everything: forward, again by tiles, and twice as much backward."""


@dataclass(frozen=True)
class Work:
    """images: or volumes, of so many slices to encode and a grid of patch tokens to keep."""

    name: str
    images: int
    prompts: int
    slices: int = 1
    grid: tuple[int, ...] = GRID


SETS = (
    Work("MIMIC-CXR", 377_110, 14),
    Work("PadChest", 160_868, 192),
    Work("CT-RATE", 50_188, 18, 240, (8, *GRID)),
)


def flop(work: Callable[[], object]) -> int:
    with (
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):  # a fused one is not counted
        work()
    return int(counter.get_total_flops())


def carzero(grid: tuple[int, ...]) -> tuple[int, int, int]:
    """FLOP of an image, a text and a pair, at official size."""
    method = official_carzero().eval()
    image, text = official_noise(1, torch.full((1,), COLUMNS), "cpu", grid)
    own, words = method.prepare_image(image), method.prepare_text(text)
    pair = flop(lambda: method.score_pairs(method.interact(own, words, scoring=True)))
    return flop(lambda: method.prepare_image(image)), flop(lambda: method.prepare_text(text)), pair


def main() -> None:
    parser = described(__doc__)
    parser.add_argument("--rate", type=float, default=0.4 * 989, help="TFLOP/s that a GPU reaches")
    parser.add_argument("--batch", type=int, default=256, help="of training")
    chosen = parser.parse_args()
    torch.set_grad_enabled(False)
    encoder = timm.create_model("vit_base_patch16_224", num_classes=0).to("meta")
    picture = flop(lambda: encoder(torch.empty(1, 3, 224, 224, device="meta")))
    print(f"{chosen.rate:.0f} TFLOP/s a GPU, seconds on {', '.join(map(str, GPUS))}; a picture takes "
          f"{picture / 1e9:.1f} GFLOP")  # fmt: skip
    for work in SETS:
        image, text, pair = carzero(work.grid)
        each = {
            "encoding": work.slices * picture,
            "scoring": image + work.prompts * pair,
            "an epoch": COMPUTED * (image + text + chosen.batch * pair),
        }
        seconds = {what: work.images * amount / (chosen.rate * 1e12) for what, amount in each.items()}
        kept = work.images * OFFICIAL_WIDTH * (4 + 2 * math.prod(work.grid))
        spelled = (f"{what} {', '.join(f'{s / n:.3g}' for n in GPUS)}" for what, s in seconds.items())
        print(f"{work.name}, {work.images:,} × {work.prompts}: {'; '.join(spelled)}")
        parts = f"GFLOP of an image {image / 1e9:.2f}, a text {text / 1e9:.2f}, a pair {pair / 1e9:.4f}"
        print(f"    {kept / 1e9:.0f} GB of features; {parts}")


if __name__ == "__main__":
    main()
