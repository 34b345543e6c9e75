"""The state of an unfinished run: saved atomically, read without pickles.

Random layers are seeded anew at every step from (seed, step, rank), so no generator is part of it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from benchmark.core.checkpoints import read_weights
from benchmark.core.errors import BenchError
from benchmark.core.files import atomic_path

NAME = "state.pt"


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
