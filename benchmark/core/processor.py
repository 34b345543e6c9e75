"""Which bits this processor computes: hashes of small computations of every kind that a table rests on."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.core import numerics


def name() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


FINGERPRINT = "fingerprint.json"
"""Beside committed tables: what `current` was on the processor that made them."""


def current() -> dict[str, Any]:
    """The setting, the versions that decide kernels, and the fingerprint under them."""
    versions = {"numpy": np.__version__, "torch": torch.__version__.partition("+")[0]}
    return {"numerics": numerics.state(), "versions": versions, "fingerprint": fingerprint()}


def against(committed: Mapping[str, Any] | None, here: Mapping[str, Any]) -> str:
    """What a table made here will be, compared with those whose `current` was `committed`: one sentence."""
    if committed is None:
        return "the committed tables name no processor to compare with"
    if committed == here:
        return "equal to that of the committed tables: they come out the same to the byte"
    if committed["numerics"] != here["numerics"]:
        made, now = committed["numerics"], here["numerics"]
        return f"the committed tables are {made}, numbers here {now}: they differ"
    if committed["versions"] != here["versions"]:
        known = ", ".join(f"{name} {version}" for name, version in committed["versions"].items())
        return f"the committed tables come from {known}: values differ by rounding"
    kinds = [kind for kind, bits in here["fingerprint"].items() if committed["fingerprint"].get(kind) != bits]
    return f"other bits than those of the committed tables in {', '.join(kinds)}: values differ by rounding"


def fingerprint() -> dict[str, str]:
    """Kind of computation → the first 12 digits of the sha256 of its bits, on one thread of the CPU.

    Equal values on two machines mean that tables made on them are equal to the byte, as far as these go.
    The random state of the caller stays as it is. Takes about a second.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            return _computations()
    finally:
        torch.set_num_threads(threads)


def _computations() -> dict[str, str]:
    torch.manual_seed(0)
    x = torch.randn(300, 777)
    found = {"random numbers": _hash(x, torch.rand(99), torch.randperm(99))}
    products = [x @ torch.randn(777, columns) for columns in (1, 2, 11, 12, 64)]
    rows = [torch.randn(count, 777) @ x.T for count in (1, 3, 4, 64)]
    found["products"] = _hash(*products, *rows, torch.bmm(torch.randn(8, 49, 16), torch.randn(8, 16, 1)))
    found["elementary functions"] = _hash(
        x.exp(), x.abs().log(), x.abs().sqrt(), x.sigmoid(), functional.gelu(x)
    )
    found["sums"] = _hash(
        x.softmax(-1), x.logsumexp(-1), x.sum(0), x.double().sum(), functional.layer_norm(x, (777,))
    )
    found["convolutions"] = _hash(_convolutions())
    found["training"] = _hash(*_training())
    wide = x.double().numpy()
    with np.errstate(all="ignore"):
        numbers = (np.exp(wide), np.log(np.abs(wide)), np.sin(wide), np.abs(wide) ** 1.7, wide @ wide.T)
    found["float64"] = _hash(*(torch.from_numpy(a) for a in (*numbers, np.linalg.qr(wide.T[:, :64])[0])))
    return found


def _convolutions() -> Tensor:
    layers = nn.Sequential(
        nn.Conv2d(3, 24, 3, 2, 1), nn.ReLU6(), nn.Conv2d(24, 24, 5, 1, 2, groups=24), nn.Conv2d(24, 40, 1)
    )
    images = torch.rand(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        found: Tensor = layers.to(memory_format=torch.channels_last)(images)
    return found


def _training() -> list[Tensor]:
    """The weights after a short cross-attention training, which carries every rounding on."""
    project = nn.Linear(112, 64)
    head = nn.TransformerDecoderLayer(64, 4, 128, dropout=0.1, batch_first=True, norm_first=True)
    last = nn.Linear(64, 1)
    parameters = [*project.parameters(), *head.parameters(), *last.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=2e-3, fused=True)
    for _ in range(20):
        images, texts = torch.randn(8, 49, 112), torch.randn(8, 1, 64)
        logits = last(head(texts, project(images))).flatten()
        loss = functional.binary_cross_entropy_with_logits(logits, (images[:, 0, 0] > 0).float())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
    return [*parameters]


def _hash(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
