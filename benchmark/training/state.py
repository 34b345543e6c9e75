"""The state of an unfinished run: saved atomically, read without pickles.

Random layers are seeded anew at every step from (seed, step, rank), so no generator is part of it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.core.checkpoints import read_weights
from benchmark.core.errors import BenchError
from benchmark.core.files import atomic_path

NAME = "state.pt"
TENSORS = ("weights", "best_weights", "optimiser", "scaler", "average")
"""Parts of a state that every process reads from the file; the rest is small and sent."""


def save_state(folder: Path, state: dict[str, Any]) -> None:
    with atomic_path(folder / NAME) as path:
        torch.save(state, path)


def load_state(folder: Path, identity: str) -> dict[str, Any] | None:
    """The state of a run with this identity, or None; a state of another run is none. A damaged
    file is none too, which is said on stderr."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        state = read_weights(path)
    except BenchError as error:
        sys.stderr.write(f"{error} The training starts over.\n")
        return None
    return state if isinstance(state, dict) and state.get("identity") == identity else None


def tensors(method: nn.Module, encoders: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Copies of all weights on the CPU. encoders: kind (`image`, `text`) → an encoder that is fine-tuned; its
    weights are named `encoder.KIND.…`."""
    parts = {"": method, **{f"encoder.{kind}.": encoder for kind, encoder in encoders.items()}}
    return {
        prefix + name: tensor.detach().cpu().contiguous().clone()
        for prefix, module in parts.items()
        for name, tensor in module.state_dict().items()
    }


def put_back(weights: Mapping[str, Tensor], method: nn.Module, encoders: Mapping[str, nn.Module]) -> None:
    """The weights of `tensors`, into a method and encoders of the same shapes."""
    method.load_state_dict(
        {k: v for k, v in weights.items() if not k.startswith(("encoder.image.", "encoder.text."))}
    )
    for kind, encoder in encoders.items():
        prefix = f"encoder.{kind}."
        encoder.load_state_dict(
            {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        )
