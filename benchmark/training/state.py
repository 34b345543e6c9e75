"""The state of an unfinished run: saved atomically, read without pickles.

Random layers are seeded anew at every step from (seed, step, rank), so no generator is part of it.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from benchmark.core.files import atomic_path

NAME = "state.pt"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    with atomic_path(folder / NAME) as path:
        torch.save(state, path)


def load_state(folder: Path, identity: str) -> dict[str, Any] | None:
    """The state of a run with this identity, or None; a state of another run or a damaged file is none."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError):
        return None
    return state if state.get("identity") == identity else None
