"""CARZero scoring: the tiled path beside the released per-image loop and the plain equations, in one run.

    python perf/scoring.py [--images 192] [--loop-images 3] [--tile 64] [--device cpu]

Official size: width 768, 4 layers, 196 patches, 97 columns, 192 prompts, random features and weights. The
loop is linear in the images, so a few of them, timed between blocks of the tiled run, stand for all. Tiles
are those of the evaluation (`stages.evaluate.TILE`), 64 images × 64 prompts; smaller ones are slower.
Everything the tiled path does is inside its time: preparing prompts and images once, then the pairs. Wall
time and CPU time of this process are both given, since other work on the machine disturbs the first. The
numbers are compared on the looped images, and with the plain equations on one block.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmark.core.features import ImageFeatures, TextFeatures
from benchmark.stages.evaluate import TILE
from benchmark.training.provenance import device_name
from methods.base import Prepared
from methods.carzero import CARZero
from methods.carzero_plain import per_image_loop, plain_scores
from perf.options import described
from perf.shared import COLUMNS, official_carzero, official_noise, timed

PROMPTS = 192
TARGET = 15.0


class Clock:
    """Wall and CPU seconds of what ran inside."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.wall = self.cpu = 0.0

    def __call__(self, work: Callable[[], Any]) -> Any:
        result, wall, cpu = timed(work, self.device)
        self.wall += wall
        self.cpu += cpu
        return result


def prepared(method: CARZero, text: TextFeatures, tile: int) -> list[Prepared]:
    return [method.prepare_text(text[first : first + tile]) for first in range(0, len(text), tile)]


def tiles(method: CARZero, image: ImageFeatures, prompts: list[Prepared], tile: int) -> torch.Tensor:
    rows = []
    for start in range(0, len(image), tile):
        own = method.prepare_image(image[start : start + tile])
        row = [method.score_pairs(method.interact(own, piece, scoring=True)) for piece in prompts]
        rows.append(torch.cat(row, 1))
    return torch.cat(rows)


def compare(title: str, words: torch.Tensor, images: int, options: argparse.Namespace) -> float:
    """Print one comparison and return the ratio of the times per image."""
    device, loops = options.device, options.loop_images
    method = official_carzero(init_std=0.04).eval().to(device)  # no flat start: an error would show
    image, text = official_noise(images, words, device)
    longest = int(words.max())
    trimmed = TextFeatures(text.pooled, text.local[:, :longest], text.mask[:, :longest])
    per_image_loop(method, image[:1], text)  # warm-up
    loop, tiled, plain = Clock(device), Clock(device), Clock(device)
    prompts = tiled(partial(prepared, method, trimmed, options.tile))
    gap, scores = 0.0, []
    for block in torch.arange(images).chunk(loops):
        part = image[block]
        scores.append(tiled(partial(tiles, method, part, prompts, options.tile)))
        expected = loop(partial(per_image_loop, method, part[:1], text))
        gap = max(gap, float((scores[-1][:1] - expected).abs().max()))
    count = min(images, 4)
    expected = plain(partial(plain_scores, method, image[:count], text))
    gap = max(gap, float((torch.cat(scores)[:count] - expected).abs().max()))
    bound = 1e-5 * max(1.0, float(expected.abs().max()))
    print(f"{title}: {images} images x {PROMPTS} prompts, seconds an image (wall, CPU)")
    print(f"  released loop      {loop.wall / loops:8.4f} {loop.cpu / loops:8.4f}   over {loops} images")
    print(f"  plain, block of {count}  {plain.wall / count:8.4f} {plain.cpu / count:8.4f}")
    print(f"  tiled              {tiled.wall / images:8.4f} {tiled.cpu / images:8.4f}   prompts included")
    wall, cpu = loop.wall / loops * images / tiled.wall, loop.cpu / loops * images / tiled.cpu
    print(f"  ratio              {wall:8.1f} {cpu:8.1f}   target {TARGET:.0f}")
    spread = float(torch.cat(scores).std())
    print(f"  largest difference {gap:.1e}, allowed {bound:.0e}; spread of the scores {spread:.3f}")
    if gap > bound:
        raise SystemExit("the numbers differ")
    return float(wall)


@torch.inference_mode()
def main() -> None:
    parser = described(__doc__)
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--loop-images", type=int, default=3)
    parser.add_argument("--tile", type=int, default=TILE[0], help="images and prompts of a tile")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    threads = f", {torch.get_num_threads()} threads" if options.device == "cpu" else ""
    print(f"{device_name(torch.device(options.device))}{threads}; torch {torch.__version__}")
    compare("97 words in every prompt", torch.full((PROMPTS,), COLUMNS), options.images, options)
    short = torch.arange(PROMPTS) % 6 + 4
    compare("4 to 9 words, zeros up to 97 attended", short, options.images, options)


if __name__ == "__main__":
    main()
