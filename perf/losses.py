"""GLoRIA's local loss: all captions at once beside a Python loop over captions, in one run.

    python perf/losses.py [--batch 32] [--width 768] [--grid 19] [--words 20] [--repeat 3] [--device cpu|cuda]

Official size: width 768, 19 x 19 regions, 97 columns, captions of up to `--words` words. The loop repeats
each caption for every image, as upstream does (gloria_loss.py: local_loss). Loss and gradients are
compared; the time is that of forward and backward together. Wall and CPU seconds; best of `--repeat`,
the two taken in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.training.provenance import device_name
from methods.blocks import contrast
from methods.gloria import pool_words, word_similarity
from perf.options import described
from perf.shared import timed

TEMP1, TEMP2, TEMP3, COLUMNS, TARGET = 4.0, 5.0, 10.0, 97, 3.0


def vectorised(regions: Tensor, words: Tensor, mask: Tensor) -> Tensor:
    """Our local loss. regions: (B, P, d); words: (B, L, d); mask: (B, L)."""
    similarity = word_similarity(regions, words, mask, TEMP1)
    rows, columns = contrast(
        TEMP3 * pool_words(TEMP2 * similarity, mask, "sum"),
        torch.eye(len(regions), dtype=torch.bool, device=regions.device),
    )
    return rows + columns


def looped(regions: Tensor, words: Tensor, mask: Tensor) -> Tensor:
    """The same loss, one caption after the other, each repeated for every image."""
    batch, context = len(regions), regions.transpose(1, 2).contiguous()  # (B, d, P)
    similarities = []
    for caption, length in zip(words, mask.sum(1).tolist(), strict=True):
        query = caption[:length].T[None].repeat(batch, 1, 1)  # (B, d, w)
        attention = torch.bmm(context.transpose(1, 2).contiguous(), query)  # (B, P, w)
        attention = attention.flatten(0, 1).softmax(-1).view(batch, -1, length)
        attention = attention.transpose(1, 2).contiguous().flatten(0, 1)  # (B · w, P)
        attention = (TEMP1 * attention).softmax(-1).view(batch, length, -1)
        attended = torch.bmm(context, attention.transpose(1, 2).contiguous())  # (B, d, w)
        query = query.transpose(1, 2).contiguous().flatten(0, 1)
        attended = attended.transpose(1, 2).contiguous().flatten(0, 1)
        norms = (query.norm(2, 1) * attended.norm(2, 1)).clamp(min=1e-8)
        cosine = ((query * attended).sum(1) / norms).view(batch, length)
        similarities.append((TEMP2 * cosine).exp().sum(1, keepdim=True).log())
    logits = TEMP3 * torch.cat(similarities, 1)  # (B, T)
    target = torch.arange(batch, device=regions.device)
    return functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)


def differentiated(loss: Callable[..., Tensor], inputs: tuple[Tensor, Tensor, Tensor]) -> list[Tensor]:
    """Loss and gradients."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs[:2]]
    value = loss(*leaves, inputs[2])
    torch.autograd.backward(value)
    return [value.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def main() -> None:
    parser = described(__doc__)
    for name, default in (("batch", 32), ("width", 768), ("grid", 19), ("words", 20), ("repeat", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    lengths = torch.randint(3, options.words + 1, (options.batch, 1))
    mask = torch.arange(int(lengths.max())) < lengths
    words = torch.randn(options.batch, mask.shape[1], options.width) * mask[..., None]
    regions = torch.randn(options.batch, options.grid**2, options.width) * 0.1
    mask, words, regions = (tensor.to(options.device) for tensor in (mask, words, regions))
    best: dict[str, tuple[float, float]] = {}
    results: dict[str, list[Tensor]] = {}
    for _ in range(options.repeat):
        for name, loss in (("loop over captions", looped), ("all captions at once", vectorised)):
            work = partial(differentiated, loss, (regions, words, mask))
            results[name], wall, cpu = timed(work, options.device)
            known = best.get(name, (wall, cpu))
            best[name] = min(known[0], wall), min(known[1], cpu)
    name, threads = device_name(torch.device(options.device)), torch.get_num_threads()
    print(f"{name}, {threads} threads; torch {torch.__version__}; batch {options.batch}")
    for name, (wall, cpu) in best.items():
        print(f"  {name:<22} {wall:8.3f} s wall {cpu:8.3f} s CPU")
    slow, fast = best.values()
    wall, cpu = slow[0] / fast[0], slow[1] / fast[1]
    print(f"  ratio                  {wall:8.1f}        {cpu:8.1f}        target {TARGET:.0f}")
    gaps = [
        float((a - b).abs().max() / max(1e-3, float(b.abs().max())))
        for a, b in zip(results["all captions at once"], results["loop over captions"], strict=True)
    ]
    print(f"  largest relative difference: loss {gaps[0]:.1e}, gradients {max(gaps[1:]):.1e}")
    if max(gaps) > 1e-4:
        raise SystemExit("the numbers differ")


if __name__ == "__main__":
    main()
